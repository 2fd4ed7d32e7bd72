"""Where a git request goes, and what its host's refusals mean, in words of ours. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL

    from claude_operator.gateway.credentials import Credential


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of the host, and the login for it."""

    url: URL
    credential: Credential | None
    name: str
    """For messages."""

    @property
    def credential_name(self) -> str:
        """The Secret's."""
        return self.credential.name if self.credential is not None else ""

    @property
    def listed(self) -> bool:
        """Whether that Secret lists the host."""
        return self.credential is not None and self.credential.lists(self.url)


def explain(status: int, target: Target) -> tuple[int, str]:
    """Our own words for a host's refusal. 401 becomes 403: git would ask for a password."""
    name = target.name
    match status:
        case 401 | 403 if target.credential is None:
            return 403, f"{name} needs a login: name a credentialsSecret for its host in the ClaudeProject"
        case 401:
            return 403, f"{name}: the host does not accept the login in Secret {target.credential_name}"
        case 403:
            return 403, f"{name}: the login in Secret {target.credential_name} may not do this"
        case 404:
            return 404, f"{name} does not exist, or the project's login may not see it"
        case 429:
            return 503, f"{name}: the host asks to slow down (429)"
        case _ if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            return 502, f"{name}: the host answers with a redirect ({status}): correct url or repository"
        case _:
            return 502, f"{name}: the host answers {status}"
