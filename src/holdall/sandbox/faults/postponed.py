"""Requests that are carried out long after their connection was cut, by the sandbox's clock.

Nothing runs in the background: what is due is carried out when the next request comes, before that is answered, so
nobody can tell the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope


class Postponed:
    """Requests that are carried out later, in the order in which they fall due."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock
        self._waiting: list[tuple[float, Scope, list[Message]]] = []
        self._running = asyncio.Lock()

    async def add(self, scope: Scope, receive: Receive, *, seconds: float) -> None:
        """Take a request in whole, to be carried out in so many seconds."""
        messages: list[Message] = []
        while True:
            messages.append(await receive())
            if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
                break
        self._waiting.append((self._clock() + seconds, scope, messages))
        self._waiting.sort(key=lambda each: each[0])

    async def run_due(self) -> None:
        """Carry out what is due; every request that comes meanwhile waits for it too."""
        if not self._waiting and not self._running.locked():
            return
        async with self._running:
            while self._waiting and self._waiting[0][0] <= self._clock():
                _, scope, messages = self._waiting.pop(0)
                await self._run(scope, messages)

    async def _run(self, scope: Scope, messages: list[Message]) -> None:
        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["state"]["note"](message["status"], executed=True)

        await self._app(scope, receive, send)
