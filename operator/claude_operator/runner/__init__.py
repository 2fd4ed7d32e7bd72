"""Inside the pod: claim, clone, prompt, drive the CLI, publish, report. It knows nothing of Kubernetes."""
