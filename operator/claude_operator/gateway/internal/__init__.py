"""The internal port: what controller, shim and administrators may ask for."""
