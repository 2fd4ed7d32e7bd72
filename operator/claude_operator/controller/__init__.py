"""From what is seen to what is done.

kopf's events and our own watches fill a cache, the engine decides, the writes follow.
"""
