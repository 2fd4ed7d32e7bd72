"""The dialect in OpenAPI 3.1. GitHub's bodies are GitHub's to describe; here stands what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from claude_operator.shim.settings import Settings

Json = dict[str, Any]
_ERRORS: Final = {
    400: "The body is no event, or not of the event that the header names.",
    401: "No project that names the repository has signed it.",
    408: "The body came too slowly.",
    413: "The body is larger than the server accepts.",
    500: "The installation is wrong; its administrator must look.",
    503: "The event could not be kept: deliver it again.",
}
_ERROR: Final = {
    "type": "object",
    "required": ["success", "error"],
    "properties": {
        "success": {"const": False},
        "error": {"type": "string"},
        "message": {"type": "string"},
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["success", "message"],
    "properties": {
        "success": {"const": True},
        "message": {"type": "string", "description": "What becomes of the event."},
        "context": {"type": "object", "description": "Repository, number and who asked."},
    },
}


def document(_: Settings) -> Json:
    """Path and components; the server adds its own."""
    error = _json({"$ref": "#/components/schemas/GitHubError"})
    headers = {
        "X-GitHub-Event": "What happened.",
        "X-GitHub-Delivery": "GitHub's id of the delivery; a known one is not worked at again.",
        "X-Hub-Signature-256": "HMAC-SHA256 of the body with the webhook's secret.",
    }
    operation = {
        "operationId": "githubWebhook",
        "summary": "Take an event of GitHub",
        "tags": ["GitHub"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in headers.items()
        ],
        "requestBody": {"required": True, **_json({"type": "object"})},
        "responses": {
            "200": {
                "description": "Verified and kept, or nothing is to be done about it.",
                **_json({"$ref": "#/components/schemas/GitHubAnswer"}),
            },
            **{str(status): {"description": text, **error} for status, text in _ERRORS.items()},
        },
    }
    return {
        "paths": {"/api/webhooks/github": {"post": operation}},
        "components": {"schemas": {"GitHubAnswer": _ANSWER, "GitHubError": _ERROR}},
    }


def _json(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}
