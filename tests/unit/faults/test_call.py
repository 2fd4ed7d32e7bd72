"""Requests are recognised by their paths."""

import pytest

from tests.faults.call import Call, gateway, kubernetes

BATCH = "/apis/batch/v1/namespaces"
SESSIONS = "/apis/claude-operator.dev/v1alpha1"


@pytest.mark.parametrize(
    ("method", "target", "body", "call"),
    [
        ("POST", f"{BATCH}/a/jobs", b'{"metadata": {"name": "j"}}', Call("POST", "jobs", "a", "j")),
        ("POST", "/api/v1/namespaces/a/events", b"not json", Call("POST", "events", "a")),
        (
            "PATCH",
            f"{SESSIONS}/namespaces/a/claudesessions/s/status",
            b"{}",
            Call("PATCH", "claudesessions/status", "a", "s"),
        ),
        ("DELETE", f"{BATCH}/a/jobs/j?x=1", b"{}", Call("DELETE", "jobs", "a", "j")),
        ("GET", "/api/v1/pods?watch=1&x=2", b"", Call("GET", "pods", watch=True)),
        ("GET", "/api/v1/pods?watch=true", b"", Call("GET", "pods", watch=True)),
        ("GET", "/api/v1/namespaces/a/pods?limit=1", b"", Call("GET", "pods", "a")),
        ("GET", "/api/v1/namespaces/a", b"", Call("GET", "namespaces", "", "a")),
        ("GET", "/version", b"", Call("GET", "/version")),
    ],
)
def test_of_the_api_server(method: str, target: str, body: bytes, call: Call) -> None:
    assert kubernetes(method, target, body) == call


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        ("POST", "/internal/v1/sessions/u/attempts/2/close", Call("POST", "close", name="u/2")),
        ("POST", "/internal/v1/sessions/u/cancel", Call("POST", "cancel", name="u")),
        ("PUT", "/internal/v1/sessions/u/outcome", Call("PUT", "outcome", name="u")),
        ("GET", "/internal/v1/outcomes/ns/a%2Db", Call("GET", "outcomes", "ns", "a-b")),
        ("GET", "/internal/v1/sessions/u", Call("GET", "session", name="u")),
    ],
)
def test_of_the_gateway(method: str, target: str, call: Call) -> None:
    assert gateway(method, target, b"") == call


def test_reads_are_no_writes() -> None:
    assert not kubernetes("GET", "/api/v1/pods", b"").write
    assert kubernetes("PATCH", "/api/v1/namespaces/a/pods/p/status", b"").what == "PATCH pods/status"
