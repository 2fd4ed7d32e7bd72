"""The git host, as git itself sees it: rights, pushes, faults, records."""

from __future__ import annotations

import asyncio
import base64
import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.world import Commit, Echo, File, GitFault, GitServer, GitUser, Seed, read_seeds
from tests.world.repositories import Repositories, git_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WRITER = GitUser(username="writer", token="w-token")
READER = GitUser(username="reader", token="r-token", read=("acme/*",), write=())
SEED = Seed(
    commits=(
        Commit(
            message="One",
            files={"a.txt": File(content="1\n"), "run": File(content="#!/bin/sh\n", mode="100755")},
        ),
        Commit(
            message="Two", files={"a.txt": File(content="2\n"), 'b "ü".txt': File(content="ü\n"), "run": None}
        ),
    ),
    branches={"old": 1},
)
BASIC = {"Authorization": "Basic " + base64.b64encode(b"writer:w-token").decode()}
DEADLINE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


async def git(*arguments: str, cwd: Path | None = None) -> Done:
    environment = git_environment() | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "T",
        "GIT_AUTHOR_EMAIL": "t@example.com",
        "GIT_COMMITTER_NAME": "T",
        "GIT_COMMITTER_EMAIL": "t@example.com",
    }
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        cwd=cwd,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode is not None
    return Done(process.returncode, stdout.decode(), stderr.decode())


@asynccontextmanager
async def host(
    folder: Path, echo: Echo | None = None, anonymous_read: tuple[str, ...] = ()
) -> AsyncIterator[GitServer]:
    server = GitServer(
        root=folder / "repositories", users=[WRITER, READER], echo=echo, anonymous_read=anonymous_read
    )
    server.repositories.create("acme/lib", SEED)
    async with server:
        yield server


def url(server: GitServer, user: GitUser | None = WRITER, repository: str = "acme/lib") -> str:
    account = f"{user.username}:{user.token}@" if user else ""
    return f"{server.url.replace('://', '://' + account)}/{repository}.git"


async def clone_and_commit(server: GitServer, folder: Path, size: int = 10) -> Path:
    clone = folder / "clone"
    assert (await git("clone", "-q", url(server), str(clone))).returncode == 0
    (clone / "new.bin").write_bytes(bytes(index * index % 251 for index in range(size)))
    assert (await git("add", "-A", cwd=clone)).returncode == 0
    assert (await git("commit", "-q", "-m", "New", cwd=clone)).returncode == 0
    return clone


def test_a_seed_makes_the_same_commits_everywhere(tmp_path: Path) -> None:
    first, second = Repositories(tmp_path / "1"), Repositories(tmp_path / "2")
    for one in (first, second):
        one.create("acme/lib", SEED)
    assert first.branches("acme/lib") == second.branches("acme/lib")
    assert first.names() == ["acme/lib"]
    assert first.read("acme/lib", "main", "a.txt") == "2\n"
    assert first.read("acme/lib", "old", "a.txt") == "1\n"
    assert first.read("acme/lib", "main", 'b "ü".txt') == "ü\n"
    assert first.git("acme/lib", "ls-tree", "--name-only", "-z", "main").split("\0")[:-1] == [
        "a.txt",
        'b "ü".txt',
    ]
    assert first.git("acme/lib", "ls-tree", "old", "run").startswith("100755 ")
    with pytest.raises(FileExistsError):
        first.create("acme/lib")


def test_the_seeds_of_the_demo(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    for name, seed in read_seeds().items():
        repositories.create(name, seed)
    # The commit is named here so that examples and docs may name it.
    assert repositories.branches("acme/greetings") == {"main": "d106a9f43e1a83c97f525b43b1471bce6b9e798e"}
    assert repositories.branches("acme/empty") == {}


@pytest.mark.parametrize("name", ["lib", "../x", "a/b/c", "acme/..", "acme/lib.git", "-x/y"])
def test_a_repository_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    repositories = Repositories(tmp_path)
    assert not repositories.exists(name)
    with pytest.raises(ValueError, match="expects owner/repo"):
        repositories.path(name)


async def test_clone_commit_push(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        clone = await clone_and_commit(server, tmp_path)
        before = server.repositories.branches("acme/lib")
        assert (await git("push", "-q", "origin", "HEAD:claude/x", cwd=clone)).returncode == 0
        after = server.repositories.branches("acme/lib")
        head = (await git("rev-parse", "HEAD", cwd=clone)).stdout.strip()
        assert after == before | {"claude/x": head}
        push = [record for record in server.requests.since() if record.path.endswith("/git-receive-pack")]
        assert [record.details["user"] for record in push] == ["writer"]
        assert b"refs/heads/claude/x" in push[0].body


async def test_a_pack_of_several_megabytes_passes_both_ways(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        clone = await clone_and_commit(server, tmp_path)
        big = clone / "big.bin"
        # Incompressible, so that the pack is as large; and sent chunked, being over http.postBuffer.
        big.write_bytes(await _random(12 << 20))
        await git("add", "-A", cwd=clone)
        await git("commit", "-q", "-m", "Big", cwd=clone)
        pushed = await git("push", "-q", "origin", "HEAD:big", cwd=clone)
        assert pushed.returncode == 0, pushed.stderr
        sent = [
            record
            for record in server.requests.since()
            if record.headers.get("transfer-encoding") == "chunked"
        ]
        assert sent
        assert len(sent[-1].body) <= 64 << 10
        again = tmp_path / "again"
        assert (await git("clone", "-q", "-b", "big", url(server), str(again))).returncode == 0
        assert (again / "big.bin").read_bytes() == big.read_bytes()


async def _random(size: int) -> bytes:
    process = await asyncio.create_subprocess_exec("head", "-c", str(size), "/dev/urandom", stdout=-1)
    return (await process.communicate())[0]


async def test_a_gzipped_request_is_git_s_to_unpack(tmp_path: Path) -> None:
    async with (
        host(tmp_path) as server,
        aiohttp.ClientSession(headers=BASIC) as client,
    ):
        old = server.repositories.branches("acme/lib")["old"]
        command = f"{old} {'0' * 40} refs/heads/old\0 report-status".encode()
        line = b"%04x%s0000" % (len(command) + 4, command)
        async with client.post(
            f"{server.url}/acme/lib.git/git-receive-pack",
            data=gzip.compress(line),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/x-git-receive-pack-request"},
        ) as response:
            assert b"ok refs/heads/old" in await response.read()
        assert "old" not in server.repositories.branches("acme/lib")


@pytest.mark.parametrize(
    ("user", "operation", "complaint"),
    [
        (WRITER, "push", None),
        (READER, "fetch", None),
        (READER, "push", "403"),
        (None, "fetch", "could not read Username"),
        (GitUser(username="writer", token="guess"), "fetch", "Authentication failed"),
        (GitUser(username="nobody", token="w-token"), "fetch", "Authentication failed"),
    ],
)
async def test_rights(tmp_path: Path, user: GitUser | None, operation: str, complaint: str | None) -> None:
    async with host(tmp_path) as server:
        clone = await clone_and_commit(server, tmp_path)
        arguments = (
            ("push", url(server, user), "HEAD:x") if operation == "push" else ("fetch", url(server, user))
        )
        done = await git(*arguments, cwd=clone)
        if complaint is None:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode != 0
            assert complaint in done.stderr
            assert "x" not in server.repositories.branches("acme/lib")


async def test_anybody_may_read_what_is_public_and_nobody_push_there(tmp_path: Path) -> None:
    async with host(tmp_path, anonymous_read=("acme/*",)) as server:
        assert (await git("ls-remote", url(server, None))).returncode == 0
        clone = await clone_and_commit(server, tmp_path)
        assert (await git("push", url(server, None), "HEAD:x", cwd=clone)).returncode != 0
        assert "x" not in server.repositories.branches("acme/lib")


async def test_what_an_account_may_not_see_is_not_found(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        server.repositories.create("secret/plans", SEED)
        for repository in ("secret/plans", "acme/nonesuch"):
            done = await git("ls-remote", url(server, READER, repository))
            assert done.returncode != 0
            assert "not found" in done.stderr
        assert (await git("ls-remote", url(server, WRITER, "secret/plans"))).returncode == 0


async def test_an_empty_repository_is_cloned_with_a_warning(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        server.repositories.create("acme/empty")
        done = await git("clone", url(server, WRITER, "acme/empty"), str(tmp_path / "empty"))
        assert done.returncode == 0
        assert "empty repository" in done.stderr


async def test_an_echoing_host_reflects_the_credentials(tmp_path: Path) -> None:
    basic = BASIC["Authorization"]
    async with (
        host(tmp_path, Echo()) as server,
        aiohttp.ClientSession(headers=BASIC) as client,
    ):
        async with client.get(f"{server.url}/acme/lib.git/info/refs?service=git-upload-pack") as response:
            assert response.headers["x-echo-authorization"] == basic
            assert response.headers["x-echo-authorization-decoded"] == "writer:w-token"
        async with client.get(
            f"{server.url}/acme/nonesuch.git/info/refs?service=git-upload-pack"
        ) as response:
            assert response.status == 404
            assert "w-token" in await response.text()
        clone = await clone_and_commit(server, tmp_path)
        pushed = await git("push", "origin", "HEAD:x", cwd=clone)
        assert pushed.returncode == 0
        assert (
            f"remote:  [echo authorization: {basic}] [echo authorization-decoded: writer:w-token]"
            in pushed.stderr
        )


async def test_a_redirect_by_script_so_many_times(tmp_path: Path) -> None:
    async with (
        host(tmp_path) as server,
        aiohttp.ClientSession(headers=BASIC) as client,
    ):
        server.repositories.create("acme/other", SEED)
        server.faults = [
            GitFault(
                repository="acme/lib", status=302, times=2, headers={"Location": f"{server.url}/elsewhere"}
            )
        ]
        refs = "{}/acme/{}.git/info/refs?service=git-upload-pack"
        statuses = []
        for repository in ("other", "lib", "lib", "lib"):
            async with client.get(refs.format(server.url, repository), allow_redirects=False) as response:
                statuses.append(response.status)
        assert statuses == [200, 302, 302, 200]
        assert server.faults == []


async def test_a_push_can_be_rejected_as_a_host_rejects_it(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        clone = await clone_and_commit(server, tmp_path)
        server.faults = [GitFault(service="git-receive-pack", method="POST", reject="protected branch")]
        pushed = await git("push", "origin", "HEAD:x", cwd=clone)
        assert pushed.returncode != 0
        assert "remote: protected branch" in pushed.stderr
        assert "pre-receive hook declined" in pushed.stderr
        assert "x" not in server.repositories.branches("acme/lib")


async def test_an_answer_can_be_cut_off(tmp_path: Path) -> None:
    async with host(tmp_path) as server:
        server.faults = [GitFault(service="git-upload-pack", method="POST", cut_after=50)]
        assert (await git("clone", url(server), str(tmp_path / "clone"))).returncode != 0
        server.faults = []
        assert (await git("clone", url(server), str(tmp_path / "clone"))).returncode == 0


async def test_faults_are_armed_over_http_by_those_who_hold_the_token(tmp_path: Path) -> None:
    async with host(tmp_path) as server, aiohttp.ClientSession(server.url) as client:
        control = {"Authorization": f"Bearer {server.control_token}"}
        fault = {"status": 503, "body": "down", "headers": {"Retry-After": "7"}}
        async with client.put("/_faults", json=[fault]) as response:
            assert response.status == 401
        async with client.put("/_faults", json=[fault], headers=control) as response:
            assert response.status == 204
        async with client.get("/acme/lib.git/info/refs?service=git-upload-pack", headers=BASIC) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "7")
        async with client.put("/_echo", json=True, headers=control) as response:
            assert response.status == 204
        async with client.get("/acme/lib.git/info/refs?service=git-upload-pack", headers=BASIC) as response:
            assert "writer:w-token" in await response.text()
        async with client.put("/_echo", json={"into": ["nowhere"]}, headers=control) as response:
            assert response.status == 400
        async with client.put("/_faults", json=[{"statuz": 1}], headers=control) as response:
            assert response.status == 400
            assert "statuz" in await response.text()
        async with client.get("/_requests", headers=control) as response:
            record, _ = (await response.json())["requests"]
        assert (record["status"], record["repository"], record["user"]) == (503, "acme/lib", "writer")


async def test_a_client_that_leaves_ends_git(tmp_path: Path) -> None:
    # A control plane that other tests share may be a child of this process, too.
    others = _children()
    async with (
        host(tmp_path) as server,
        aiohttp.ClientSession(headers=BASIC) as client,
    ):
        reached = asyncio.Event()

        async def half_a_push() -> AsyncIterator[bytes]:
            yield b"00"
            reached.set()
            await asyncio.Event().wait()

        sending = asyncio.create_task(
            _post(client, f"{server.url}/acme/lib.git/git-receive-pack", half_a_push())
        )
        await asyncio.wait_for(reached.wait(), DEADLINE_SECONDS)
        sending.cancel()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while [record.outcome for record in server.requests.since()] != ["hung_up"]:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.005)
            while _children() - others:  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.005)


def _children() -> set[str]:
    return {
        child
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    }


async def _post(client: aiohttp.ClientSession, target: str, data: AsyncIterator[bytes]) -> None:
    headers = {"Content-Type": "application/x-git-receive-pack-request"}
    async with client.post(target, data=data, headers=headers) as response:
        await response.read()
