"""Waiting for what happens in another task, with a deadline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return once it holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)
