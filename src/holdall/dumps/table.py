"""Rows of a table that a database or a spreadsheet wrote as CSV, as objects."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from holdall.dumps.normal import spelled

__all__ = ["rows"]

_NUMBERS = frozenset({"temperature", "top_p", "created_at", "created"})
_TELLING = frozenset({"instructions", "tools", "system_prompt", "file_ids", "object"})
_LONGEST_CELL = 16 << 20


def rows(text: str) -> Iterator[dict[str, Any]]:
    """The rows of a table of assistants; none where the first line isn't the head of one. An empty cell is null."""
    head = text[: text.find("\n") + 1].strip().lstrip("\ufeff")
    if not head or head[0] in "{[":
        return
    mark = max(",;\t", key=head.count)
    names = [spelled(name) for name in next(csv.reader([head], delimiter=mark))]
    if len(names) < 2 or "model" not in names or not _TELLING & set(names):
        return
    csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in list(csv.reader(text.lstrip("\ufeff").splitlines(keepends=True), delimiter=mark))[1:]:
            if len(cells) == len(names):
                yield {name: _value(name, cell) for name, cell in zip(names, cells, strict=True) if name}
    except csv.Error:
        return


def _value(name: str, cell: str) -> Any:
    if not cell or cell in ("NULL", "\\N"):
        return None
    if name in _NUMBERS:
        try:
            return float(cell) if "." in cell else int(cell)
        except ValueError:
            pass
    return cell
