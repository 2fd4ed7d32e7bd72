"""Exactly once: the controller is killed at every write that it makes, refused, blinded, doubled.

A scenario is played once without faults, which shows every call that it takes. Then it is played again for
each of these calls with a fault just there, and must come to the same end.
"""
