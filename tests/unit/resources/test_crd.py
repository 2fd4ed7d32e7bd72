"""The files in crds/: they are what the models say, they stay small, and they speak to users only."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from claude_operator.resources.crd import main, render

CRDS = Path(__file__).parents[3] / "crds"


def test_the_crds_in_the_repository_are_what_the_models_say() -> None:
    result = CliRunner().invoke(main, ["--check", str(CRDS)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in CRDS.iterdir()} == set(render())


def test_a_stale_or_missing_file_is_named(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, [str(tmp_path)]).exit_code == 0
    (tmp_path / "claudesessions.yaml").write_text("stale")
    (tmp_path / "claudeprojects.yaml").unlink()
    result = CliRunner().invoke(main, ["--check", str(tmp_path)])
    assert result.exit_code == 1
    assert "claudesessions.yaml, claudeprojects.yaml; run `make generate`" in result.output


def test_they_stay_below_40_kb_together() -> None:
    assert sum(path.stat().st_size for path in CRDS.iterdir()) < 40_000


@pytest.mark.parametrize("name", sorted(render()))
def test_they_speak_to_users_only(name: str) -> None:
    def texts(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["description"]] if isinstance(node.get("description"), str) else []
            return own + [text for child in node.values() for text in texts(child)]
        if isinstance(node, list):
            return [text for child in node for text in texts(child)]
        return []

    found = texts(yaml.safe_load(render()[name]))
    assert len(found) > 20
    internals = re.compile(r"pydantic|python|StrEnum|enumeration|:class:|\bAn? enumeration|\n", re.IGNORECASE)
    assert [text for text in found if internals.search(text)] == []


def test_every_rule_has_a_message_and_every_schema_an_end() -> None:
    def check(node: Any) -> None:
        if isinstance(node, dict):
            for rule in node.get("x-kubernetes-validations", []):
                assert rule["message"]
            assert not {"$ref", "anyOf", "title", "pattern"} & {
                key for key in node if not isinstance(node[key], dict)
            }
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            check(child)

    for text in render().values():
        check(yaml.safe_load(text))
