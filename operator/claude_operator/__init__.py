"""Claude Code on Kubernetes: one distribution, four processes, one room per concern."""
