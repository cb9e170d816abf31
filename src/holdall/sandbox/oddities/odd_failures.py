"""Answers that say no in other ways, or say yes where they should not; and parsed text that can't be had as usual."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.service.api_errors import ApiError, not_found


def _text_501(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text:
        raise ApiError(501, "Not implemented", kind="server_error")


def _text_404(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text:
        raise not_found("Not found")


def _text_from_the_start(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text:
        exchange.query.pop("page", None)


def _text_token_stuck(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text and exchange.status == 200:
        exchange.answer |= {"has_more": True, "next_page": "page_1"}


def _text_more_without_token(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text and exchange.status == 200:
        exchange.answer |= {"has_more": True, "next_page": None}


def _text_other_shape(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_text and exchange.status == 200:
        file = exchange.parts[-2]
        rest = {key: value for key, value in exchange.answer.items() if key not in ("object", "data")}
        # All at once, as the documents have it: without a word of pages unless there are more.
        pages = rest if rest.get("has_more") else {}
        content = exchange.answer["data"]
        exchange.answer = {"file_id": file, "filename": f"{file}.txt", "attributes": {}, "content": content, **pages}


def _search_own_ids(exchange: Exchange, memory: Memory) -> None:
    for number, hit in enumerate(_hits(exchange)):
        hit["file_id"] = f"chunk-{number}"


def _search_bare(exchange: Exchange, memory: Memory) -> None:
    _search_own_ids(exchange, memory)
    for hit in _hits(exchange):
        del hit["filename"]


def _hits(exchange: Exchange) -> list[dict[str, Any]]:
    is_search = exchange.method == "POST" and exchange.parts[-1] == "search" and exchange.status == 200
    return exchange.answer["data"] if is_search else []


def _is_missing(exchange: Exchange) -> bool:
    """Whether an object isn't there; a URL that isn't there is another matter."""
    return exchange.status == 404 and not exchange.answer["error"]["message"].startswith("Invalid URL")


def _deletes_anything(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE" and exchange.status == 404:
        exchange.reply(200, {"id": exchange.parts[-1], "object": "deleted", "deleted": True})


def _delete_404(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE":
        raise not_found("Not Found")


def _delete_false(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE":
        exchange.reply(200, {"id": exchange.parts[-1], "object": "deleted", "deleted": False})


def _delete_ignored(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE":
        exchange.reply(200, {"id": exchange.parts[-1], "object": "deleted", "deleted": True})


def _delete_204(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE" and exchange.status == 200:
        exchange.status, exchange.raw = 204, b""


def _missing_400(exchange: Exchange, memory: Memory) -> None:
    if _is_missing(exchange):
        exchange.status = 400


def _missing_500(exchange: Exchange, memory: Memory) -> None:
    if _is_missing(exchange):
        exchange.status = 500


def _missing_null(exchange: Exchange, memory: Memory) -> None:
    if _is_missing(exchange):
        exchange.reply(200, None)


def _message(exchange: Exchange) -> str | None:
    """The words of an error that still has the service's own form."""
    if exchange.status < 400 or exchange.raw is not None or not isinstance(exchange.answer, dict):
        return None
    error = exchange.answer.get("error")
    return str(error["message"]) if isinstance(error, dict) else None


def _error_detail(exchange: Exchange, memory: Memory) -> None:
    if (message := _message(exchange)) is not None:
        exchange.answer = {"detail": message}


def _error_text(exchange: Exchange, memory: Memory) -> None:
    if (message := _message(exchange)) is not None:
        exchange.answer = {"error": message}


def _error_flat(exchange: Exchange, memory: Memory) -> None:
    if (message := _message(exchange)) is not None:
        exchange.answer = {"message": message, "code": exchange.status}


def _error_plain(exchange: Exchange, memory: Memory) -> None:
    if (message := _message(exchange)) is not None:
        exchange.raw, exchange.media_type = message.encode(), "text/plain"


def _error_html(exchange: Exchange, memory: Memory) -> None:
    if (message := _message(exchange)) is not None:
        page = f"<html><head><title>Error</title></head><body><h1>{html.escape(message)}</h1></body></html>"
        exchange.raw, exchange.media_type = page.encode(), "text/html"


def _error_empty(exchange: Exchange, memory: Memory) -> None:
    if _message(exchange) is not None:
        exchange.raw, exchange.media_type = b"", "text/plain"


def _unknown(status: int) -> Change:
    """What is said of a path that isn't there."""

    def changed(exchange: Exchange, memory: Memory) -> None:
        if exchange.status == 404 and exchange.answer["error"]["message"].startswith("Invalid URL"):
            exchange.status = status

    return changed


def _unknown_page(exchange: Exchange, memory: Memory) -> None:
    if exchange.status == 404 and exchange.answer["error"]["message"].startswith("Invalid URL"):
        exchange.reply(200, None)
        exchange.raw, exchange.media_type = b"<!doctype html><html><body>Welcome</body></html>", "text/html"


def _delete_no_type(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "DELETE" and "content-type" in exchange.headers:
        raise ApiError(400, "Body cannot be empty when content-type is set to 'application/json'")


def _beta_misplaced(exchange: Exchange, memory: Memory) -> None:
    beta = exchange.headers.get("openai-beta")
    if beta is not None and exchange.parts[0] not in ("agents", "assistants", "vector_stores"):
        raise ApiError(400, f"Invalid beta '{beta}' for /{exchange.parts[0]}", code="invalid_beta")


def _refusal_names_model(exchange: Exchange, memory: Memory) -> None:
    error = exchange.answer.get("error") if exchange.status == 400 and isinstance(exchange.answer, dict) else None
    if isinstance(error, dict) and error["code"] == "unsupported_parameter":
        error |= {"param": "model", "code": "unsupported_model"}


def _status_201(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "POST" and exchange.status == 200:
        exchange.status = 201


REQUESTS: Mapping[Oddity, Change] = {
    Oddity.TEXT_501: _text_501,
    Oddity.TEXT_404: _text_404,
    Oddity.TEXT_TOKEN_STUCK: _text_from_the_start,
    Oddity.DELETE_NO_TYPE: _delete_no_type,
    Oddity.BETA_MISPLACED: _beta_misplaced,
    Oddity.DELETE_404: _delete_404,
    Oddity.DELETE_FALSE: _delete_false,
    Oddity.DELETE_IGNORED: _delete_ignored,
}

ANSWERS: Mapping[Oddity, Change] = {
    Oddity.TEXT_TOKEN_STUCK: _text_token_stuck,
    Oddity.TEXT_MORE_WITHOUT_TOKEN: _text_more_without_token,
    Oddity.TEXT_OTHER_SHAPE: _text_other_shape,
    Oddity.SEARCH_OWN_IDS: _search_own_ids,
    Oddity.SEARCH_BARE: _search_bare,
    Oddity.DELETES_ANYTHING: _deletes_anything,
    Oddity.DELETE_204: _delete_204,
    Oddity.MISSING_400: _missing_400,
    Oddity.MISSING_500: _missing_500,
    Oddity.MISSING_NULL: _missing_null,
    Oddity.UNKNOWN_405: _unknown(405),
    Oddity.UNKNOWN_500: _unknown(500),
    Oddity.UNKNOWN_501: _unknown(501),
    Oddity.UNKNOWN_PAGE: _unknown_page,
    Oddity.REFUSAL_NAMES_MODEL: _refusal_names_model,
    Oddity.ERROR_DETAIL: _error_detail,
    Oddity.ERROR_TEXT: _error_text,
    Oddity.ERROR_FLAT: _error_flat,
    Oddity.ERROR_PLAIN: _error_plain,
    Oddity.ERROR_HTML: _error_html,
    Oddity.ERROR_EMPTY: _error_empty,
    Oddity.STATUS_201: _status_201,
}
