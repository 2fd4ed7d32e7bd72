"""Who may start something. Pure; the one rule for every event.

A login in `users`, or a bot's in `bots`; and never the project's own bot, whatever is listed: its answers
would start sessions without end. Everyone who has a part in an event must be somebody who may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claude_operator.github.event import Account
    from claude_operator.resources.project import GitHubTriggers


def may(triggers: GitHubTriggers, *accounts: Account | None) -> bool:
    """Whether all of them may; None: GitHub no longer knows who it was."""
    return all(account is not None and _one(triggers, account) for account in accounts)


def _one(triggers: GitHubTriggers, account: Account) -> bool:
    login = _plain(account.login)
    if triggers.mention is not None and login == _plain(triggers.mention):
        return False
    return login in {_plain(one) for one in (triggers.bots if account.bot else triggers.users)}


def _plain(login: str) -> str:
    """Logins are the same in either case."""
    return login.removeprefix("@").removesuffix("[bot]").lower()
