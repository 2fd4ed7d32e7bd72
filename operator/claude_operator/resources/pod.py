"""The part of a pod that a session or a project may choose. Everything else is the engine's."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from claude_operator.resources.model import ApiModel, Name

Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""A Kubernetes resource quantity, as a string; bytes or cores."""

ResourceName = Annotated[str, Field(max_length=63)]
LabelValue = Annotated[str, Field(max_length=63)]


class Resources(ApiModel):
    """Compute resources of the session container."""

    requests: Annotated[dict[ResourceName, Quantity], Field(max_length=8)] = {}
    limits: Annotated[dict[ResourceName, Quantity], Field(max_length=8)] = {}


class TolerationOperator(StrEnum):
    """As in core/v1."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(ApiModel):
    """`core/v1.Toleration`, field for field."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: LabelValue | None = None
    effect: (
        Annotated[str, Field(max_length=20, pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None
    ) = None
    toleration_seconds: int | None = None


class PodSpec(ApiModel):
    """Choices for the session's pod, each within the project's lists."""

    image: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    resources: Resources | None = None
    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], LabelValue], Field(max_length=20)
    ] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=20)] = []
    runtime_class_name: Name | None = None
    priority_class_name: Name | None = None
