"""The dialect in OpenAPI 3.1, from the same models that validate requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from claude_operator.shim.dialects.claude_hub import responses
from claude_operator.shim.dialects.claude_hub.requests import MODELS
from claude_operator.shim.settings import ErrorStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

    from claude_operator.shim.settings import Settings

Json = dict[str, Any]
_REF: Final = "#/components/schemas/{model}"
_ANSWERS: Final[dict[str, type[BaseModel]]] = {
    "SessionAnswer": responses.Answer[responses.SessionData],
    "OutputAnswer": responses.Answer[responses.OutputData],
    "ListAnswer": responses.Answer[responses.ListData],
    "DeletedAnswer": responses.Answer[responses.DeletedData],
    "OrchestrationAnswer": responses.Answer[responses.OrchestrationData],
}
_ERRORS: Final = {
    400: "The request is wrong; `error` names the field.",
    401: "No key, or one that is not known.",
    404: "No session answers to this id.",
    408: "The body came too slowly.",
    409: "Not in this state of the session, or an id that another request has used.",
    413: "The body is larger than the server accepts.",
    429: "Too many requests with this key: `Retry-After` says when to come again.",
    500: "The installation is wrong; its administrator must look.",
    503: "Cluster or gateway do not answer: the same request may be repeated.",
}
_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_PROJECT: Final = {
    "repository": "acme/webapp",
    "branch": "feature/user-auth",
    "requirements": "Implement JWT authentication middleware for Express.js",
}
_EXAMPLES: Final[dict[str, Json]] = {
    "createSession": {
        "type": "session.create",
        "session": {"type": "implementation", "project": _PROJECT, "dependencies": []},
        "options": {"autoStart": True},
    },
    "createSessionWithDependencies": {
        "type": "session.create",
        "session": {"type": "testing", "project": _PROJECT, "dependencies": [_ID]},
    },
    "startSession": {"type": "session.start", "sessionId": _ID},
    "listBatch": {"type": "session.list", "orchestrationId": "auth-feature-batch"},
}


def document(settings: Settings) -> Json:
    """Paths and components; the server adds its own."""
    models: list[type[BaseModel]] = [*MODELS.values(), *_ANSWERS.values(), responses.ErrorAnswer]
    refs, schema = models_json_schema([(one, "validation") for one in models], ref_template=_REF)
    request = {
        "oneOf": [refs[one, "validation"] for one in MODELS.values()],
        "discriminator": {
            "propertyName": "type",
            "mapping": {name: refs[one, "validation"]["$ref"] for name, one in MODELS.items()},
        },
    }
    error = _json(refs[responses.ErrorAnswer, "validation"])
    answers: Json = {
        "200": {
            "description": "Done. What `data` holds depends on `type`.",
            **_json({"anyOf": [refs[one, "validation"] for one in _ANSWERS.values()]}),
        }
    }
    if settings.error_status is ErrorStatus.LEGACY:
        answers["207"] = {"description": "An error that a handler found.", **error}
    for status, description in _ERRORS.items():
        answers[str(status)] = {"description": description, **error}
    operation = {
        "operationId": "claudeWebhook",
        "summary": "Create, start, watch, continue and end sessions",
        "tags": ["Sessions"],
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes a create, a retry or a continuation safe to repeat.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": request,
                    "examples": {name: {"value": value} for name, value in _EXAMPLES.items()},
                }
            },
        },
        "responses": answers,
    }
    return {
        "paths": {"/api/webhooks/claude": {"post": operation}},
        "components": {"schemas": schema["$defs"]},
    }


def _json(schema: Json) -> Json:
    return {"content": {"application/json": {"schema": schema}}}
