"""The session port: what a pod may ask for."""
