"""What no request gets past: whom it is addressed to, where it comes from, how large it is.

A sandbox asks for no real key, so whatever reaches it may use it. It listens on this machine only; but a web page that
is open here can send requests here too, by name (DNS rebinding) or as a form. Such requests say so, in ``Host`` or in
``Origin``, which no page can change.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.door import respond
from holdall.sandbox.service.service import Service

_NAMES = ("127.0.0.1", "localhost", "[::1]")

# Bytes of JSON; those of an environment template may hold a zip of 50 MiB in base64.
_JSON = 8 << 20
_TEMPLATE = 80 << 20
_TEMPLATES = "/v1/agents/environments/templates"

# Bytes of a form besides its file.
_FORM = 1 << 20


class Guard:
    """ASGI: an application, for requests from this machine that are no larger than the service takes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").startswith("multipart/")
        limit = _TEMPLATE if scope["path"].startswith(_TEMPLATES) else _JSON
        if is_form:
            limit = self._service.behaviour.max_file_bytes + _FORM
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                # What still comes is thrown away by the server, so that the client gets to see the answer.
                raise ApiError(
                    413, f"Maximum content size limit ({limit}) exceeded ({size} bytes read)", kind="server_error"
                )
            return message

        try:
            _check(headers, scope["server"][1])
            await self._app(scope, bounded, send)
        except ApiError as refusal:
            await respond(send, refusal.status, refusal.body(), refusal.headers.items())


def _check(headers: Headers, port: int) -> None:
    own = {f"{name}:{port}" for name in _NAMES} | (set(_NAMES) if port == 80 else set())
    host, origin = headers.get("host", ""), headers.get("origin")
    if host.lower() not in own:
        raise ApiError(421, f"This sandbox is at {_NAMES[0]}:{port}; the request is for '{host[:100]}'.")
    if origin is not None and origin.lower() not in {f"http://{name}" for name in own}:
        raise ApiError(403, f"This sandbox takes no requests from web pages; this one is from '{origin[:100]}'.")
