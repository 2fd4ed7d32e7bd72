"""A stand-in for GitHub's REST API: the operations that the gateway uses, and a check of each request."""

from tests.world.github.server import Fault, GitHubServer, Sent
from tests.world.github.state import App, Repository

__all__ = ["App", "Fault", "GitHubServer", "Repository", "Sent"]
