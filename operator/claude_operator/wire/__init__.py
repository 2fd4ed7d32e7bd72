"""What the processes say to each other over the gateway's ports, as models.

`session` is the pod's side (the session port), `internal` the side of controller, shim and
administrators (the internal port). Both ends import the same models, so neither can drift.
"""
