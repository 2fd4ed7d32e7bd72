"""Who is asking, and what that client may see: every operation of the core takes one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_operator.shim.core.view import SessionView


@dataclass(frozen=True, slots=True)
class Scope:
    """One authenticated client."""

    client: str
    """The name of its key: a label value."""
    namespaces: tuple[str, ...]
    """Where it may see and make sessions; new ones are made in the first."""
    projects: tuple[str, ...] = ()
    """ClaudeProjects that it may use; new sessions get the first. Empty: any, and `project`."""
    project: str = "default"
    """Of new sessions, unless `projects` says otherwise."""

    @property
    def home(self) -> str:
        """The namespace of new sessions."""
        return self.namespaces[0]

    @property
    def home_project(self) -> str:
        """The project of new sessions."""
        return self.projects[0] if self.projects else self.project

    def sees(self, view: SessionView) -> bool:
        """Whether the client may know of this session."""
        return view.namespace in self.namespaces and (not self.projects or view.project in self.projects)
