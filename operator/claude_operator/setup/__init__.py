"""The one step of an installation that `kubectl apply` cannot do: the first ClaudeProject.

kubectl looks every kind up before it creates anything, so a ClaudeProject in the same `apply` as its CRD is
refused. Applying twice, or a wait in between, was rejected: an installation is one command. So the manifest
carries the project in a ConfigMap, and the controller's pod creates it before the controller starts.
"""
