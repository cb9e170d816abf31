"""The service's routes: which function answers which request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from holdall.sandbox.service import (
    batches,
    container_files,
    foundry_agents,
    foundry_projects,
    search,
    serve_agents,
    serve_assistants,
    serve_containers,
    serve_files,
    serve_models,
    serve_responses,
    serve_skills,
    serve_templates,
    skill_uploads,
    store_files,
    stores,
    transfers,
)
from holdall.sandbox.service.api_errors import ApiError, method_unknown, scope_missing, server_error, url_unknown
from holdall.sandbox.service.service import ApiSurface, Call, Service
from holdall.sandbox.service.switches import Switches

Handler = Callable[[Call], Any]
Endpoint = Callable[[Service, Request], Awaitable[Response]]


def api(service: Service) -> ASGIApp:
    """All endpoints, below ``/v1``; to be put behind the door."""
    openai, foundry = _made(service, ROUTES), _made(service, FOUNDRY_ROUTES)

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        is_own = service.behaviour.foundry and scope["path"].split("/")[2] in _FOUNDRY
        await (foundry if is_own else openai)(scope, receive, send)

    return chosen


def _made(service: Service, table: tuple[tuple[str, str, Endpoint], ...]) -> Starlette:
    answers = {ApiError: refused, HTTPException: unrouted, ClientDisconnect: _abandoned, Exception: _broken}
    routes = [Route(route[1], _guarded(service, *route), methods=[route[0]]) for route in table]
    made = Starlette(routes=routes, exception_handlers=answers)
    # A slash too many is another URL to the service, not a redirection.
    made.router.redirect_slashes = False
    return made


async def _call(service: Service, request: Request, *, body: bool = True) -> Call:
    state = request.scope["state"]
    return Call(
        service=service,
        project=state["project"],
        path=request.path_params,
        query=request.query_params,
        body=await request.body() if body else b"",
        now=service.clock(),
        headers=request.headers,
        surface=state.get("surface", ApiSurface.OPENAI),
        address=state.get("address", ""),
        lender=state.get("lender"),
    )


def _reads(handler: Handler) -> Endpoint:
    async def endpoint(service: Service, request: Request) -> Response:
        return _json(await service.reading(_answer, handler, await _call(service, request)))

    return endpoint


def _writes(handler: Handler) -> Endpoint:
    async def endpoint(service: Service, request: Request) -> Response:
        return _json(await service.writing(_answer, handler, await _call(service, request)))

    return endpoint


def _silent(handler: Handler) -> Endpoint:
    async def endpoint(service: Service, request: Request) -> Response:
        await service.writing(handler, await _call(service, request))
        return Response(status_code=204)

    return endpoint


async def _add_to_container(service: Service, request: Request) -> Response:
    if request.headers.get("content-type", "").startswith("multipart/"):
        return await _streams(transfers.upload_to_container)(service, request)
    return await _writes(container_files.copy)(service, request)


async def _download_from_container(service: Service, request: Request) -> Response:
    return await transfers.download_from_container(request, await _call(service, request))


async def _download(service: Service, request: Request) -> Response:
    return await transfers.download(request, await _call(service, request))


def _streams(endpoint: Callable[[Request, Call], Awaitable[dict[str, Any]]]) -> Endpoint:
    """Of what reads its request itself, in pieces."""

    async def streamed(service: Service, request: Request) -> Response:
        return _json(msgspec.json.encode(await endpoint(request, await _call(service, request, body=False))))

    return streamed


async def _download_skill(service: Service, request: Request) -> Response:
    return await skill_uploads.download(request, await _call(service, request))


async def _respond(service: Service, request: Request) -> Response:
    call = await _call(service, request)
    for store in await service.reading(serve_responses.searches, call):
        await _indexed(service, msgspec.structs.replace(call, path={"store": store}))
    return _json(await service.writing(_answer, serve_responses.create, call))


async def _search(service: Service, request: Request) -> Response:
    if not service.behaviour.searches_stores:
        raise url_unknown(request.method, request.url.path)
    call = await _call(service, request)
    await _indexed(service, call)
    return _json(await service.reading(_answer, search.search, call))


async def _indexed(service: Service, call: Call) -> None:
    while await service.writing(search.index_some, call):
        pass


_STORE = "/v1/vector_stores/{store}"
_BATCH = f"{_STORE}/file_batches/{{batch}}"
_CONTAINER = "/v1/containers/{container}"
_SKILL = "/v1/skills/{skill}"
_SKILL_VERSION = f"{_SKILL}/versions/{{version}}"
_TEMPLATES = "/v1/agents/environments/templates"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", f"{_STORE}/files", _reads(store_files.list_all)),
    ("POST", f"{_STORE}/files", _writes(store_files.create)),
    ("GET", f"{_STORE}/files/{{file}}", _reads(store_files.retrieve)),
    ("POST", f"{_STORE}/files/{{file}}", _writes(store_files.update)),
    ("DELETE", f"{_STORE}/files/{{file}}", _writes(store_files.delete)),
    ("GET", f"{_STORE}/files/{{file}}/content", _reads(store_files.content)),
    ("POST", f"{_STORE}/file_batches", _writes(batches.create)),
    ("GET", _BATCH, _reads(batches.retrieve)),
    ("POST", f"{_BATCH}/cancel", _writes(batches.cancel)),
    ("GET", f"{_BATCH}/files", _reads(batches.list_files)),
    ("GET", "/v1/files", _reads(serve_files.list_all)),
    ("POST", "/v1/files", _streams(transfers.upload)),
    ("GET", "/v1/files/{file}", _reads(serve_files.retrieve)),
    ("DELETE", "/v1/files/{file}", _writes(serve_files.delete)),
    ("GET", "/v1/files/{file}/content", _download),
    ("GET", "/v1/vector_stores", _reads(stores.list_all)),
    ("POST", "/v1/vector_stores", _writes(stores.create)),
    ("GET", _STORE, _reads(stores.retrieve)),
    ("POST", _STORE, _writes(stores.update)),
    ("DELETE", _STORE, _writes(stores.delete)),
    ("POST", f"{_STORE}/search", _search),
    ("GET", "/v1/assistants", _reads(serve_assistants.list_all)),
    ("POST", "/v1/assistants", _writes(serve_assistants.create)),
    ("GET", "/v1/assistants/{assistant}", _reads(serve_assistants.retrieve)),
    ("POST", "/v1/assistants/{assistant}", _writes(serve_assistants.update)),
    ("DELETE", "/v1/assistants/{assistant}", _writes(serve_assistants.delete)),
    ("POST", "/v1/responses", _respond),
    ("GET", "/v1/responses/{response}", _reads(serve_responses.retrieve)),
    ("DELETE", "/v1/responses/{response}", _writes(serve_responses.delete)),
    ("GET", "/v1/agents", _reads(serve_agents.list_all)),
    ("POST", "/v1/agents", _writes(serve_agents.create)),
    ("GET", "/v1/agents/{agent}", _reads(serve_agents.retrieve)),
    ("POST", "/v1/agents/{agent}", _writes(serve_agents.update)),
    ("DELETE", "/v1/agents/{agent}", _writes(serve_agents.delete)),
    ("GET", _TEMPLATES, _reads(serve_templates.list_all)),
    ("POST", _TEMPLATES, _writes(serve_templates.create)),
    ("GET", f"{_TEMPLATES}/{{template}}", _reads(serve_templates.retrieve)),
    ("POST", f"{_TEMPLATES}/{{template}}", _writes(serve_templates.update)),
    ("DELETE", f"{_TEMPLATES}/{{template}}", _writes(serve_templates.delete)),
    ("GET", "/v1/skills", _reads(serve_skills.list_all)),
    ("POST", "/v1/skills", _streams(skill_uploads.create)),
    ("GET", _SKILL, _reads(serve_skills.retrieve)),
    ("POST", _SKILL, _writes(serve_skills.update)),
    ("DELETE", _SKILL, _writes(serve_skills.delete)),
    ("GET", f"{_SKILL}/content", _download_skill),
    ("GET", f"{_SKILL}/versions", _reads(serve_skills.list_versions)),
    ("POST", f"{_SKILL}/versions", _streams(skill_uploads.create_version)),
    ("GET", _SKILL_VERSION, _reads(serve_skills.retrieve_version)),
    ("DELETE", _SKILL_VERSION, _writes(serve_skills.delete_version)),
    ("GET", f"{_SKILL_VERSION}/content", _download_skill),
    ("GET", "/v1/containers", _reads(serve_containers.list_all)),
    ("POST", "/v1/containers", _writes(serve_containers.create)),
    ("GET", _CONTAINER, _writes(serve_containers.retrieve)),
    ("DELETE", _CONTAINER, _writes(serve_containers.delete)),
    ("GET", f"{_CONTAINER}/files", _writes(container_files.list_all)),
    ("POST", f"{_CONTAINER}/files", _add_to_container),
    ("GET", f"{_CONTAINER}/files/{{file}}", _writes(container_files.retrieve)),
    ("DELETE", f"{_CONTAINER}/files/{{file}}", _writes(container_files.delete)),
    ("GET", f"{_CONTAINER}/files/{{file}}/content", _download_from_container),
    ("GET", "/v1/models", _reads(serve_models.list_models)),
    ("GET", "/v1/models/{model:path}", _reads(serve_models.retrieve_model)),
)
"""Method, path and what answers. Of two that fit a path the first counts."""

_AGENT = "/v1/agents/{agent}"
_VERSION = f"{_AGENT}/versions/{{version}}"
_CONNECTION = "/v1/connections/{connection}"

FOUNDRY_ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/v1/agents", _reads(foundry_agents.list_all)),
    ("POST", "/v1/agents", _writes(foundry_agents.create)),
    ("POST", f"{_AGENT}:enable", _silent(foundry_agents.enable)),
    ("POST", f"{_AGENT}:disable", _silent(foundry_agents.disable)),
    ("GET", _AGENT, _reads(foundry_agents.retrieve)),
    ("POST", _AGENT, _writes(foundry_agents.update)),
    ("PATCH", _AGENT, _writes(foundry_agents.patch)),
    ("DELETE", _AGENT, _writes(foundry_agents.delete)),
    ("GET", f"{_AGENT}/versions", _reads(foundry_agents.list_versions)),
    ("POST", f"{_AGENT}/versions", _writes(foundry_agents.create_version)),
    ("GET", _VERSION, _reads(foundry_agents.retrieve_version)),
    ("DELETE", _VERSION, _writes(foundry_agents.delete_version)),
    ("POST", f"{_AGENT}/endpoint/protocols/openai/responses", _respond),
    ("GET", "/v1/deployments", _reads(foundry_projects.deployments)),
    ("GET", "/v1/deployments/{deployment}", _reads(foundry_projects.deployment)),
    ("GET", "/v1/connections", _reads(foundry_projects.connections)),
    ("GET", _CONNECTION, _reads(foundry_projects.connection)),
    (
        "POST",
        f"{_CONNECTION}/getConnectionWithCredentials",
        _reads(foundry_projects.connection_with_credentials),
    ),
)
"""What a Foundry project has of its own."""

_FOUNDRY = frozenset(path.split("/")[2] for _, path, _ in FOUNDRY_ROUTES)

_BETAS: dict[str, Callable[[str | None], None]] = {
    "agents": serve_agents.require_beta,
    "assistants": serve_assistants.require_beta,
}


def _guarded(service: Service, method: str, path: str, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    family = path.split("/")[2]
    scope = f"api.{'model' if family == 'models' else family}.{'read' if method == 'GET' else 'write'}"

    async def passed(request: Request) -> Response:
        if not _is_there(service.behaviour, family):
            raise url_unknown(request.method, request.url.path)
        if scope in service.behaviour.missing_scopes:
            raise scope_missing(scope)
        if family in _BETAS and not service.behaviour.foundry:
            _BETAS[family](request.headers.get("openai-beta"))
        return await endpoint(service, request)

    return passed


def _is_there(behaviour: Switches, family: str) -> bool:
    """Whether the service has an API at all: ``family`` is the first part of its paths."""
    there = {
        "agents": behaviour.agents_api,
        "assistants": behaviour.assistants_api,
        "responses": behaviour.responses_api,
        "skills": behaviour.agents_api,
    }
    return there.get(family, True) and family not in behaviour.absent


def _answer(handler: Handler, call: Call) -> bytes:
    # Encoded on the worker thread too: a page of 10,000 files takes a while.
    return msgspec.json.encode(handler(call))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    """A refusal, as the service words it."""
    assert isinstance(error, ApiError)
    return Response(error.body(), error.status, error.headers, media_type="application/json")


async def unrouted(request: Request, error: Exception) -> Response:
    """What a path or method gets that there is not."""
    assert isinstance(error, HTTPException)
    known = method_unknown if error.status_code == 405 else url_unknown
    return await refused(request, known(request.method, request.url.path))


async def _abandoned(request: Request, error: Exception) -> Response:
    # The client went away in the middle of its request: nobody sees this answer but the log.
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> Response:
    return await refused(request, server_error())
