"""Free TCP ports for servers that are told their port.

Taken from below the kernel's ephemeral range (32768 and up) and Kubernetes' NodePorts (30000 and up): a
port in there could be taken by any outgoing connection between its choice and its use.
"""

import random
import socket
from collections.abc import Sequence

_RANGE = range(20_000, 30_000)


def choose(names: Sequence[str]) -> dict[str, int]:
    """One port for each name that is free at every address of the machine.

    Nothing keeps it free until it is used: who starts servers there has to be ready to choose again.

    Raises:
        RuntimeError: no free port was found in 200 tries.
    """
    chosen: dict[str, int] = {}
    for port in random.sample(_RANGE, k=200):
        if len(chosen) == len(names):
            break
        with socket.socket() as probe:
            # As servers do; without it a port in TIME_WAIT looks taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                # Fails when any single address has a listener.
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        chosen[names[len(chosen)]] = port
    if len(chosen) < len(names):
        raise RuntimeError(f"no free ports in {_RANGE.start}-{_RANGE.stop - 1}")
    return chosen
