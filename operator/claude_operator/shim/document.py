"""The OpenAPI document and the page that shows it: generated, served, self-contained (no script, no CDN)."""

from __future__ import annotations

import json
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from claude_operator.shim.site import Dialect

Json = dict[str, Any]

_CHECK: Final = {
    "type": "object",
    "required": ["available", "error", "checkTime"],
    "properties": {
        "available": {"type": "boolean"},
        "error": {"type": ["string", "null"]},
        "checkTime": {"type": ["integer", "null"], "description": "Milliseconds."},
    },
}
_TIME: Final = {"type": "string", "format": "date-time"}
_HEALTH: Final = {
    "type": "object",
    "required": ["status", "timestamp", "startup", "docker", "claudeCodeImage", "healthCheckDuration"],
    "properties": {
        "status": {"enum": ["ok", "degraded"]},
        "timestamp": _TIME,
        "startup": {
            "type": "object",
            "required": ["totalStartupTime", "milestones"],
            "properties": {
                "isReady": {"type": "boolean"},
                "startTime": _TIME,
                "totalElapsed": {"type": "integer"},
                "totalStartupTime": {"type": "integer", "description": "Milliseconds."},
                "milestones": {"type": "array", "items": {"type": "object"}},
            },
        },
        "docker": _CHECK | {"description": "The cluster, which has taken the place of a Docker daemon."},
        "claudeCodeImage": _CHECK | {"description": "The image of the session pods."},
        "healthCheckDuration": {"type": "integer"},
    },
}
_PROVIDERS: Final = {
    "type": "object",
    "required": ["status", "providers"],
    "properties": {
        "status": {"const": "healthy"},
        "providers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "handlerCount"],
                "properties": {"name": {"type": "string"}, "handlerCount": {"type": "integer"}},
            },
        },
    },
}


def openapi(dialects: Iterable[Dialect]) -> Json:
    """The document of everything that is served."""
    paths: Json = {
        "/health": _get("health", "How it is", _HEALTH),
        "/api/webhooks/health": _get("webhookHealth", "Which webhook providers there are", _PROVIDERS),
    }
    schemas: Json = {}
    for dialect in dialects:
        part = dialect.openapi()
        paths |= part["paths"]
        schemas |= part["components"]["schemas"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "claude-operator",
            "version": version("claude-operator"),
            "description": "Claude Code sessions on Kubernetes, over HTTP.",
        },
        "security": [{"bearerAuth": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    }


def _get(operation: str, summary: str, schema: Json) -> Json:
    content = {"application/json": {"schema": schema}}
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "tags": ["System"],
            "security": [],
            "responses": {"200": {"description": summary, "content": content}},
        }
    }


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code,pre{font:14px/1.45 ui-monospace,monospace}pre{background:#f5f5f5;padding:.8rem;overflow:auto}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #ddd;padding:.3rem .5rem;"
    "text-align:left;vertical-align:top}h2{border-bottom:2px solid #d97757;padding-bottom:.2rem}"
    "@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}pre{background:#262626}"
    "td,th{border-color:#444}a{color:#e8a080}}"
)


def page(document: Json) -> str:
    """The document as a page for people."""
    info = document["info"]
    body = [
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        f"<p>{escape(info['description'])} For machines: <a href='openapi.json'>openapi.json</a></p>",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body += _operation(path, method, operation)
    body.append("<h2>Objects</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        body += _object(name, schema)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>{''.join(body)}</html>"
    )


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if "schema" in content:
        yield f"<p>Body: {_type(content['schema'])}</p>"
    for name, example in content.get("examples", {}).items():
        shown = escape(json.dumps(example["value"], indent=2))
        yield f"<details><summary>{escape(name)}</summary><pre>{shown}</pre></details>"
    rows = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    yield f"<table><tr><th>Status</th><th></th></tr>{rows}</table>"


def _object(name: str, schema: Json) -> Iterator[str]:
    yield f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{' *' if field in required else ''}</td>"
        f"<td>{_type(part)}</td><td>{escape(part.get('description', ''))}</td></tr>"
        for field, part in schema.get("properties", {}).items()
    )
    if rows:
        yield f"<table><tr><th>Field (* required)</th><th>Type</th><th></th></tr>{rows}</table>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(_type(one) for one in schema[key])
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return " | ".join(f"<code>{escape(json.dumps(one))}</code>" for one in values)
    if schema.get("type") == "array":
        return f"[{_type(schema.get('items', {}))}]"
    return escape(str(schema.get("type", "any")))
