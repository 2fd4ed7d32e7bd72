"""The git host through the gateway, with git itself: one repository, one branch, no credential in the pod."""

from __future__ import annotations

import asyncio
import gzip
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.gateway.conftest import GIT_TOKEN, World, client_context, open_world, restarted
from tests.world.echo import Echo
from tests.world.git_server import GitFault

if TYPE_CHECKING:
    from pathlib import Path

    from claude_operator.gateway.cluster import Session
    from tests.integration.gateway.cluster import Pod

ZERO = "0" * 40
PUSH_TYPE = "application/x-git-receive-pack-request"


def branch_of(session: Session) -> str:
    return f"claude/{session.name}-{session.uid[:5]}"


def line(text: str) -> bytes:
    data = text.encode()
    return b"%04x" % (len(data) + 4) + data


async def push(world: World, pod: Pod, clone: Path, target: str, *options: str) -> str:
    """What git prints about a push that is refused."""
    return await world.git_in_pod(pod, "push", *options, "origin", target, cwd=clone, check=False)


async def raw_push(world: World, pod: Pod, body: bytes, **headers: str) -> tuple[int, Any]:
    path = f"/git/{world.host}/acme/greetings.git/git-receive-pack"
    return await world.ask(pod, "POST", path, data=body, **{"Content-Type": PUSH_TYPE, **headers})


async def test_clone_and_push_to_the_session_s_own_branch(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    main = world.branches()["refs/heads/main"]
    first = await world.commit(pod, clone, "one")
    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)
    second = await world.commit(pod, clone, "two")
    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)

    assert world.branches() == {"refs/heads/main": main, f"refs/heads/{branch_of(session)}": second}
    record = await world.record(session)
    assert record["published"] == {"branch": branch_of(session), "commit": second}
    pushed = [event for event in await world.journal(session) if event["type"] == "gateway.pushed"]
    assert [event["data"]["commit"] for event in pushed] == [first, second]
    assert "verdict" not in record["attempts"][0]


async def test_a_large_push_is_streamed(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    with (clone / "large.bin").open("wb") as file:
        file.write(os.urandom(8 << 20))
    commit = await world.commit(pod, clone)

    await world.git_in_pod(pod, "push", "-q", "origin", f"HEAD:{branch_of(session)}", cwd=clone)

    assert world.branches()[f"refs/heads/{branch_of(session)}"] == commit
    again = await world.clone(pod, "again")
    assert (again / ".git").is_dir()


async def test_a_push_to_anything_else_is_refused_by_name(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    before = world.branches()

    for target in ("HEAD:main", "HEAD:refs/heads/other", "HEAD:refs/tags/v1", "HEAD:refs/notes/x"):
        said = await push(world, pod, clone, target)
        assert "may push to" in said, said
        assert "rejected" in said

    assert world.branches() == before
    assert "may push to" in (await world.event(session, "push_refused"))["message"]
    await world.verdict(session, lambda verdict: verdict == "PublishRejected")
    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)
    await world.verdict(session, lambda verdict: verdict is None)


async def test_a_delete_is_refused(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    commit = await world.commit(pod, clone)
    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)

    said = await push(world, pod, clone, f":{branch_of(session)}")

    assert "deleting" in said
    assert world.branches()[f"refs/heads/{branch_of(session)}"] == commit


async def test_two_commands_are_refused(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    before = world.branches()

    said = await world.git_in_pod(
        pod, "push", "origin", f"HEAD:{branch_of(session)}", "HEAD:refs/heads/x", cwd=clone, check=False
    )

    assert "2 commands" in said
    assert world.branches() == before


async def test_push_options_are_refused(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)

    said = await push(world, pod, clone, f"HEAD:{branch_of(session)}", "-o", "ci.skip")

    assert "push options are not allowed" in said
    assert len(world.branches()) == 1


async def test_a_push_certificate_is_refused(world: World) -> None:
    session, pod, _ = await world.claimed()
    body = line("push-cert\0report-status\n") + line("certificate version 0.1\n") + b"0000"

    status, text = await raw_push(world, pod, body)

    assert status == 403
    assert "certificate" in text
    assert "certificate" in (await world.event(session, "push_refused"))["message"]


async def test_a_compressed_push_is_refused_before_it_is_read(world: World) -> None:
    session, pod, _ = await world.claimed()
    main = world.branches()["refs/heads/main"]
    body = gzip.compress(line(f"{main} {ZERO} refs/heads/main\0report-status\n") + b"0000")

    status, text = await raw_push(world, pod, body, **{"Content-Encoding": "gzip"})

    assert status == 415
    assert "compressed" in text
    assert "compressed" in (await world.event(session, "git_refused"))["message"]
    assert world.branches()["refs/heads/main"] == main


async def test_the_probe_and_shallow_lines_are_accepted(world: World) -> None:
    session, pod, _ = await world.claimed()
    assert (await raw_push(world, pod, b"0000"))[0] == 200
    await world.git_in_pod(pod, "clone", "-q", "--depth", "1", world.remote(), "shallow")
    clone = world.folder / "shallow"
    commit = await world.commit(pod, clone)

    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)

    assert world.branches()[f"refs/heads/{branch_of(session)}"] == commit


async def test_a_foreign_branch_of_that_name_is_not_overwritten(world: World) -> None:
    world.change_project(branchPatterns=["shared"])
    session, pod, _ = await world.claimed(publish={"branch": "shared"})
    world.git.repositories.git("acme/greetings", "branch", "shared", "main")
    before = world.branches()
    clone = await world.clone(pod)
    await world.commit(pod, clone)

    said = await push(world, pod, clone, "HEAD:shared", "--force")

    assert "did not push" in said
    assert world.branches() == before
    await world.verdict(session, lambda verdict: verdict == "PublishRejected")


async def test_a_session_that_continues_another_may_go_on_with_its_branch(world: World) -> None:
    world.change_project(branchPatterns=["shared"])
    first, pod, _ = await world.claimed("first", publish={"branch": "shared"})
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    await world.git_in_pod(pod, "push", "origin", "HEAD:shared", cwd=clone)
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    empty = {"transcript": {"sha256": digest, "size": 0}}
    assert (await world.ask(pod, "POST", "/v1/session/checkpoint", json=empty))[0] == 204
    await world.conclude(first)

    _, pod, assignment = await world.claimed("second", publish={"branch": "shared"}, resumeFrom="first")
    commit = await world.commit(pod, clone, "more")
    await world.git_in_pod(pod, "push", "origin", "HEAD:shared", cwd=clone)

    assert assignment["claudeSessionId"] == first.uid
    assert world.branches()["refs/heads/shared"] == commit


async def test_an_accepted_push_whose_answer_was_lost_is_found_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        session, pod, _ = await world.claimed()
        clone = await world.clone(pod)
        commit = await world.commit(pod, clone)
        # The host takes the push; its answer is cut before the report.
        world.git.faults = [GitFault(service="git-receive-pack", method="POST", cut_after=4, times=1)]
        await push(world, pod, clone, f"HEAD:{branch_of(session)}")
        assert world.branches()[f"refs/heads/{branch_of(session)}"] == commit
        assert "published" not in await world.record(session)
        await world.gateway.__aexit__(None, None, None)

        async with restarted(world) as again:
            said = await again.git_in_pod(
                pod, "push", again.remote(), f"HEAD:{branch_of(session)}", cwd=clone
            )
            assert "up-to-date" in said
            assert (await again.record(session))["published"]["commit"] == commit


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/git/{host}/acme/other.git/info/refs?service=git-upload-pack", "not this session's"),
        ("GET", "/git/evil.example/acme/greetings.git/info/refs?service=git-upload-pack", "not this"),
        ("GET", "/git/{host}/acme/greetings.git/info/refs", "dumb HTTP"),
        ("GET", "/git/{host}/acme/greetings.git/HEAD", "only"),
        ("GET", "/git/{host}/acme/greetings.git/objects/info/packs", "only"),
        ("POST", "/git/{host}/acme/greetings.git/info/lfs/objects/batch", "LFS"),
        ("GET", "/git/{host}/acme/greetings.git/info/refs?service=git-upload-archive", "only"),
        ("POST", "/git/{host}/acme/greetings.git/git-upload-pack?x=1", "only"),
        ("GET", "/git/{host}/acme/greetings.git/../other.git/info/refs?service=git-upload-pack", "plainly"),
        ("GET", "/git/{host}/acme/%2e%2e/acme/other.git/info/refs?service=git-upload-pack", "plainly"),
        ("GET", "/git/{host}/acme%2fgreetings.git/info/refs?service=git-upload-pack", "plainly"),
        ("GET", "/git/{host}//acme/greetings.git/info/refs?service=git-upload-pack", "plainly"),
        ("GET", "/git/{host}/acme/greetings/info/refs?service=git-upload-pack", "plainly"),
    ],
)
async def test_other_paths_are_refused(world: World, method: str, path: str, says: str) -> None:
    session, pod, _ = await world.claimed()
    before = world.git.requests.last

    status, text = await raw_request(world, pod, method, path.format(host=world.host))

    assert status == 403, text
    assert says in text
    assert says in (await world.event(session, "git_refused"))["message"]
    assert world.git.requests.last == before


async def raw_request(world: World, pod: Pod, method: str, target: str) -> tuple[int, str]:
    """A request whose path is sent as it is written: a client library would tidy it up."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        world.gateway.ports.session,
        ssl=client_context(world.gateway),
        server_hostname="localhost",
    )
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {pod.token()}\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    answer = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    return int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (GitFault(status=401, body="no"), "does not accept the login"),
        (GitFault(status=403, body="no"), "may not do this"),
        (GitFault(status=404, body="no"), "does not exist"),
        (GitFault(status=500, body="secret page"), "answers 500"),
        (GitFault(status=302, headers={"Location": "http://127.0.0.1:9/"}), "redirect"),
    ],
)
async def test_the_host_s_refusals_are_told_in_our_words(world: World, fault: GitFault, says: str) -> None:
    session, pod, _ = await world.claimed()
    world.git.faults = [fault]

    said = await world.git_in_pod(pod, "clone", world.remote(), "x", check=False)

    assert says in said
    assert "secret page" not in said
    attempt = await world.verdict(session, lambda verdict: verdict == "CloneFailed")
    assert says in attempt["verdictMessage"]
    world.git.faults = []
    await world.clone(pod)
    await world.verdict(session, lambda verdict: verdict is None)


async def test_a_host_that_rejects_the_push_is_quoted(world: World) -> None:
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    world.git.faults = [GitFault(service="git-receive-pack", method="POST", reject="branch is protected")]

    said = await push(world, pod, clone, f"HEAD:{branch_of(session)}")

    assert "branch is protected" in said
    attempt = await world.verdict(session, lambda verdict: verdict == "PublishRejected")
    assert "rejected the push" in attempt["verdictMessage"]
    assert "published" not in await world.record(session)


async def test_a_hostile_host_cannot_hand_the_login_to_the_pod(world: World) -> None:
    world.git.echo = Echo()
    session, pod, _ = await world.claimed()
    clone = await world.clone(pod)
    await world.commit(pod, clone)

    said = await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)
    world.git.faults = [GitFault(status=500, body="x")]
    said += await world.git_in_pod(pod, "ls-remote", "origin", cwd=clone, check=False)

    assert "[echo authorization: Basic ***" in said
    assert GIT_TOKEN not in said
    assert "eC1hY2Nlc3MtdG9rZW46" not in said  # base64 of `x-access-token:`
    assert GIT_TOKEN not in str(await world.journal(session))


async def test_the_pod_s_token_does_not_reach_the_host(world: World) -> None:
    _, pod, _ = await world.claimed()
    await world.clone(pod)

    for record in world.git.requests.since():
        assert pod.token().split(".")[0] not in str(record.headers)
        assert record.headers["authorization"].startswith("Basic ")


async def test_a_cancelled_session_may_push_within_its_grace_and_not_after(world: World) -> None:
    session, pod, _ = await world.claimed()
    other, late, _ = await world.claimed("late")
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    for one, grace in ((session, 60), (other, 0)):
        await world.internal(
            "POST",
            f"/sessions/{one.uid}/cancel",
            json={"namespace": "team", "name": one.name, "graceSeconds": grace},
        )

    await world.git_in_pod(pod, "push", "origin", f"HEAD:{branch_of(session)}", cwd=clone)
    said = await world.git_in_pod(
        late, "push", world.remote(), f"HEAD:{branch_of(other)}", cwd=clone, check=False
    )

    assert "grace is over" in said
    assert f"refs/heads/{branch_of(other)}" not in world.branches()


async def test_a_read_only_session_fetches_and_pushes_nothing(world: World) -> None:
    session, pod, assignment = await world.claimed(readOnly=True)
    assert assignment["readOnly"]
    clone = await world.clone(pod)
    await world.commit(pod, clone)
    said = await push(world, pod, clone, f"HEAD:{branch_of(session)}")
    assert "spec.readOnly" in said
    status, refusal = await raw_push(world, pod, b"0000")
    assert (status, "spec.readOnly" in refusal) == (403, True)
    assert list(world.branches()) == ["refs/heads/main"]
    assert "spec.readOnly" in (await world.event(session, "push_refused"))["message"]
