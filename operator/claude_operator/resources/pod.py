"""The part of a pod that a session or a project may choose. Everything else is the engine's."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from typing_extensions import override

from claude_operator.resources.model import ApiModel, Name, cel, remedy

Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|[kMGT]|[KMGT]i)?$",
        # People write `cpu: 2`, and every pod takes it.
        coerce_numbers_to_str=True,
        json_schema_extra={"x-kubernetes-int-or-string": True}
        | remedy("write a quantity, as 500m, 2 or 1.5Gi"),
    ),
]
"""A Kubernetes resource quantity; bytes or cores."""

LabelValue = Annotated[str, Field(max_length=63)]


class Resources(ApiModel):
    """Compute resources of the session container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """What the scheduler sets aside: cpu, memory, ephemeral-storage, ..."""
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] = {}
    """What the container may use at the most."""


class TolerationOperator(StrEnum):
    """As in core/v1."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """As in core/v1."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """`core/v1.Toleration`, field for field."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: LabelValue | None = None
    effect: TaintEffect | None = None
    toleration_seconds: int | None = None

    @classmethod
    @override
    def rules(cls) -> list[dict[str, str]]:
        """As core/v1 has it: refused here, where somebody reads it, instead of at the Job's creation."""
        return [
            cel(
                "self.operator == 'Equal' ? has(self.key) : !has(self.value)",
                "Equal needs a key, Exists takes no value",
            ),
            cel(
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds needs the effect NoExecute",
            ),
        ]


class PodSpec(ApiModel):
    """Choices for the session's pod, each within the project's lists."""

    image: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Default: the project's, else the controller's."""
    resources: Resources | None = None
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=20)] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=20)] = []
    runtime_class_name: Name | None = None
    priority_class_name: Name | None = None
