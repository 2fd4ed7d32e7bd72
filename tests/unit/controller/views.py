"""Small views for tests of the cache."""

from dataclasses import replace
from datetime import UTC, datetime

from claude_operator.engine.observation import DependencyIntent, Intent, Job, Session
from claude_operator.engine.views import session_view
from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session import When
from claude_operator.resources.session_status import SessionStatus

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def session(
    name: str, *, version: int, uid: str = "", phase: Phase = Phase.PENDING, needs: tuple[str, ...] = ()
) -> Session:
    view = session_view(
        {
            "metadata": {
                "namespace": "default",
                "name": name,
                "uid": uid or f"uid-{name}",
                "generation": 1,
                "resourceVersion": str(version),
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"repository": "demo/greeter", "requirements": "Go."},
        }
    )
    assert view.intent is not None
    dependencies = tuple(DependencyIntent(each, When.SUCCEEDED) for each in needs)
    intent: Intent = replace(view.intent, dependencies=dependencies)
    return replace(view, intent=intent, status=SessionStatus(phase=phase))


def job(uid: str, *, owner: str, deleting: bool = False) -> Job:
    return Job(
        name=f"job-{uid}",
        uid=uid,
        owner_uid=owner,
        attempt=1,
        created=CREATED,
        deleting=deleting,
        end=None,
        end_reason="",
        end_message="",
    )
