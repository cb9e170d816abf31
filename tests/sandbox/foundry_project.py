"""A Foundry project of a sandbox, as its two doors are asked over plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from holdall.sandbox.entra import token
from holdall.sandbox.server import Running
from tests.sandbox.wire import Answer, ask, form

NOW = 1_700_000_000.0
TOKEN = token(NOW + 3600)
PREVIEWS = (
    "WorkflowAgents=V1Preview,ExternalAgents=V1Preview,VoiceAgents=V1Preview,DraftAgents=V1Preview,Skills=V1Preview"
)


class FoundryProject(msgspec.Struct, frozen=True, kw_only=True):
    """One project of a running sandbox."""

    box: Running
    name: str

    def own(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        version: str = "api-version=v1",
    ) -> Answer:
        """A request to one of Foundry's own paths, or to agents (classic)."""
        return self.ask(method, f"{path}?{version}&{query}", body, headers)

    def openai(self, method: str, path: str, body: object = None, *, query: str = "") -> Answer:
        """A request below ``/openai/v1``."""
        return self.ask(method, f"/openai/v1{path}?{query}", body)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, key: str = TOKEN
    ) -> Answer:
        base = self.box.url.partition("/api/projects/")[0]
        given = {"OpenAI-Beta": "", **(headers or {})}
        return ask(f"{base}/api/projects/{self.name}", method, path, body, key=key, headers=given)

    def upload(self, filename: str, data: bytes, *, purpose: str = "assistants", classic: bool = False) -> str:
        """The id of a new file."""
        body, headers = form(filename, data, purpose=purpose)
        where = "/files?api-version=v1" if classic else "/openai/v1/files"
        made: str = self.ask("POST", where, body, headers).json()["id"]
        return made

    def version(self, name: str, *, headers: Mapping[str, str] | None = None, **said: Any) -> Answer:
        """A new version of an agent; what is said of its definition in ``definition`` stands beside kind and model."""
        definition = {"kind": "prompt", "model": "gpt-4o", **said.pop("definition", {})}
        return self.own("POST", f"/agents/{name}/versions", {"definition": definition, **said}, headers=headers)

    def served(self, name: str, **reference: Any) -> Any:
        """The version that answers, by what the answer says of it."""
        # An agent that answers JSON wants to be told.
        asked = {"input": "hello, in JSON", "agent_reference": {"type": "agent_reference", "name": name, **reference}}
        answer = self.openai("POST", "/responses", asked)
        assert answer.status == 200, answer.body
        return answer.json()["agent_reference"]["version"]

    @contextmanager
    def behaving(self, **changes: Any) -> Iterator[None]:
        """Other switches for a while."""
        before = {name: getattr(self.box.behaviour, name) for name in changes}
        self.box.behave(**changes)
        try:
            yield
        finally:
            self.box.behave(**before)


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code of an error that has all that Foundry says."""
    error = answer.json()["error"]
    assert {"code", "message", "param", "type", "additionalInfo"} <= set(error), error
    return answer.status, error["code"]
