"""The HTTP APIs: each dialect parses, calls the shared core and renders. No state of its own.

What it is told it writes as ClaudeSessions; what it tells it reads from them and from the gateway's record.
"""
