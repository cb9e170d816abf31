"""Lists as the API pages them: ``limit``, ``order``, ``after`` and ``before`` over the order of creation."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import invalid
from holdall.sandbox.service.body_shapes import choice, integer


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a list that was asked for. ``after`` and ``before`` are ids."""

    limit: int
    order: str
    after: str | None
    before: str | None


def window(
    query: Mapping[str, str],
    *,
    default: int = 20,
    minimum: int = 1,
    maximum: int = 100,
    before: bool = True,
    order: str = "desc",
) -> Window:
    """The window that a query string asks for; raises the refusal for values out of range."""
    try:
        limit = int(query.get("limit", default))
    except ValueError:
        raise invalid(
            "Invalid type for 'limit': expected an integer, but got a string instead.", "limit", "invalid_type"
        ) from None
    return Window(
        limit=integer(minimum, maximum)(limit, "limit"),
        order=choice("asc", "desc")(query.get("order", order), "order"),
        after=query.get("after") or None,
        before=(query.get("before") or None) if before else None,
    )


def _place(connection: sqlite3.Connection, source: str, where: str, args: Sequence[Any], name: str, id_: str) -> int:
    row = connection.execute(f"SELECT t.seq FROM {source} WHERE {where} AND t.id = ?", (*args, id_)).fetchone()
    if row is None:
        raise invalid(f"Invalid '{name}': no object with id '{id_}' found in this list.", name, "invalid_value")
    return int(row[0])


def select(
    connection: sqlite3.Connection,
    columns: str,
    source: str,
    where: str,
    args: Sequence[Any],
    asked: Window,
    *,
    narrowed: str = "",
    narrowed_args: Sequence[Any] = (),
) -> tuple[list[sqlite3.Row], bool]:
    """The rows of one page, and whether there are more beyond it.

    ``source`` names its main table ``t``. A cursor is looked up in ``where``, the page in ``where`` and ``narrowed``
    together, so that an item may leave a filtered list while it is being paged through.
    """
    conditions = [where]
    values = list(args)
    if narrowed:
        conditions.append(narrowed)
        values.extend(narrowed_args)
    ascending = asked.order == "asc"
    if asked.after is not None:
        conditions.append("t.seq > ?" if ascending else "t.seq < ?")
        values.append(_place(connection, source, where, args, "after", asked.after))
    if asked.before is not None:
        conditions.append("t.seq < ?" if ascending else "t.seq > ?")
        values.append(_place(connection, source, where, args, "before", asked.before))
    # With `before` alone the page is the one that ends just before the cursor: read backwards, then turned round.
    backwards = asked.before is not None and asked.after is None
    direction = "ASC" if ascending != backwards else "DESC"
    values.append(asked.limit + 1)
    rows = connection.execute(
        f"SELECT {columns} FROM {source} WHERE {' AND '.join(conditions)} ORDER BY t.seq {direction} LIMIT ?", values
    ).fetchall()
    has_more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    return (rows[::-1] if backwards else rows), has_more


def listing(objects: Sequence[Any], ids: Sequence[str], has_more: bool) -> dict[str, Any]:
    """The list object around a page's objects."""
    return {
        "object": "list",
        "data": objects,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
