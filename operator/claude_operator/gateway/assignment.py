"""The answer to a claim: everything that the runner needs, and nothing that it must not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claude_operator.gateway import records
from claude_operator.gateway.checkpoint import latest
from claude_operator.gateway.model.usage import NANO_PER_USD
from claude_operator.gateway.scope import caps_of, model_of, repository_of, web_url
from claude_operator.gateway.settings import DEFAULT_TOOLS
from claude_operator.resources.lifecycle import Phase
from claude_operator.wire.session import Assignment, DependencyResult, Resume

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from claude_operator.gateway.cluster import Cluster
    from claude_operator.gateway.live import Grant
    from claude_operator.gateway.model.usage import Spent
    from claude_operator.gateway.settings import Settings
    from claude_operator.gateway.store.database import Store
    from claude_operator.resources.project import ProjectSpec
    from claude_operator.wire.internal import Outcome


@dataclass(frozen=True, slots=True)
class Assigner:
    """Puts assignments together."""

    cluster: Cluster
    store: Store
    settings: Settings

    async def assignment(self, grant: Grant, rules: ProjectSpec, spent: Spent) -> Assignment:
        """What the holder of a claim is to do.

        Raises:
            ClusterUnavailableError: a dependency can't be looked up now.
        """
        spec = grant.spec
        repository, caps = repository_of(spec, rules), caps_of(spec, rules)
        defaults = rules.defaults
        return Assignment(
            namespace=grant.namespace,
            name=grant.name,
            session_uid=grant.session_uid,
            attempt=grant.attempt,
            type=spec.type,
            requirements=spec.requirements,
            context=spec.context,
            system_prompt=spec.system_prompt,
            repository_host=grant.host,
            repository_path=grant.repository,
            repository_url=web_url(repository),
            base_branch=spec.branch,
            publish_branch=grant.publish_branch,
            read_only=spec.read_only,
            pull_request=spec.publish.pull_request if spec.publish else None,
            model=model_of(spec, rules),
            tools=spec.tools or (defaults.tools if defaults else []) or list(DEFAULT_TOOLS),
            mcp_servers=spec.mcp_servers,
            max_turns=None if caps.turns is None else max(1, caps.turns - spent.turns),
            max_cost_usd=(
                None if caps.cost_nanousd is None else (caps.cost_nanousd - spent.cost_nanousd) / NANO_PER_USD
            ),
            timeout_seconds=spec.timeout_seconds,
            claude_session_id=grant.claude_session_id,
            resume=await self._resume(grant),
            dependencies=[
                result
                for dependency in spec.dependencies
                if (result := await self._dependency(grant.namespace, dependency.name)) is not None
            ],
            output_schema=spec.output_schema,
            artifacts=spec.artifacts,
            egress_hosts=rules.egress.hosts if rules.egress else [],
            author_name=self.settings.author_name,
            author_email=self.settings.author_email,
        )

    async def _resume(self, grant: Grant) -> Resume | None:
        if grant.resume_uid is None:
            return None
        uid = grant.resume_uid
        checkpoint = await self.store.read(lambda connection: latest(connection, uid))
        if checkpoint is None:
            return None
        return Resume(
            transcript=checkpoint.transcript,
            bundle=checkpoint.bundle,
            commit=checkpoint.commit,
            head=checkpoint.head,
        )

    async def _dependency(self, namespace: str, name: str) -> DependencyResult | None:
        # A live custom resource of that name wins over a deleted one that the archive remembers.
        session = await self.cluster.session(namespace, name)

        def look(connection: Connection) -> tuple[Outcome | None, str]:
            outcome = (
                records.latest_outcome(connection, namespace, name)
                if session is None
                else records.outcome_of(connection, session.uid)
            )
            return outcome, records.last_words(connection, outcome.uid) if outcome else ""

        outcome, words = await self.store.read(look)
        if outcome is None or not isinstance(outcome.phase, Phase):
            return None
        return DependencyResult(
            name=name,
            type=outcome.type,
            phase=outcome.phase,
            summary=words or outcome.summary,
            branch=outcome.branch,
            commit=outcome.commit,
            artifacts=outcome.artifacts,
        )
