"""The shell variables that a running cluster offers: `eval "$(python -m tests.cluster env)"`.

Kept as `env.json` in the state folder, so that whatever is started later, beside or inside the cluster, adds
its own (a server's URL, a file with a secret) without this package knowing of it.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tests.cluster.files import write_atomically

_FILE = "env.json"


class Environment(BaseModel):
    """Variables to export, and folders to put before PATH."""

    model_config = ConfigDict(extra="forbid")

    variables: dict[str, str] = {}
    path: list[str] = []

    def exports(self) -> str:
        """Lines for a POSIX shell."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(self.variables.items())]
        if self.path:
            lines.append(f'export PATH={shlex.quote(":".join(self.path))}:"$PATH"')
        return "\n".join(lines)


def read(state: Path) -> Environment:
    """What has been contributed so far; empty when nothing was."""
    try:
        return Environment.model_validate_json((state / _FILE).read_text())
    except FileNotFoundError:
        return Environment()


def contribute(state: Path, variables: Mapping[str, str], *, path: Sequence[Path] = ()) -> None:
    """Merge variables and PATH folders into the cluster's environment; a later value replaces an earlier."""
    known = read(state)
    merged = Environment(
        variables={**known.variables, **variables},
        path=list(dict.fromkeys([*map(str, path), *known.path])),
    )
    # It may name secrets' files, never secrets; still nobody else's business.
    write_atomically(state / _FILE, json.dumps(merged.model_dump(), indent=2) + "\n", mode=0o600)
