"""The vocabulary: what a session and a project are, and the words for what happens to them.

Pure data: pydantic models for the borders, constants, name rules, CRD generation. Everything else in
the distribution may import this room; it imports nothing of ours.
"""
