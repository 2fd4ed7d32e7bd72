"""The world as a process of its own: `python -m tests.world`."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import os
import signal
import ssl
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.world import Script, Step, Usage, inline
from tests.world.repositories import git_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import JsonValue

ROOT = Path(__file__).parents[3]
DEADLINE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Process:
    process: asyncio.subprocess.Process
    pid: int
    state: dict[str, dict[str, str]]

    def secret(self, name: str, key: str) -> str:
        return Path(self.state[name][key]).read_text().strip()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.world", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(*arguments: str) -> tuple[int, str]:
    process = await start(*arguments)
    stdout, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode is not None
    return process.returncode, stdout.decode()


@asynccontextmanager
async def up(directory: Path, *arguments: str) -> AsyncIterator[Process]:
    process = await start("up", "--directory", str(directory), *arguments)
    try:
        file = directory / "world.json"
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not file.exists():
                assert process.returncode is None, (await process.communicate())[0].decode()
                await asyncio.sleep(0.02)
        state = json.loads(file.read_text())
        yield Process(process, state["pid"], state)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)


def request(prompt: str) -> dict[str, JsonValue]:
    return {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}


async def git(*arguments: str, extra: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, env=git_environment() | (extra or {}), stdout=asyncio.subprocess.PIPE
    )
    stdout, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode == 0
    return stdout.decode()


async def test_up_says_where_everything_is_and_stops_cleanly(tmp_path: Path) -> None:
    script = Script(id="p", steps=(Step(usage=Usage(output_tokens=5)),), plays_without_tools=True)
    async with up(tmp_path) as world:
        assert world.pid == world.process.pid
        headers = {"x-api-key": world.secret("model", "keyFile"), "anthropic-version": "2023-06-01"}
        async with (
            aiohttp.ClientSession(world.state["model"]["url"], headers=headers) as client,
            client.post("/v1/messages", json=request(inline(script))) as response,
        ):
            assert response.status == 200
        for name in ("model", "git"):
            async with aiohttp.request("GET", world.state[name]["url"] + "/healthz") as response:
                assert response.status == 200

        account = f"://{world.state['git']['username']}:{world.secret('git', 'tokenFile')}@"
        url = world.state["git"]["url"].replace("://", account) + "/acme/greetings.git"
        assert "refs/heads/main" in await git("ls-remote", url)
        repositories = Path(world.state["git"]["repositories"])
        assert "refs/heads/main" in await git("-C", str(repositories / "acme/greetings.git"), "show-ref")

        status, said = await run("usage", "--directory", str(tmp_path))
        assert (status, json.loads(said)["scripts"]["p"]["output_tokens"]) == (0, 5)
        status, said = await run("requests", "--directory", str(tmp_path), "--server", "git")
        assert (status, json.loads(said)["requests"][-1]["repository"]) == (0, "acme/greetings")

        for secret in (tmp_path / "credentials").iterdir():
            assert secret.stat().st_mode & 0o777 == 0o600
    assert world.process.returncode == 0
    assert not (tmp_path / "world.json").exists()
    status, said = await run("usage", "--directory", str(tmp_path))
    assert (status, "no test world runs" in said) == (1, True)


async def test_a_second_start_keeps_secrets_and_what_was_pushed(tmp_path: Path) -> None:
    async with up(tmp_path) as first:
        repository = Path(first.state["git"]["repositories"]) / "acme/greetings.git"
        await git("-C", str(repository), "branch", "pushed", "main")
        key = first.secret("model", "keyFile")
    async with up(tmp_path) as second:
        assert second.secret("model", "keyFile") == key
        assert "pushed" in await git("-C", str(repository), "branch")


async def test_two_worlds_in_one_folder_are_refused_and_in_two_live_side_by_side(tmp_path: Path) -> None:
    async with up(tmp_path / "a") as first, up(tmp_path / "b") as second:
        assert first.state["model"]["url"] != second.state["model"]["url"]
        status, said = await run("up", "--directory", str(tmp_path / "a"))
        assert (status, "another test world runs in" in said) == (1, True)
        assert (tmp_path / "a" / "world.json").exists()


async def test_an_address_that_is_taken_or_foreign_is_named(tmp_path: Path) -> None:
    async with up(tmp_path / "a") as world:
        port = world.state["git"]["url"].rsplit(":", 1)[1]
        status, said = await run("up", "--directory", str(tmp_path / "b"), "--git-port", port)
        assert (status, "cannot listen on 127.0.0.1" in said) == (1, True)
    status, said = await run("up", "--directory", str(tmp_path / "b"), "--host", "192.0.2.1")
    assert (status, "cannot listen on 192.0.2.1" in said) == (1, True)
    assert not (tmp_path / "b" / "world.json").exists()


async def test_a_stop_does_not_wait_for_a_stream_that_hangs(tmp_path: Path) -> None:
    stall: dict[str, JsonValue] = {"steps": [{"delay": {"stall": 600}}], "plays_without_tools": True}
    async with up(tmp_path) as world:
        headers = {"x-api-key": world.secret("model", "keyFile"), "anthropic-version": "2023-06-01"}
        body = request(f"[[script: {json.dumps(stall)}]]") | {"stream": True}
        async with (
            aiohttp.ClientSession(world.state["model"]["url"], headers=headers) as client,
            client.post("/v1/messages", json=body) as response,
        ):
            assert response.status == 200
            os.kill(world.process.pid, signal.SIGTERM)
            await asyncio.wait_for(world.process.wait(), DEADLINE_SECONDS)
    assert world.process.returncode == 0


async def test_tls_and_further_accounts(tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    accounts = tmp_path / "accounts.yaml"
    accounts.write_text("- {username: reader, token: r, read: ['acme/*'], write: []}\n")
    arguments = ("--tls-cert", str(certificate), "--tls-key", str(key), "--accounts", str(accounts))
    async with up(tmp_path / "w", *arguments) as world:
        context = ssl.create_default_context(cafile=certificate)
        for name in ("model", "git"):
            url = world.state[name]["url"]
            assert url.startswith("https://")
            async with (
                aiohttp.ClientSession() as client,
                client.get(f"{url}/healthz", ssl=context) as response,
            ):
                assert response.status == 200
        url = world.state["git"]["url"].replace("://", "://reader:r@") + "/acme/greetings.git"
        assert "refs/heads/main" in await git("ls-remote", url, extra={"GIT_SSL_CAINFO": str(certificate)})
        status, _ = await run("usage", "--directory", str(tmp_path / "w"))
        assert status == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--tls-cert", __file__), "TLS wants both"),
        (("--tls-cert", __file__, "--tls-key", __file__), "--tls-cert"),
        (("--accounts", __file__), "--accounts"),
        (("--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid"),
    ],
)
async def test_wrong_options_are_named(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    status, said = await run("up", "--directory", str(tmp_path), *arguments)
    assert (status, complaint in said, "Traceback" in said) == (1, True, False)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for the loopback address, made here because none may be committed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test world")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files
