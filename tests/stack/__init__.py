"""The whole of it, standing: a cluster, the outside world, the operator installed, a namespace set up.

The demo shows it to a person, the end-to-end tests try it; both start it here, so that what is shown is
what is tested.
"""
