"""Lists that are paged in ways of their own."""

from __future__ import annotations

from collections.abc import Mapping

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.service.api_errors import invalid

_SHORT = "3"


def _short_pages(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged:
        exchange.query["limit"] = _SHORT


def _everything(exchange: Exchange, memory: Memory) -> None:
    exchange.everything = exchange.is_paged


def _unpaged(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged:
        exchange.query, exchange.everything = {}, True


def _cursor_empty(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged and _cursors(exchange):
        empty: dict[str, object] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        exchange.reply(200, empty)


def _cursor_first_page(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged:
        for name in _cursors(exchange):
            del exchange.query[name]


def _cursor_refused(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged and (cursors := _cursors(exchange)):
        raise invalid(f"Unknown query parameter: '{cursors[0]}'.", cursors[0], "unknown_parameter")


def _cursors(exchange: Exchange) -> list[str]:
    return [name for name in ("after", "before") if name in exchange.query]


def _repeats_page(exchange: Exchange, memory: Memory) -> None:
    if not exchange.is_paged:
        return
    place = (exchange.project, exchange.path)
    former = memory.former_windows.pop(place, None)
    asked = dict(exchange.query)
    if former is not None and "after" in asked and former.get("after") != asked["after"]:
        exchange.query = former
    else:
        memory.former_windows[place] = asked


def _no_has_more(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_list:
        for name in ("has_more", "first_id", "last_id"):
            exchange.answer.pop(name, None)


def _always_more(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_list and "has_more" in exchange.answer:
        exchange.answer["has_more"] = True


def _no_object(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_list:
        exchange.answer.pop("object", None)


def _desc_skips(exchange: Exchange, memory: Memory) -> None:
    if exchange.is_paged and exchange.is_list and exchange.query.get("order") != "asc":
        data = exchange.answer["data"]
        exchange.answer["data"] = [data[place - place % 2] for place in range(len(data))]


REQUESTS: Mapping[Oddity, Change] = {
    Oddity.LIST_CURSOR_EMPTY: _cursor_empty,
    Oddity.LIST_CURSOR_FIRST_PAGE: _cursor_first_page,
    Oddity.LIST_CURSOR_REFUSED: _cursor_refused,
    Oddity.LIST_REPEATS_PAGE: _repeats_page,
    Oddity.LIST_SHORT_PAGES: _short_pages,
    Oddity.LIST_EVERYTHING: _everything,
    Oddity.LIST_UNPAGED: _unpaged,
}

ANSWERS: Mapping[Oddity, Change] = {
    Oddity.LIST_NO_HAS_MORE: _no_has_more,
    Oddity.LIST_UNPAGED: _no_has_more,
    Oddity.LIST_ALWAYS_MORE: _always_more,
    Oddity.LIST_DESC_SKIPS: _desc_skips,
    # Last, for the others know a list by its object.
    Oddity.LIST_NO_OBJECT: _no_object,
}
