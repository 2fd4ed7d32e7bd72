// The process that holds a pod's namespaces open, and the first process of the node.
module claude-operator.dev/tests/cluster/pause

go 1.26.0
