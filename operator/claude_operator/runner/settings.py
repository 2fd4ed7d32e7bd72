"""What the pod tells the runner: the gateway's address and CA, and where things lie.

The engine writes the environment (names in `wire.session`), the image fixes the paths (`resources.
identity`). The `CLAUDE_RUNNER_*` variables exist for tests and for people who build images of their
own; a Job of the operator sets none of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from claude_operator.resources.identity import HOME_PATH, READY_PATH, TOKEN_PATH, WORKSPACE_PATH
from claude_operator.resources.lifecycle import Reason
from claude_operator.runner.errors import RunError
from claude_operator.runner.termination import TERMINATION_PATH
from claude_operator.wire.session import ENV_GATEWAY_CA, ENV_GATEWAY_PROXY, ENV_GATEWAY_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_PREFIX = "CLAUDE_RUNNER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the runner takes from its surroundings."""

    gateway_url: str
    """`https://host:port`, without a trailing slash."""
    gateway_proxy: str
    """`host:port` of the gateway's CONNECT port."""
    gateway_ca: str
    """PEM."""
    token_path: Path
    workspace: Path
    """The clone becomes a folder below."""
    home: Path
    ready_path: Path
    termination_path: Path
    claude: str
    """The CLI's executable: a path, or a name on PATH."""
    checkpoint_seconds: float
    """Shortest time between two checkpoints of a running agent."""
    patience_seconds: float
    """How long a gateway may be away before the run gives up: longer than its pod takes to be
    scheduled again with its volume."""

    @property
    def state(self) -> Path:
        """The runner's own files: configurations, snapshots, uploads that wait."""
        return self.home / ".runner"

    @property
    def cli_config(self) -> Path:
        """CLAUDE_CONFIG_DIR: the CLI keeps its conversations below."""
        return self.home / ".claude"


def from_environment(env: Mapping[str, str]) -> Settings:
    """The settings in `env`.

    Raises:
        RunError: a variable is missing or no number; the text names it.
    """
    home = Path(env.get(f"{ENV_PREFIX}HOME", HOME_PATH))
    return Settings(
        gateway_url=_required(env, ENV_GATEWAY_URL).rstrip("/"),
        gateway_proxy=_required(env, ENV_GATEWAY_PROXY),
        gateway_ca=_required(env, ENV_GATEWAY_CA),
        token_path=Path(env.get(f"{ENV_PREFIX}TOKEN", TOKEN_PATH)),
        workspace=Path(env.get(f"{ENV_PREFIX}WORKSPACE", WORKSPACE_PATH)),
        home=home,
        ready_path=home / Path(READY_PATH).relative_to(HOME_PATH),
        termination_path=Path(env.get(f"{ENV_PREFIX}TERMINATION_LOG", TERMINATION_PATH)),
        claude=env.get(f"{ENV_PREFIX}CLAUDE", "claude"),
        checkpoint_seconds=_seconds(env, f"{ENV_PREFIX}CHECKPOINT_SECONDS", 60),
        patience_seconds=_seconds(env, f"{ENV_PREFIX}PATIENCE_SECONDS", 300),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise RunError(
            Reason.AGENT_ERROR, f"the environment variable {name} is missing: the session's Job sets it"
        )
    return value


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise RunError(
            Reason.AGENT_ERROR, f"{name} is {text!r}: give a number of seconds that is not negative"
        )
    return value
