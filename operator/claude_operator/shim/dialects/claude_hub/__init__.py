"""The claude-hub webhook API: one URL, `POST /api/webhooks/claude`, whose body says what is to be done."""

from claude_operator.shim.dialects.claude_hub.endpoint import Dialect

__all__ = ["Dialect"]
