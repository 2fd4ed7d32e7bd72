"""The outside world as a process of the stack: scripted model and git host, where pods reach them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from tests.cluster.places import REPOSITORY
from tests.cluster.processes import Process
from tests.cluster.waiting import wait_until


class _State(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class ModelState(_State):
    """The model server, as `world.json` has it."""

    url: str
    key_file: Path


class GitState(_State):
    """The git server, as `world.json` has it."""

    url: str
    username: str
    token_file: Path
    repositories: Path


class WorldState(_State):
    """`world.json`."""

    model: ModelState
    git: GitState
    control_token_file: Path

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The state of the world that runs in `directory`."""
        return cls.model_validate(json.loads((directory / "world.json").read_text()))


@dataclass(frozen=True, slots=True)
class Outside:
    """The world's process."""

    directory: Path

    @property
    def process(self) -> Process:
        """Recorded beside the cluster's own processes."""
        return Process("world", self.directory)

    @property
    def state(self) -> WorldState:
        """Where the servers are; they run."""
        return WorldState.read(self.directory)

    def up(self, host: str) -> None:
        """Start both servers at `host`, unless they run; what an earlier run made is kept."""
        ready = self.directory / "world.json"
        ports: list[str] = []
        if ready.exists() and not self.process.alive:
            # A killed world leaves its file. Its ports are asked for again: a project in the cluster
            # names them.
            old = WorldState.read(self.directory)
            ports = [f"--model-port={_port(old.model.url)}", f"--git-port={_port(old.git.url)}"]
            ready.unlink()
        command = [
            sys.executable,
            "-m",
            "tests.world",
            "up",
            "--directory",
            str(self.directory),
            "--host",
            host,
        ]
        self.process.start([*command, *ports], environment={"PYTHONPATH": str(REPOSITORY)})
        wait_until(
            ready.exists,
            what="the model and git servers to answer",
            seconds=30,
            fails=lambda: None if self.process.alive else f"they ended:\n{self.process.tail()}",
        )

    def down(self) -> None:
        """Stop both servers."""
        self.process.stop()


def _port(url: str) -> str:
    return url.rpartition(":")[2].strip("/")
