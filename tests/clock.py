"""Time that passes only while the program waits: hours cost nothing, and a slow machine changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from holdall.remote.limits import Limits

__all__ = ["Clock"]


class Clock:
    """A clock in seconds from 0, and a sleep that moves it. Sleeps that overlap pass at the same time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, end)

    def rule(self, patch: pytest.MonkeyPatch) -> None:
        """Let every account that is opened without a pace of its own, and all that waits with it, go by this clock."""
        defaults = Limits.__init__.__kwdefaults__
        patch.setitem(defaults, "clock", self)
        patch.setitem(defaults, "sleep", self.sleep)
