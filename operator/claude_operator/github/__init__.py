"""What shim and gateway must agree on about GitHub: how its events are read, and how its texts are cleaned.

Pure: no I/O, no client. The gateway verifies and keeps deliveries and speaks to GitHub; the shim decides.
"""
