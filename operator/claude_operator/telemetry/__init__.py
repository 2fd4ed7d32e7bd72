"""What the processes tell Prometheus."""
