"""The gateway's record, as controller and shim ask for it: the client of the internal port, and its CA.

The gateway itself is another process and another room: what is here knows its words (`wire.internal`) only.
"""
