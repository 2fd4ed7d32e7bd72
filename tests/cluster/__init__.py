"""A local Kubernetes for the demo and the tests: real components, no Docker daemon needed.

Two depths, because they cost differently:

- `controlplane.ControlPlane`: etcd and an API server (and, if asked, the controller manager and the
  scheduler) as plain processes; about 3 seconds. What talks to the API only is tested here.
- `provider.Cluster`: with a kubelet and real containers. Three providers stand behind one small protocol:
  a kubeconfig that the user names, kind where Docker answers, and `native`, which builds Kubernetes from
  Go modules and runs the node in namespaces of its own.

The rule that shapes all of it: what was not made here is not touched, and `down` leaves nothing outside
the cache folder.
"""
