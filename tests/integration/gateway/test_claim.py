"""Which pod may act for a session: every link of the chain, every way to lose it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.resources.lifecycle import Phase
from claude_operator.resources.session_status import SessionStatus
from tests.integration.gateway.cluster import Pod, internal_token, sign
from tests.integration.gateway.conftest import World, open_world, restarted

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_claim_is_answered_with_everything_that_the_runner_needs(world: World) -> None:
    session, _, assignment = await world.claimed(
        requirements='Say héllo "twice"\n', context="of old", branch="main", timeoutSeconds=99
    )

    assert assignment["requirements"] == 'Say héllo "twice"\n'
    assert assignment["context"] == "of old"
    assert assignment["sessionUid"] == session.uid
    assert assignment["claudeSessionId"] == session.uid
    assert assignment["attempt"] == 1
    assert assignment["repositoryHost"] == world.host
    assert assignment["repositoryPath"] == "acme/greetings"
    assert assignment["repositoryURL"] == f"{world.git.url}/acme/greetings"
    assert assignment["baseBranch"] == "main"
    assert assignment["publishBranch"] == f"claude/fix-{session.uid[:5]}"
    assert assignment["model"] == "claude-sonnet-5-5"
    assert assignment["tools"] == ["Bash", "Read", "Edit", "Write", "Grep", "Glob"]
    assert assignment["timeoutSeconds"] == 99
    assert "resume" not in assignment
    assert (await world.event(session, "claimed"))["attempt"] == 1


async def test_the_same_pod_may_claim_again_and_gets_the_same(world: World) -> None:
    session, pod, first = await world.claimed()

    assert await world.claim(pod) == (200, first)
    claims = [event for event in await world.journal(session) if event["type"] == "gateway.claimed"]
    assert len(claims) == 1


async def test_nothing_works_before_the_claim(world: World) -> None:
    pod = world.cluster.add_pod(world.cluster.add_session())

    status, body = await world.ask(pod, "POST", "/v1/session/events", json={"events": []})

    assert (status, body["reason"]) == (403, "ClaimRefused")
    assert "claim first" in body["message"]


async def test_a_later_pod_of_the_attempt_fences_the_earlier(world: World) -> None:
    session, earlier, _ = await world.claimed()
    later = world.cluster.add_pod(session, suffix="-2")

    assert (await world.claim(later))[0] == 200

    status, body = await world.ask(earlier, "POST", "/v1/session/events", json={"events": []})
    assert (status, body["reason"]) == (403, "ClaimRefused")
    status, body = await world.claim(earlier)
    assert status == 409
    assert later.name in body["message"]
    assert (await world.ask(later, "POST", "/v1/session/events", json={"events": []}))[0] == 200


async def test_a_later_attempt_fences_the_earlier_one(world: World) -> None:
    session, first, _ = await world.claimed()
    second = world.cluster.add_pod(session, attempt=2)

    assert (await world.claim(second))[0] == 200

    assert (await world.claim(first))[0] == 409
    record = await world.record(session)
    assert [attempt["number"] for attempt in record["attempts"]] == [1, 2]
    assert record["attempts"][0]["closedAt"]
    assert "closedAt" not in record["attempts"][1]


async def test_a_closed_attempt_cannot_be_claimed_also_when_nobody_had(world: World) -> None:
    session = world.cluster.add_session()
    pod = world.cluster.add_pod(session)
    record = await world.close_attempt(session)

    status, body = await world.claim(pod)

    assert record["attempts"] == []
    assert (status, body["reason"]) == (409, "ClaimRefused")
    assert "closed" in body["message"]


async def test_an_outcome_voids_every_token_of_the_session(world: World) -> None:
    session, pod, _ = await world.claimed()
    await world.conclude(session)

    assert (await world.ask(pod, "POST", "/v1/session/events", json={"events": []}))[0] == 403
    status, body = await world.claim(pod)
    assert status == 409
    assert "finished" in body["message"]


async def test_the_first_outcome_stands(world: World) -> None:
    session, _, _ = await world.claimed()
    await world.conclude(session, "Failed", reason="Timeout")

    standing = await world.conclude(session, "Succeeded")

    assert (standing["phase"], standing["reason"]) == ("Failed", "Timeout")
    _, archived = await world.internal("GET", "/outcomes/team/fix")
    assert archived["phase"] == "Failed"


async def test_fences_hold_over_a_restart(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, fenced, _ = await world.claimed()
        holder = world.cluster.add_pod(session, suffix="-2")
        assert (await world.claim(holder))[0] == 200
        await world.gateway.__aexit__(None, None, None)
        async with restarted(world) as again:
            assert (await again.ask(fenced, "POST", "/v1/session/events", json={"events": []}))[0] == 403
            assert (await again.ask(holder, "POST", "/v1/session/events", json={"events": []}))[0] == 200


def _gone(world: World, pod: Pod) -> None:
    del world.cluster.pods[pod.namespace, pod.name]


def _reborn(world: World, pod: Pod) -> None:
    key = (pod.namespace, pod.name)
    world.cluster.pods[key] = replace(world.cluster.pods[key], uid="another")


def _pod_deleting(world: World, pod: Pod) -> None:
    key = (pod.namespace, pod.name)
    world.cluster.pods[key] = replace(world.cluster.pods[key], deleting=True)


def _no_job(world: World, pod: Pod) -> None:
    key = (pod.namespace, pod.name)
    world.cluster.pods[key] = replace(world.cluster.pods[key], owner=None)


def _job_reborn(world: World, _: Pod) -> None:
    world.cluster.jobs["team", "fix-1"] = replace(world.cluster.jobs["team", "fix-1"], uid="another")


def _job_deleting(world: World, _: Pod) -> None:
    world.cluster.jobs["team", "fix-1"] = replace(world.cluster.jobs["team", "fix-1"], deleting=True)


def _job_without_session(world: World, _: Pod) -> None:
    world.cluster.jobs["team", "fix-1"] = replace(world.cluster.jobs["team", "fix-1"], owner=None)


def _forged_attempt(world: World, pod: Pod) -> None:
    key = (pod.namespace, pod.name)
    labels = {**world.cluster.pods[key].labels, "claude-operator.dev/attempt": "2"}
    world.cluster.pods[key] = replace(world.cluster.pods[key], labels=labels)


def _session_reborn(world: World, _: Pod) -> None:
    world.cluster.add_session("fix")


def _session_deleting(world: World, _: Pod) -> None:
    world.cluster.sessions["team", "fix"] = replace(world.cluster.sessions["team", "fix"], deleting=True)


def _session_final(world: World, _: Pod) -> None:
    world.cluster.sessions["team", "fix"] = replace(
        world.cluster.sessions["team", "fix"], status=SessionStatus(phase=Phase.FAILED)
    )


def _session_cancelled(world: World, _: Pod) -> None:
    world.cluster.change_session(world.cluster.sessions["team", "fix"], cancel=True)


def _secret_gone(world: World, _: Pod) -> None:
    model = {**world.project["model"], "credentialsSecret": "missing"}
    world.cluster.put_project({**world.project, "model": model}, name="unready")
    world.cluster.change_session(world.cluster.sessions["team", "fix"], project="unready")


def _other_model(world: World, _: Pod) -> None:
    world.cluster.change_session(world.cluster.sessions["team", "fix"], model="claude-opus-9")


def _other_repository(world: World, _: Pod) -> None:
    world.cluster.change_session(world.cluster.sessions["team", "fix"], repository="evil.example/a/b")


@pytest.mark.parametrize(
    ("breaks", "reason", "says"),
    [
        (_gone, "ClaimRefused", "the pod of this token is gone"),
        (_reborn, "ClaimRefused", "the pod of this token is gone"),
        (_pod_deleting, "ClaimRefused", "being deleted"),
        (_no_job, "ClaimRefused", "belongs to no Job"),
        (_job_reborn, "ClaimRefused", "is gone"),
        (_job_deleting, "ClaimRefused", "being deleted"),
        (_job_without_session, "ClaimRefused", "belongs to no ClaudeSession"),
        (_forged_attempt, "ClaimRefused", "labels"),
        (_session_reborn, "ClaimRefused", "is gone"),
        (_session_deleting, "ClaimRefused", "being deleted"),
        (_session_final, "ClaimRefused", "is Failed"),
        (_session_cancelled, "Cancelled", "cancelled"),
        (_secret_gone, "ProjectNotReady", "Secret missing does not exist"),
        (_other_model, "InvalidSpec", "claude-opus-9"),
        (_other_repository, "InvalidSpec", "evil.example"),
    ],
)
async def test_each_broken_link_refuses_the_claim(world: World, breaks: Any, reason: str, says: str) -> None:
    pod = world.cluster.add_pod(world.cluster.add_session())
    breaks(world, pod)

    status, body = await world.claim(pod)

    assert (status, body["reason"]) == (409, reason)
    assert says in body["message"]


async def test_a_refused_claim_is_in_the_journal_and_takes_no_attempt(world: World) -> None:
    world.change_project(maxConcurrentSessions=0)
    session = world.cluster.add_session()

    assert (await world.claim(world.cluster.add_pod(session)))[0] == 409

    assert (await world.event(session, "claim_refused"))["reason"] == "ConcurrencyLimit"
    assert (await world.record(session))["attempts"] == []


async def test_slots_are_given_back_when_an_attempt_is_closed(world: World) -> None:
    world.change_project(maxConcurrentSessions=1)
    first, _, _ = await world.claimed("first")
    pod = world.cluster.add_pod(world.cluster.add_session("second"))
    status, body = await world.claim(pod)
    assert (status, body["reason"]) == (409, "ConcurrencyLimit")

    await world.close_attempt(first)

    assert (await world.claim(pod))[0] == 200


async def test_of_many_claims_at_once_only_as_many_succeed_as_there_are_slots(world: World) -> None:
    world.change_project(maxConcurrentSessions=3)
    pods = [world.cluster.add_pod(world.cluster.add_session(f"s{number}")) for number in range(12)]

    answers = await asyncio.gather(*(world.claim(pod) for pod in pods))

    assert sorted(status for status, _ in answers) == [200] * 3 + [409] * 9


async def test_two_sessions_cannot_publish_to_one_branch(world: World) -> None:
    world.change_project(branchPatterns=["release/*"])
    first, _, _ = await world.claimed("first", publish={"branch": "release/x"})
    pod = world.cluster.add_pod(world.cluster.add_session("second", publish={"branch": "release/x"}))

    status, body = await world.claim(pod)
    assert status == 409
    assert first.uid in body["message"]

    await world.conclude(first)
    assert (await world.claim(pod))[0] == 200


async def test_a_dependency_s_result_is_handed_on_and_the_live_one_wins(world: World) -> None:
    old = world.cluster.add_session("first")
    await world.conclude(old, summary="of the old one")
    live, pod, _ = await world.claimed("first")
    words = "Done. " * 1000
    await world.ask(pod, "POST", "/v1/session/result", json={"reason": "Completed", "summary": words})
    await world.conclude(live, summary="Done.", branch="claude/x", commit="c" * 40, artifacts=["a.txt"])

    _, _, assignment = await world.claimed("second", dependencies=[{"name": "first"}])

    assert assignment["dependencies"] == [
        {
            "name": "first",
            "type": "implementation",
            "phase": "Succeeded",
            "summary": words,
            "branch": "claude/x",
            "commit": "c" * 40,
            "artifacts": ["a.txt"],
        }
    ]


async def test_a_deleted_dependency_is_found_in_the_archive(world: World) -> None:
    first = world.cluster.add_session("first")
    await world.conclude(first, "Failed", summary="it broke")
    del world.cluster.sessions["team", "first"]

    _, _, assignment = await world.claimed("second", dependencies=[{"name": "first", "when": "Failed"}])

    assert [one["summary"] for one in assignment["dependencies"]] == ["it broke"]


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (lambda _: "", 401),
        (lambda _: "nonsense", 401),
        (lambda pod: pod.token(exp=1), 401),
        (lambda pod: pod.token(aud=["another"]), 401),
        (lambda pod: pod.token(iss="https://evil.example"), 401),
        (lambda pod: pod.token(**{"kubernetes.io": None}), 401),
        (lambda _: sign({}, kid="key-9"), 401),
        (lambda _: internal_token(), 401),
        (
            lambda pod: pod.token(
                **{
                    "kubernetes.io": {
                        "namespace": "team",
                        "pod": {"name": pod.name, "uid": pod.uid},
                        "serviceaccount": {"name": "default", "uid": "x"},
                    }
                }
            ),
            403,
        ),
    ],
)
async def test_other_tokens_are_refused(world: World, token: Any, status: int) -> None:
    _, pod, _ = await world.claimed()

    answer, body = await world.ask(pod, "POST", "/v1/session/claim", Authorization=f"Bearer {token(pod)}")

    assert answer == status
    assert body["message"]


async def test_the_internal_port_is_for_listed_subjects_only(world: World) -> None:
    session, pod, _ = await world.claimed()
    path = f"/sessions/{session.uid}"

    assert (await world.internal("GET", path, token=pod.token()))[0] == 401
    status, body = await world.internal("GET", path, token=internal_token("system:serviceaccount:team:nosy"))
    assert status == 403
    assert "system:serviceaccount:team:nosy" in body["message"]
    assert (await world.internal("GET", path))[0] == 200


async def test_unknown_keys_do_not_become_questions_to_the_cluster(world: World) -> None:
    _, pod, _ = await world.claimed()
    before = world.cluster.key_reads

    for number in range(20):
        await world.ask(
            pod, "POST", "/v1/session/claim", Authorization=f"Bearer {sign({}, kid=f'k{number}')}"
        )

    assert world.cluster.key_reads - before <= 1


async def test_a_cluster_that_cannot_be_asked_is_a_503(world: World) -> None:
    pod = world.cluster.add_pod(world.cluster.add_session())
    world.cluster.down = True

    status, body = await world.claim(pod)

    assert (status, body["reason"]) == (503, "GatewayUnavailable")
