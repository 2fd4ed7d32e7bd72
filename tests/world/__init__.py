"""The outside world for tests: a scripted model and a real git host. See README.md."""

from tests.world.echo import Echo
from tests.world.git_server import GitFault, GitServer, GitUser
from tests.world.markers import inline
from tests.world.model_server import ModelServer
from tests.world.repositories import Commit, File, Repositories, Seed, read_seeds
from tests.world.script import Delay, Drop, Error, Script, Step, ToolCall, Usage

__all__ = [
    "Commit",
    "Delay",
    "Drop",
    "Echo",
    "Error",
    "File",
    "GitFault",
    "GitServer",
    "GitUser",
    "ModelServer",
    "Repositories",
    "Script",
    "Seed",
    "Step",
    "ToolCall",
    "Usage",
    "inline",
    "read_seeds",
]
