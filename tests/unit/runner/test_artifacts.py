"""Globs name what one would expect, and links are never followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claude_operator.runner import artifacts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("glob", "matches", "others"),
    [
        ("out/*.txt", ["out/a.txt", "out/.txt"], ["out/b/a.txt", "a.txt", "out/a.txt2"]),
        ("**/*.txt", ["a.txt", "x/y/a.txt"], ["a.md"]),
        ("out/**", ["out/a", "out/b/c"], ["outer"]),
        ("dist", ["dist", "dist/x/y"], ["distant", "a/dist"]),
        ("dist/", ["dist/x"], []),
        ("./a?c", ["abc"], ["a/c", "ac"]),
        ("[!a]b[0-9]", ["xb7"], ["ab7", "/b7", "xbx"]),
        ("a[b", ["a[b"], ["ab"]),
        ("r(e+p)o.rt", ["r(e+p)o.rt"], ["reepoxrt"]),
    ],
)
def test_a_glob(glob: str, matches: list[str], others: list[str]) -> None:
    expression = artifacts.pattern(glob)
    assert [path for path in [*matches, *others] if expression.fullmatch(path)] == matches


def test_only_plain_files_inside_are_found(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / ".git").mkdir()
    for name in ("a.txt", "d/b.txt", ".git/config.txt"):
        (root / name).write_text("x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.txt").write_text("secret")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "link.txt").symlink_to(tmp_path / "outside" / "c.txt")
    assert list(artifacts.find(root, ["**/*.txt", "link"])) == ["a.txt", "d/b.txt"]
