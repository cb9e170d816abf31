"""The sandbox as a project of Azure AI Foundry: another address, another key, other words; the rest is the same.

Every request names its project in the path and carries an Entra token. A project has two doors: that of agents
(classic) with their files and stores, where every request names an API version in the query, and today's, where
Foundry's own paths name one and those below ``/openai/v1`` don't. Behind these doors a request is like any other, made
with a key that stands for the project; what is made through one door is not seen through the other, unless it is lent.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from holdall.sandbox.entra import AUDIENCE, claims
from holdall.sandbox.service.foundry_answers import FoundryAnswer, error_body, respond
from holdall.sandbox.service.identity import Project
from holdall.sandbox.service.service import ApiSurface, Logged, Service

_PATH = re.compile(r"/api/projects/(?P<project>[^/]+)(?P<openai>/openai/v1)?(?P<rest>/(?P<family>[^/:]+).*)")
_VERSION = re.compile(r"v1|\d{4}-\d{2}-\d{2}(-preview)?")

# First parts of the paths, by door.
_CLASSIC = frozenset(["assistants", "files", "vector_stores"])
_OWN = frozenset(["agents", "connections", "deployments"])
_OPENAI = frozenset(["containers", "files", "models", "responses", "vector_stores"])

# What stands for the default project, and its name.
_DEFAULT = ("_project", "sandbox")


class _Wrong(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as far as its path says: ``rest`` is the path in the project."""

    project: str
    surface: ApiSurface
    rest: str
    is_own: bool
    """Whether it is one of Foundry's own paths."""


class Foundry:
    """ASGI: where the sandbox stands as Foundry, the only way in; where it doesn't, not in the way."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._service.behaviour.foundry or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        try:
            asked = self._checked(scope)
        except _Wrong as wrong:
            self._log(scope, wrong.status)
            await respond(send, wrong.status, error_body(wrong.code, wrong.message))
            return
        hidden = (b"authorization", b"openai-organization", b"openai-project", b"openai-beta")
        headers = [(name, value) for name, value in scope["headers"] if name not in hidden]
        key = _key(asked.project, asked.surface)
        headers += [(b"authorization", f"Bearer {key}".encode()), (b"openai-beta", b"assistants=v2")]
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        state = {
            **scope["state"],
            "surface": asked.surface,
            "address": f"{scope['scheme']}://{host}/api/projects/{asked.project}",
            "lender": await self._lender(asked),
        }
        answer = FoundryAnswer(send, asked.surface, is_own=asked.is_own)
        inner = {**scope, "path": f"/v1{asked.rest}", "headers": headers, "state": state}
        await self._app(inner, receive, answer.send)

    async def _lender(self, asked: _Asked) -> str | None:
        """The project behind the other door, where its files and stores answer too."""
        if asked.surface is not ApiSurface.CURRENT or not self._service.behaviour.lends_classic:
            return None
        key, identity = _key(asked.project, ApiSurface.CLASSIC), self._service.identity
        await self._service.writing(identity.admit, key)
        found = identity.of({"authorization": f"Bearer {key}"})
        return found.id if isinstance(found, Project) else None

    def _log(self, scope: Scope, status: int) -> None:
        """What is answered here is seen by no other log."""
        query = scope["query_string"].decode("latin-1")
        self._service.log.append(
            Logged(
                method=scope["method"],
                path=scope["path"],
                query=query,
                status=status,
                project=None,
                executed=False,
            )
        )

    def _checked(self, scope: Scope) -> _Asked:
        """Where a request leads; raises what is wrong with it."""
        headers = dict(scope["headers"])
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        told = claims(token.strip()) if scheme.lower() == "bearer" else None
        if told is None:
            raise _Wrong(401, "401", "Access token is missing or invalid.")
        if told.aud != AUDIENCE:
            raise _Wrong(401, "401", f"Access token is not for this service: its audience must be {AUDIENCE}.")
        if told.exp <= self._service.clock():
            raise _Wrong(401, "401", "Access token has expired.")
        asked = self._place(scope["path"])
        if asked is None:
            raise _Wrong(404, "404", "Resource not found")
        version = parse_qs(scope["query_string"].decode("latin-1")).get("api-version")
        if asked.surface is ApiSurface.CURRENT and not asked.is_own:
            if version and not self._service.behaviour.bears_api_version:
                raise _Wrong(400, "BadRequest", "api-version query parameter is not allowed when using /v1 path")
            return asked
        if not version:
            raise _Wrong(400, "BadRequest", "Missing required query parameter: api-version")
        if not _VERSION.fullmatch(version[0]):
            raise _Wrong(400, "BadRequest", "API version not supported")
        return asked

    def _place(self, path: str) -> _Asked | None:
        behaviour = self._service.behaviour
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        project = _DEFAULT[1] if found["project"] == _DEFAULT[0] else found["project"]
        family = found["family"]
        if found["openai"]:
            is_there, surface, is_own = behaviour.agents_api and family in _OPENAI, ApiSurface.CURRENT, False
        elif family in _OWN:
            # Agents (classic) have the deployments too.
            is_there, surface, is_own = behaviour.agents_api or family == "deployments", ApiSurface.CURRENT, True
        else:
            is_there, surface, is_own = behaviour.assistants_api and family in _CLASSIC, ApiSurface.CLASSIC, False
        return _Asked(project=project, surface=surface, rest=found["rest"], is_own=is_own) if is_there else None


def _key(project: str, surface: ApiSurface) -> str:
    """The key behind a door of a project."""
    name = project if surface is ApiSurface.CLASSIC else f"{project}\0{surface}"
    return f"sk-foundry-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
