"""Kubernetes' two notations of time, always UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def micro_time(moment: datetime) -> str:
    """`metav1.MicroTime`: leases and events; exactly six decimals."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time(moment: datetime) -> str:
    """`metav1.Time`: whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
