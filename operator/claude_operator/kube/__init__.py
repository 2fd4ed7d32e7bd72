"""The one way to talk to the Kubernetes API: session, requests, errors, list-watch, lease, event recorder."""
