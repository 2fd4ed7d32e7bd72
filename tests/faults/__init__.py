"""A proxy on loopback that fails exactly where a test says: at the third write, before or after its effect.

One proxy stands between one client process and one server (the API server, or the gateway's internal port),
so whoever speaks is known by the port. It counts and records what passes, and carries out scripted faults:
kill the client, drop its connection, refuse, delay, blind its watches, end them with 410 Gone.

Killing processes at random moments was rejected: a crash between two particular steps would be met now and
then, and a failure could not be repeated. Here each call is a place of its own, and all of them are visited.
"""
