"""The sandbox's routes, as one ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.connections import Connections
from holdall.sandbox.faults import control
from holdall.sandbox.faults.delays import Lagging
from holdall.sandbox.faults.gate import Gate
from holdall.sandbox.oddities.layer import Odd
from holdall.sandbox.service import (
    batches,
    container_files,
    search,
    serve_agents,
    serve_assistants,
    serve_containers,
    serve_files,
    serve_models,
    serve_responses,
    store_files,
    stores,
    transfers,
)
from holdall.sandbox.service.api_errors import Refusal, method_unknown, scope_missing, server_error, url_unknown
from holdall.sandbox.service.foundry import Foundry
from holdall.sandbox.service.guard import Guard
from holdall.sandbox.service.service import Call, Service

__all__ = ["application"]

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Call], Any]


def application(service: Service, connections: Connections, *, controlled: bool) -> ASGIApp:
    """Everything that the sandbox answers. ``controlled`` opens the control door."""
    answers = {
        Refusal: _refused,
        HTTPException: _unrouted,
        ClientDisconnect: _abandoned,
        Exception: _broken,
    }
    api = Starlette(routes=_routes(service), exception_handlers=answers)
    # A slash too many is another URL to the service, not a redirection.
    api.router.redirect_slashes = False
    door = control.routes(service) if controlled else []
    outside = Starlette(
        routes=door,
        exception_handlers={
            HTTPException: _unrouted,
            msgspec.DecodeError: control.refused,
            Refusal: control.refused,
        },
    )
    gate = Gate(Odd(Lagging(api, service), service, connections), outside, service, connections)
    return Guard(Foundry(gate, service), service)


def _routes(service: Service) -> list[Route]:
    async def call_of(request: Request, *, body: bool = True) -> Call:
        return Call(
            service=service,
            project=request.state.project,
            path=request.path_params,
            query=request.query_params,
            body=await request.body() if body else b"",
            now=service.clock(),
        )

    def reads(handler: Handler) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return _json(await service.reading(_answer, handler, await call_of(request)))

        return endpoint

    def writes(handler: Handler) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return _json(await service.writing(_answer, handler, await call_of(request)))

        return endpoint

    def guarded(method: str, path: str, endpoint: Endpoint) -> Endpoint:
        family = path.split("/")[2]
        scope = f"api.{'model' if family == 'models' else family}.{'read' if method == 'GET' else 'write'}"

        async def passed(request: Request) -> Response:
            if not _is_there(service.behaviour, family):
                raise url_unknown(request.method, request.url.path)
            if scope in service.behaviour.missing_scopes:
                raise scope_missing(scope)
            if family in _BETAS:
                _BETAS[family](request.headers.get("openai-beta"))
            return await endpoint(request)

        return passed

    async def upload(request: Request) -> Response:
        return _json(msgspec.json.encode(await transfers.upload(request, await call_of(request, body=False))))

    async def add_to_container(request: Request) -> Response:
        if request.headers.get("content-type", "").startswith("multipart/"):
            made = await transfers.upload_to_container(request, await call_of(request, body=False))
            return _json(msgspec.json.encode(made))
        return await writes(container_files.copy)(request)

    async def download_from_container(request: Request) -> Response:
        return await transfers.download_from_container(request, await call_of(request))

    async def download(request: Request) -> Response:
        return await transfers.download(request, await call_of(request))

    async def respond(request: Request) -> Response:
        call = await call_of(request)
        for store in await service.reading(serve_responses.searches, call):
            while await service.writing(search.index_some, msgspec.structs.replace(call, path={"store": store})):
                pass
        return _json(await service.writing(_answer, serve_responses.create, call))

    async def search_store(request: Request) -> Response:
        call = await call_of(request)
        while await service.writing(search.index_some, call):
            pass
        return _json(await service.reading(_answer, search.search, call))

    store, batch = "/v1/vector_stores/{store}", "/v1/vector_stores/{store}/file_batches/{batch}"
    container = "/v1/containers/{container}"
    table: list[tuple[str, str, Endpoint]] = [
        ("GET", "/v1/vector_stores/{store}/files", reads(store_files.list_all)),
        ("POST", "/v1/vector_stores/{store}/files", writes(store_files.create)),
        ("GET", "/v1/vector_stores/{store}/files/{file}", reads(store_files.retrieve)),
        ("POST", "/v1/vector_stores/{store}/files/{file}", writes(store_files.update)),
        ("DELETE", "/v1/vector_stores/{store}/files/{file}", writes(store_files.delete)),
        ("GET", "/v1/vector_stores/{store}/files/{file}/content", reads(store_files.content)),
        ("POST", f"{store}/file_batches", writes(batches.create)),
        ("GET", batch, reads(batches.retrieve)),
        ("POST", f"{batch}/cancel", writes(batches.cancel)),
        ("GET", f"{batch}/files", reads(batches.list_files)),
        ("GET", "/v1/files", reads(serve_files.list_all)),
        ("POST", "/v1/files", upload),
        ("GET", "/v1/files/{file}", reads(serve_files.retrieve)),
        ("DELETE", "/v1/files/{file}", writes(serve_files.delete)),
        ("GET", "/v1/files/{file}/content", download),
        ("GET", "/v1/vector_stores", reads(stores.list_all)),
        ("POST", "/v1/vector_stores", writes(stores.create)),
        ("GET", store, reads(stores.retrieve)),
        ("POST", store, writes(stores.update)),
        ("DELETE", store, writes(stores.delete)),
        ("POST", f"{store}/search", search_store),
        ("GET", "/v1/assistants", reads(serve_assistants.list_all)),
        ("POST", "/v1/assistants", writes(serve_assistants.create)),
        ("GET", "/v1/assistants/{assistant}", reads(serve_assistants.retrieve)),
        ("POST", "/v1/assistants/{assistant}", writes(serve_assistants.update)),
        ("DELETE", "/v1/assistants/{assistant}", writes(serve_assistants.delete)),
        ("POST", "/v1/responses", respond),
        ("GET", "/v1/responses/{response}", reads(serve_responses.retrieve)),
        ("DELETE", "/v1/responses/{response}", writes(serve_responses.delete)),
        ("GET", "/v1/agents", reads(serve_agents.list_all)),
        ("POST", "/v1/agents", writes(serve_agents.create)),
        ("GET", "/v1/agents/{agent}", reads(serve_agents.retrieve)),
        ("POST", "/v1/agents/{agent}", writes(serve_agents.update)),
        ("DELETE", "/v1/agents/{agent}", writes(serve_agents.delete)),
        ("GET", "/v1/containers", reads(serve_containers.list_all)),
        ("POST", "/v1/containers", writes(serve_containers.create)),
        ("GET", container, writes(serve_containers.retrieve)),
        ("DELETE", container, writes(serve_containers.delete)),
        ("GET", f"{container}/files", writes(container_files.list_all)),
        ("POST", f"{container}/files", add_to_container),
        ("GET", f"{container}/files/{{file}}", writes(container_files.retrieve)),
        ("DELETE", f"{container}/files/{{file}}", writes(container_files.delete)),
        ("GET", f"{container}/files/{{file}}/content", download_from_container),
        ("GET", "/v1/models", reads(serve_models.list_models)),
        ("GET", "/v1/models/{model:path}", reads(serve_models.retrieve_model)),
    ]
    return [Route(path, guarded(method, path, endpoint), methods=[method]) for method, path, endpoint in table]


_BETAS: dict[str, Callable[[str | None], None]] = {
    "agents": serve_agents.require_beta,
    "assistants": serve_assistants.require_beta,
}


def _is_there(behaviour: Behaviour, family: str) -> bool:
    """Whether the service has an API at all: ``family`` is the first part of its paths."""
    there = {
        "agents": behaviour.agents_api,
        "assistants": behaviour.assistants_api,
        "responses": behaviour.responses_api,
    }
    return there.get(family, True) and family not in behaviour.absent


def _answer(handler: Handler, call: Call) -> bytes:
    # Encoded on the worker thread too: a page of 10,000 files takes a while.
    return msgspec.json.encode(handler(call))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return Response(error.body(), error.status, error.headers, media_type="application/json")


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = method_unknown if error.status_code == 405 else url_unknown
    return await _refused(request, known(request.method, request.url.path))


async def _abandoned(request: Request, error: Exception) -> Response:
    # The client went away in the middle of its request: nobody sees this answer but the log.
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> Response:
    return await _refused(request, server_error())
