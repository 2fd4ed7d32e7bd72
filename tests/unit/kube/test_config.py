"""Kubeconfigs that can be used, and clear words for those that can't."""

import base64
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from claude_operator.kube.config import ConfigError, TokenFile, from_kubeconfig, in_cluster, load


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("pki")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=test"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "cert.pem").read_text(), (folder / "key.pem").read_text()


def kubeconfig(folder: Path, *, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "work"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_certificates_in_the_file_and_beside_it(tmp_path: Path, pair: tuple[str, str]) -> None:
    certificate, key = pair
    (tmp_path / "ca.crt").write_text(certificate)
    path = kubeconfig(
        tmp_path,
        cluster={"certificate-authority": "ca.crt"},
        user={"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)},
    )
    config = from_kubeconfig(path)
    assert (config.server, config.namespace) == ("https://api:6443", "work")
    assert config.bearer() is None
    assert config.tls is not None
    assert len(config.tls.get_ca_certs()) == 1


def test_tokens(tmp_path: Path) -> None:
    assert from_kubeconfig(kubeconfig(tmp_path, cluster={}, user={"token": "t0"})).bearer() == "t0"
    (tmp_path / "token").write_text("t1\n")
    config = from_kubeconfig(kubeconfig(tmp_path, cluster={}, user={"tokenFile": "token"}))
    assert config.bearer() == "t1"


@pytest.mark.parametrize(
    ("cluster", "user", "words"),
    [
        ({}, {"exec": {"command": "aws"}}, "users[].user.exec is not supported: use a client certificate"),
        ({}, {"auth-provider": {}}, "auth-provider is not supported"),
        ({"proxy-url": "http://p"}, {}, "proxy-url is not supported: remove it"),
        ({"server": "api:6443"}, {}, "server must be a URL, not 'api:6443'"),
        ({}, {"client-certificate-data": encoded("x")}, "both client-certificate and client-key"),
        ({"certificate-authority": "missing.crt"}, {}, "certificate-authority"),
        ({"certificate-authority-data": encoded("no PEM")}, {}, "not PEM"),
    ],
)
def test_what_is_refused(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_kubeconfig(kubeconfig(tmp_path, cluster=cluster, user=user))
    assert words in str(caught.value)


def test_no_context(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="kubectl config use-context"):
        from_kubeconfig(path)


def test_a_pod_finds_its_service_account(
    tmp_path: Path, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, text in (("token", "t\n"), ("namespace", "ops"), ("ca.crt", pair[0])):
        (tmp_path / name).write_text(text)
    config = in_cluster(tmp_path)
    assert (config.server, config.namespace, config.bearer()) == ("https://[fd00::1]:443", "ops", "t")
    (tmp_path / "namespace").unlink()
    with pytest.raises(ConfigError, match="incomplete"):
        in_cluster(tmp_path)


def test_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        load()


def test_a_rotated_token_is_read_again_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = TokenFile(path)
    assert token.token() == "old"
    path.write_text("new")
    assert token.token() == "old", "from memory, for a minute"
    assert token.token(fresh=True) == "new"
    path.write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        token.token(fresh=True)
