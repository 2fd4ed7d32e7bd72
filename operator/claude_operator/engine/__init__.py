"""The pure decisions: no I/O, no clock of their own.

What is observed goes in, what is to be done comes out.
"""
