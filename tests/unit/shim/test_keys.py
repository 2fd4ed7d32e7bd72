"""Keys: what is one, what is none, and that they come and go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claude_operator.shim.keys import KeyRefusedError, Keyring
from claude_operator.shim.ratelimit import RateLimiter
from claude_operator.shim.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0123456789abcdef"
OTHER = "fedcba9876543210"
SETTINGS = Settings(gateway_internal_url="https://gateway")


def loaded(settings: Settings) -> Keyring:
    keyring = Keyring(settings)
    keyring.load()
    return keyring


def test_a_bearer_token_and_nothing_else_opens() -> None:
    keyring = loaded(replace(SETTINGS, secret=SECRET))
    scope = keyring.scope(f"Bearer {SECRET}")
    assert scope is not None
    assert (scope.client, scope.namespaces, scope.home_project) == ("default", ("default",), "default")
    for shown in (None, "", SECRET, f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer ", "Bearer \udcff"):
        assert keyring.scope(shown) is None


def test_without_a_key_nobody_comes_in_unless_it_is_insecure() -> None:
    assert loaded(SETTINGS).scope("Bearer ") is None
    assert loaded(replace(SETTINGS, insecure=True)).scope(None) is not None
    # A key that is there is asked for.
    assert loaded(replace(SETTINGS, insecure=True, secret=SECRET)).scope(None) is None


def test_files_are_keys_and_are_read_again(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "..data").mkdir()
    (keys / ".hidden").write_text("x")
    (keys / "a").write_text(f"{SECRET}\n")
    keyring = loaded(replace(SETTINGS, keys_directory=keys))
    (keys / "b").write_text(f"secret: {OTHER}\nnamespaces: [team]\nprojects: [p, q]\n")
    assert keyring.scope(f"Bearer {OTHER}") is None
    keyring.refresh()
    scope = keyring.scope(f"Bearer {OTHER}")
    assert scope is not None
    assert (scope.client, scope.home, scope.projects) == ("b", "team", ("p", "q"))
    (keys / "a").unlink()
    keyring.refresh()
    assert keyring.scope(f"Bearer {SECRET}") is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a", "short", "at least 16"),
        ("a", "two words of text that are long", "not as it should be"),
        ("a", f"secret: {SECRET}\nnamespaces: default\n", "namespaces"),
        ("a", f"secret: {SECRET}\nnamespace: [x]\n", "namespace"),
        ("a", f"secret: {SECRET}\nnamespaces: []\n", "namespaces"),
        ("a", "namespaces: [x]\n", "secret"),
        ("a", f"{{secret: {SECRET}", "neither a secret alone nor a YAML mapping"),
        ("-a", SECRET, "label value"),
    ],
)
def test_a_file_that_is_no_key_is_named_without_its_secret(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(KeyRefusedError, match=words) as caught:
        loaded(replace(SETTINGS, keys_directory=tmp_path))
    assert SECRET not in str(caught.value)


def test_one_secret_is_one_key(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(SECRET)
    (tmp_path / "b").write_text(SECRET)
    with pytest.raises(KeyRefusedError, match=r"key b: .* another key too"):
        loaded(replace(SETTINGS, keys_directory=tmp_path))


def test_a_broken_key_leaves_the_good_ones_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(SECRET)
    keyring = loaded(replace(SETTINGS, keys_directory=tmp_path))
    (tmp_path / "b").write_text("short")
    keyring.refresh()
    assert keyring.scope(f"Bearer {SECRET}") is not None


def test_a_window_lets_so_many_in_and_then_begins_anew() -> None:
    limiter = RateLimiter(limit=2, window=10)
    seen = [limiter.take("a", now) for now in (0.0, 1.0, 2.5)]
    assert [one.exceeded for one in seen if one is not None] == [False, False, True]
    assert seen[2] is not None
    assert seen[2].headers() == {
        "RateLimit-Policy": "2;w=10",
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "8",
        "Retry-After": "8",
    }
    other, later = limiter.take("b", 2.5), limiter.take("a", 10.0)
    assert other is not None
    assert later is not None
    assert not other.exceeded
    assert not later.exceeded
    assert RateLimiter(limit=0, window=10).take("a", 0.0) is None
