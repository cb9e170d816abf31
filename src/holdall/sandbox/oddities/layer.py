"""The layer around the true endpoints that makes their server an odd one: one place for every oddity that can be one.

A request is read, changed, asked of the true endpoint, and its answer changed before it is sent. Bytes of files pass
untouched. What can't be done from outside (how ids look, what an unknown file becomes) is asked of ``Behaviour`` where
it is done: ``ids``, ``files``, ``batches``, ``memberships`` and ``store_files``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.connections import Connections
from holdall.sandbox.oddities import odd_calls, odd_encodings, odd_failures, odd_lists, odd_records
from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.body_shapes import decoded
from holdall.sandbox.service.service import Service

REQUESTS: Mapping[Oddity, Change] = {**odd_calls.REQUESTS, **odd_failures.REQUESTS, **odd_lists.REQUESTS}
"""What is done to requests, in the order in which it is done."""

ANSWERS: Mapping[Oddity, Change] = {
    **odd_calls.ANSWERS,
    **odd_records.ANSWERS,
    **odd_failures.ANSWERS,
    **odd_lists.ANSWERS,
    **odd_encodings.ANSWERS,
}
"""What is done to answers, in the order in which it is done."""

_JSON = "application/json"


class Odd:
    """ASGI: an application, with the oddities of the service's behaviour. Without any it is not in the way."""

    def __init__(self, app: ASGIApp, service: Service, connections: Connections) -> None:
        self._app = app
        self._service = service
        self._connections = connections
        self._memory = Memory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        oddities = self._service.behaviour.oddities
        if not oddities:
            await self._app(scope, receive, send)
            return
        if self._connections.is_spoilt(scope):
            await self._connections.reset(scope, receive)
            return
        exchange = await self._read(scope, receive)
        answer = _Answer(exchange, send)
        try:
            for oddity, change in REQUESTS.items():
                if oddity in oddities and not exchange.status:
                    change(exchange, self._memory)
            if not exchange.status:
                await self._ask(scope, receive, answer)
        except ApiError as refusal:
            exchange.reply(refusal.status, msgspec.json.decode(refusal.body()))
        if answer.is_passed:
            return
        for oddity, change in ANSWERS.items():
            if oddity in oddities:
                change(exchange, self._memory)
        if exchange.status >= 400 and Oddity.DROPS_AFTER_ERROR in oddities:
            self._connections.spoil(scope)
        await answer.send_changed()

    async def _read(self, scope: Scope, receive: Receive) -> Exchange:
        exchange = Exchange(
            method=scope["method"],
            path=scope["path"].removeprefix("/v1"),
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            project=scope["state"]["project"],
            now=self._service.clock(),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        if exchange.method == "POST" and exchange.headers.get("content-type", "").startswith(_JSON):
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            try:
                exchange.body = decoded(body)
            except ApiError:
                exchange.body = msgspec.Raw(body)
        return exchange

    async def _ask(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Ask the true endpoint; where everything is wanted at once, page by page."""
        exchange = answer.exchange
        found: list[Any] = []
        while True:
            await self._app(_scope_of(scope, exchange), _receive_of(exchange, receive), answer.receive)
            if answer.is_passed or not exchange.everything or not exchange.is_list:
                break
            found += exchange.answer["data"]
            exchange.answer |= {"data": found, "first_id": found[0]["id"] if found else None}
            if not exchange.answer["has_more"]:
                break
            exchange.query["after"] = exchange.answer["last_id"]


def _scope_of(scope: Scope, exchange: Exchange) -> Scope:
    return {**scope, "query_string": urlencode(exchange.query).encode("latin-1")}


def _receive_of(exchange: Exchange, receive: Receive) -> Receive:
    if exchange.body is not msgspec.UNSET:
        body = msgspec.json.encode(exchange.body)
    elif exchange.method == "GET":
        body = b""  # it may be asked several times
    else:
        return receive
    waiting: list[Message] = [{"type": "http.request", "body": body}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


class _Answer:
    """Takes the true answer: JSON into the exchange, anything else straight to the client."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self.exchange = exchange
        self.is_passed = False
        self._send = send
        self._start: Message = {"type": "http.response.start", "headers": []}
        self._body = b""

    async def receive(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self.is_passed = not headers.get(b"content-type", b"").startswith(_JSON.encode())
            self._start, self._body = message, b""
        if self.is_passed:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                self.exchange.reply(self._start["status"], msgspec.json.decode(self._body))

    async def send_changed(self) -> None:
        exchange = self.exchange
        body = msgspec.json.encode(exchange.answer) if exchange.raw is None else exchange.raw
        own = (b"content-length", b"content-type")
        headers = [(name, value) for name, value in self._start["headers"] if name not in own]
        headers += [(own[0], str(len(body)).encode()), (own[1], exchange.media_type.encode())]
        await self._send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
