"""How our servers take connections: so many of one peer, and each must begin a request in time."""
