"""An endpoint that is asked what the contract says: the sandbox, or one over the network with somebody's key."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.sandbox.wire import Answer, ask, form

# Collections of which a test may make something, to be deleted by its id.
_MADE_IN = ("/files", "/vector_stores", "/skills")

# Looks at what is not there yet, or not finished, and the seconds between two of them.
_LOOKS, _BETWEEN = 120, 1.0


class _Key(str):
    """A key, which no failure's traceback shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[key]"


class Endpoint:
    """Requests to one endpoint. Without ``writes`` a test that needs another method than GET is skipped.

    Whatever is created is noted by the id in the answer, and nothing else is ever deleted.
    """

    def __init__(self, url: str, key: str, *, writes: bool) -> None:
        self.url, self.key = url.rstrip("/"), _Key(key)
        self.writes = writes
        self._made: list[str] = []

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        if method != "GET" and not self.writes:
            pytest.skip("changes something there: only with --live-write")
        if method == "DELETE":
            assert f"{path}/".startswith(tuple(f"{made}/" for made in self._made)), f"{path} was not made here"
        answer = ask(self.url, method, path, body, **{"key": self.key, **options})
        if method == "POST" and path in _MADE_IN and answer.status < 300:
            self._made.append(f"{path}/{answer.json()['id']}")
        if path in self._made and method == "DELETE" and answer.status in (200, 204, 404):
            self._made.remove(path)
        return answer

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body[:1000]
        return answer.json()

    def create(self, path: str, body: object) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status == 200, answer.body[:1000]
        return answer.json()

    def upload(self, filename: str, data: bytes, **fields: str) -> Answer:
        body, headers = form(filename, data, **{"purpose": "assistants", **fields})
        return self.ask("POST", "/files", body, headers=headers)

    def settled(self, path: str) -> Any:
        """What is at ``path``, once it is there and no longer in progress."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_BETWEEN)
            answer = self.ask("GET", path)
            if answer.status == 200 and answer.json().get("status") != "in_progress":
                return answer.json()
        pytest.fail(f"{path}: still not there, or in progress: {answer.body[:1000]!r}")

    def clean(self) -> None:
        """Delete what was made here; says by id what could not be."""
        left = [path for path in reversed(self._made) if self.ask("DELETE", path).status not in (200, 204, 404)]
        assert not left, f"left behind at {self.url}: {', '.join(left)}"
