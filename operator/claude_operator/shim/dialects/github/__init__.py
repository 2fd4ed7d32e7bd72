"""GitHub's webhook as a way to start sessions: issues, comments, reviews, checks.

`endpoint` answers GitHub, `worker` works at what the gateway keeps, `screen` and `decide` say what is to be
done (pure), `tasks` says it to the agent.
"""

from claude_operator.shim.dialects.github.endpoint import Dialect

__all__ = ["Dialect"]
