"""Where things are kept: one cache that is dear to rebuild, one state folder per cluster that is not.

The cache holds what depends on pinned inputs alone (Kubernetes binaries, image layers) and survives
`down`; a cluster's state folder holds everything else and `down` removes it whole.
"""

import os
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_NAME = "claude-operator"

# The name becomes a node name, a cgroup and a folder: a DNS label, short enough for all of them.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def cache_dir() -> Path:
    """`$CLAUDE_OPERATOR_CACHE`, else `claude-operator` in the user's cache folder."""
    if named := os.environ.get("CLAUDE_OPERATOR_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "claude-operator"


def state_dir(name: str = DEFAULT_NAME) -> Path:
    """`$CLAUDE_OPERATOR_STATE`, else the cluster's folder in the cache.

    Raises:
        ValueError: the name is not a DNS label of at most 40 characters.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"cluster name {name!r}: use at most 40 lower-case letters, digits and inner dashes")
    if named := os.environ.get("CLAUDE_OPERATOR_STATE"):
        return Path(named).absolute()
    return cache_dir() / "clusters" / name
