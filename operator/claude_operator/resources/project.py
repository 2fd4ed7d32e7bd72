"""ClaudeProject: the administrator's side of the sessions in one namespace.

It names hosts, credentials (Secrets, never their contents), models, limits and what a session may
choose. The gateway checks it and writes its `Ready`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import override

from claude_operator.resources.condition import Condition, initial_conditions
from claude_operator.resources.model import ApiModel, Host, ModelName, Name, cel, remedy
from claude_operator.resources.pod import PodSpec, Quantity
from claude_operator.resources.session import Limits, Retry

HttpUrl = Annotated[
    str,
    Field(
        max_length=500,
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        json_schema_extra=remedy("write https://host/path, without user, query and fragment"),
    ),
]
"""An origin with an optional path; no user info, query or fragment."""


class RepositoryHost(ApiModel):
    """A git host whose repositories the sessions may use."""

    host: Host
    """As in a session's `repository`; the first of the list is the default."""
    url: HttpUrl | None = None
    """Base of the clone URLs; default `https://<host>`."""
    api_url: HttpUrl | None = Field(default=None, alias="apiURL")
    """Base of the host's REST API, for pull requests; default for github.com: its own."""
    credentials_secret: Name | None = None
    """Secret of the type claude-operator.dev/credential; none: anonymous, read only."""
    repositories: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)
    ] = []
    """Globs of `owner/repo` that may be used; empty: all."""


class Price(ApiModel):
    """US dollars per million tokens, for a model that the gateway's table does not know."""

    model: ModelName
    input: Annotated[float, Field(ge=0, le=10_000)]
    output: Annotated[float, Field(ge=0, le=10_000)]
    cache_read: Annotated[float, Field(ge=0, le=10_000)]
    cache_write: Annotated[float, Field(ge=0, le=10_000)]


class ModelAccess(ApiModel):
    """The model's API."""

    upstream_url: HttpUrl = "https://api.anthropic.com"
    credentials_secret: Name = "anthropic"  # noqa: S105 - the Secret's name
    """Secret of the type claude-operator.dev/credential."""
    default: ModelName = "claude-sonnet-5-5"
    allowed: Annotated[list[ModelName], Field(max_length=50)] = []
    """Models that a session may name, and the CLI may call; empty: the default alone."""
    server_tools: bool = False
    """Allow tools that run at the provider (web search, fetch, code execution) and MCP connectors:
    they can carry data out from there."""
    prices: Annotated[list[Price], Field(max_length=50)] = []

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """A default that nobody may use would fail every session."""
        return [
            cel(
                "!has(self.allowed) || size(self.allowed) == 0 || self.default in self.allowed",
                "default is not in allowed: add it there, or name another default",
                field_path=".default",
            )
        ]


class Defaults(ApiModel):
    """What a session gets that does not choose; the fields are a session's (`kubectl explain csess.spec`)."""

    limits: Limits | None = None
    retry: Retry | None = None
    tools: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=64)] = []
    pod: PodSpec | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None


class Budgets(ApiModel):
    """Caps over all sessions of the project; a session that would exceed one is paused."""

    daily_usd: Annotated[float, Field(ge=0, le=10_000_000)] | None = Field(default=None, alias="dailyUSD")
    """US dollars per UTC day."""
    monthly_usd: Annotated[float, Field(ge=0, le=10_000_000)] | None = Field(default=None, alias="monthlyUSD")
    """US dollars per UTC month."""


class PodChoices(ApiModel):
    """What a session's `pod` may name; an empty list allows nothing but the default."""

    images: Annotated[list[Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=50)] = []
    """Images, or globs of them."""
    runtime_class_names: Annotated[list[Name], Field(max_length=20)] = []
    priority_class_names: Annotated[list[Name], Field(max_length=20)] = []
    node_selector_keys: Annotated[list[Annotated[str, Field(max_length=317)]], Field(max_length=20)] = []
    toleration_keys: Annotated[list[Annotated[str, Field(max_length=317)]], Field(max_length=20)] = []
    max_cpu: Quantity | None = None
    max_memory: Quantity | None = None


class Egress(ApiModel):
    """Hosts that session pods may reach, by CONNECT through the gateway, port 443."""

    hosts: Annotated[list[Host], Field(max_length=200)] = []


class GitHubTask(StrEnum):
    """What GitHub can start."""

    TRIAGE = "Triage"
    """An issue is opened: a session chooses labels for it."""
    COMMAND = "Command"
    """`@bot do this` in a comment: a session does it and answers there."""
    REVIEW = "Review"
    """`@bot review` in a comment on a pull request: a session reviews it."""
    CHECKED_REVIEW = "CheckedReview"
    """Every check of a pull request's head commit is green: a session reviews it, once per commit."""


class GitHubTriggers(ApiModel):
    """Who may start sessions from GitHub, and which."""

    users: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=500)] = []
    """Logins; nobody else starts anything."""
    bots: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)] = []
    """Logins of bots that may, like users."""
    repositories: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)
    ] = []
    """Globs of `owner/repo`; empty: all that the project's hosts allow."""
    tasks: Annotated[list[GitHubTask], Field(max_length=4)] = []
    """Those that are on; empty: all."""
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=100)] = []
    """Labels that a triage may set; empty: all that the repository has."""
    limits: Limits | None = None
    """Of each session; default: the project's."""
    mention: (
        Annotated[
            str,
            Field(
                max_length=50,
                pattern=r"^@[A-Za-z0-9-]+$",
                json_schema_extra=remedy("write @ and a GitHub login"),
            ),
        ]
        | None
    ) = None
    """The bot's name as it is called in comments."""
    webhook_secret: Name | None = None
    """Secret of the type claude-operator.dev/credential with the key webhookSecret."""


class Triggers(ApiModel):
    """Ways other than the API by which sessions start."""

    github: GitHubTriggers | None = None


class ProjectSpec(ApiModel):
    """The rules for the sessions that name this project."""

    repository_hosts: Annotated[
        list[RepositoryHost],
        Field(
            min_length=1,
            max_length=20,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host"]},
        ),
    ]
    model: ModelAccess = ModelAccess()
    defaults: Defaults | None = None
    max_concurrent_sessions: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Sessions of the project that run at once; absent: no limit of its own."""
    paused: bool = False
    """True: nothing new starts; what runs goes on."""
    budgets: Budgets | None = None
    egress: Egress | None = None
    branch_patterns: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=20)
    ] = []
    """Globs that a `publish.branch` must match; empty: only the default branch name `claude/...`."""
    pod: PodChoices | None = None
    notify_hosts: Annotated[list[Host], Field(max_length=50)] = []
    """Hosts that `notify.url` may name; empty: every public one."""
    notify_secret: Name | None = None
    """Signs the callbacks of sessions that name no Secret, to the hosts that it lists."""
    triggers: Triggers | None = None


class ProjectStatus(ApiModel):
    """Written by the gateway, which alone can see whether the credentials are usable."""

    observed_generation: int = -1
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []


def initial_project_status() -> dict[str, Any]:
    """The status that the CRD defaults to: not ready until the gateway says so."""
    conditions = initial_conditions("not yet checked by the gateway")
    return {"observedGeneration": -1, "conditions": [condition.to_api() for condition in conditions]}
