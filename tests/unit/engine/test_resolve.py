"""What a session may choose, and what it gets that does not choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from claude_operator.engine.resolve import problems, quantity, resolve
from claude_operator.resources.choices import repository_of
from tests.unit.engine.objects import CONFIG, project, session

if TYPE_CHECKING:
    from claude_operator.resources.project import ProjectSpec


def spec_of(**spec: Any) -> ProjectSpec:
    found = project(**spec).spec
    assert found is not None
    return found


def problems_of(project_spec: ProjectSpec, **spec: Any) -> list[str]:
    intent = session(**spec).intent
    assert intent is not None
    return problems(intent, project_spec)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"repository": "gitlab.example/a/b"}, "spec.repository: host 'gitlab.example'"),
        ({"repository": "other/thing"}, "spec.repository: 'other/thing' matches none"),
        ({"model": "gpt"}, "spec.model: 'gpt' is not allowed by the project (allowed: claude-sonnet-5-5)"),
        ({"publish": {"branch": "release"}}, "spec.publish.branch: 'release' matches none"),
        ({"pod": {"image": "evil:1"}}, "spec.pod.image: 'evil:1'"),
        ({"pod": {"runtimeClassName": "runc"}}, "spec.pod.runtimeClassName: 'runc'"),
        ({"pod": {"priorityClassName": "top"}}, "spec.pod.priorityClassName: 'top'"),
        ({"pod": {"nodeSelector": {"gpu": "yes"}}}, "spec.pod.nodeSelector: key 'gpu'"),
        ({"pod": {"tolerations": [{"key": "gpu"}]}}, "spec.pod.tolerations: key 'gpu'"),
        (
            {"pod": {"resources": {"limits": {"memory": "9Gi"}}}},
            "limits.memory: 9Gi is over the project's 4Gi",
        ),
    ],
)
def test_a_choice_outside_the_projects_lists_is_named(spec: dict[str, Any], says: str) -> None:
    rules = spec_of(
        repositoryHosts=[{"host": "github.com", "repositories": ["demo/*"]}], pod={"maxMemory": "4Gi"}
    )
    assert [says in problem for problem in problems_of(rules, **spec)] == [True]


def test_choices_inside_the_lists_are_taken() -> None:
    rules = spec_of(
        model={"allowed": ["claude-opus-5-5"]},
        branchPatterns=["work/*"],
        pod={"images": ["registry.example/*"], "maxMemory": "4Gi", "nodeSelectorKeys": ["pool"]},
    )
    chosen = {
        "model": "claude-opus-5-5",
        "publish": {"branch": "work/one"},
        "pod": {
            "image": "registry.example/session:1",
            "nodeSelector": {"pool": "agents"},
            "resources": {"limits": {"memory": "4096Mi"}},
        },
    }
    assert problems_of(rules, **chosen) == []


def test_the_projects_runtime_class_is_a_floor() -> None:
    rules = spec_of(
        defaults={"pod": {"runtimeClassName": "gvisor"}}, pod={"runtimeClassNames": ["runc", "gvisor"]}
    )
    intent = session().intent
    assert intent is not None
    assert resolve(intent, rules, CONFIG).runtime_class_name == "gvisor"
    assert problems_of(rules, pod={"runtimeClassName": "runc"}) == [
        "spec.pod.runtimeClassName: the project requires 'gvisor'"
    ]


def test_limits_are_merged_field_by_field() -> None:
    rules = spec_of(defaults={"limits": {"maxTurns": 50, "maxCostUSD": 5}})
    intent = session(limits={"maxCostUSD": 1.5}).intent
    assert intent is not None
    limits = resolve(intent, rules, CONFIG).limits
    assert limits is not None
    assert (limits.max_turns, limits.max_cost_usd, limits.max_tokens) == (50, 1.5, None)


def test_a_repository_without_a_host_is_on_the_first_one() -> None:
    rules = spec_of(repositoryHosts=[{"host": "git.example:8443"}, {"host": "github.com"}])

    def places(repository: str) -> tuple[str, str]:
        found = repository_of(repository, rules)
        return found.host, found.path

    assert places("a/b") == ("git.example:8443", "a/b")
    assert places("github.com/a/b") == ("github.com", "a/b")


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("250m", 0.25), ("1.5Gi", 1.5 * 2**30), ("2k", 2000), ("1Ti", 2**40)]
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.example.com/a?b", True),
        ("https://HOOKS.example.com:443/a", True),
        ("http://hooks.example.com", True),
        ("https://hooks.example.com:8443/", False),
        ("http://ci.example.com:9000/x", True),
        ("http://ci.example.com/x", False),
        ("https://hooks.example.com.evil.example/", False),
        ("https://evil.example/hooks.example.com", False),
        ("https://hooks.example.com@evil.example/", False),
    ],
)
def test_a_callback_goes_to_the_projects_hosts(url: str, *, allowed: bool) -> None:
    rules = spec_of(notifyHosts=["hooks.example.com", "ci.example.com:9000"])
    chosen = session(notify={"url": url}).intent
    assert chosen is not None
    found = problems(chosen, rules, notify_url=url)
    assert bool(found) is not allowed
    assert all(one.startswith("spec.notify.url: ") and "notifyHosts" in one for one in found)
    assert problems(chosen, spec_of(), notify_url=url) == []
