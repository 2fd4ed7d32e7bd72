"""docs/security.md names the test of each defence: it exists, and no attack is left unnamed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_it_names_exists() -> None:
    assert len(NAMED) > 40
    assert [f"{path}::{name}" for path, name in NAMED if name not in functions(path)] == []


def test_every_threat_has_a_test() -> None:
    threats = DOCUMENT.partition("## Threats")[2].partition("## What remains")[0]
    rows = [row for row in threats.splitlines() if row.startswith("| ") and not row.startswith("| threat")]

    assert len(rows) > 25
    assert [row for row in rows if "::test_" not in row] == []


def test_every_file_of_attacks_is_in_it() -> None:
    files = {f"tests/attack/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}

    assert files - {path for path, _ in NAMED} == {"tests/attack/test_document.py"}
