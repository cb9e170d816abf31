"""JSON from outside, looked at before anything decodes it: how long, how deep, in what encoding it may be, and how much
a record may hold.

A decoder answers nesting without end with RecursionError, at a depth that depends on who calls it, and makes some
twenty bytes of every byte of empty lists. What has passed here can be decoded by anybody, anywhere: it fails, if at
all, with msgspec's own errors. The numbers are those of docs/format.md, "Limits".
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import msgspec

__all__ = [
    "LINE_BYTES",
    "MAX_DEPTH",
    "MAX_EXPANSION",
    "MAX_ID",
    "MAX_JSON",
    "MAX_PARTS",
    "MAX_REFERENCES",
    "MAX_TOOLS",
    "MAX_VALUES",
    "VALUES_PER_BYTE",
    "Measured",
    "count_values",
    "pruned",
    "require_id",
    "require_plain",
    "require_record",
]

MAX_JSON = 8 << 20
"""Bytes of one record, one line or one holdall.json."""
MAX_DEPTH = 200
"""Lists and objects inside each other."""
MAX_VALUES = 500_000
"""Values in one record, one line or one holdall.json, by their brackets and commas."""
MAX_ID = 512
"""Bytes of UTF-8 of an id, of an object or of what it refers to."""
MAX_TOOLS = 1_000
"""Tools of one record."""
MAX_REFERENCES = 10_000
"""Ids of files, stores and assistants that one record refers to."""
MAX_PARTS = 1_000_000
"""Parts of one parsed text."""
MAX_EXPANSION = 256
"""Bytes of tar for each byte of a bundle."""
LINE_BYTES = 8
"""Bytes of a bundle for each line in it; as many again for each tool or reference of a record."""
VALUES_PER_BYTE = 2
"""Values of all records in a bundle together, for each byte of it."""

# One that never ends goes to the end: looked for anew behind each of its quotes, it would take quadratic time.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")  # one down, one up, as signed bytes


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What ``require_record`` found: the record's id, how many tools and references it has, how many values."""

    id: str
    uses: int
    values: int


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    vector_store_id: Any = None
    file_ids: Any = None
    tools: Any = None
    tool_resources: Any = None


_shape = msgspec.json.Decoder(_Shape)


def require_plain(raw: bytes, most: int = MAX_JSON) -> int:
    """How many values are in ``raw``. Raises ValueError where it is longer than ``most`` bytes, too deep, too rich, or
    not UTF-8.

    >>> require_plain(b'{"a": [1, "[[[["]}')
    7
    >>> require_plain(b"[" * 300 + b"]" * 300)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 200 deep
    """
    if len(raw) > most:
        raise ValueError(f"{len(raw)} bytes long, more than {most}")
    if not raw.isascii():
        raw.decode()
    brackets = raw.count(b"[") + raw.count(b"{")
    values = brackets + raw.count(b",")
    if brackets <= MAX_DEPTH and values <= MAX_VALUES:
        return values
    bare = _STRING.sub(b"", raw)
    if count_values(bare) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    if _is_deep(bare):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return values


def count_values(raw: bytes | bytearray) -> int:
    """Commas and opening brackets, those inside of strings too: no fewer than JSON has values, but for one."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def require_id(id: str) -> None:
    """Raises ValueError where an id is too long."""
    if len(id) * 4 > MAX_ID and len(id.encode(errors="surrogatepass")) > MAX_ID:
        raise ValueError(f"an id longer than {MAX_ID} bytes: {id[:40]}…")


def require_record(raw: bytes) -> Measured:
    """Measure a record of any kind. Raises ValueError, and msgspec's errors, where it is over a limit or has no id.

    >>> require_record(b'{"id": "asst_1", "tool_resources": {"code_interpreter": {"file_ids": ["file-1"]}}}')
    Measured(id='asst_1', uses=1, values=5)
    """
    values = require_plain(raw)
    shape = _shape.decode(raw)
    require_id(shape.id)
    tools = len(shape.tools) if isinstance(shape.tools, list) else 0
    if tools > MAX_TOOLS:
        raise ValueError(f"{tools} tools, more than {MAX_TOOLS}")
    references = 0
    if shape.tools or shape.tool_resources or shape.file_ids or shape.vector_store_id:
        for id in _references(shape):
            references += 1
            if references > MAX_REFERENCES:
                raise ValueError(f"refers to more than {MAX_REFERENCES} files, stores and assistants")
            require_id(id)
    return Measured(id=shape.id, uses=tools + references, values=values)


def _references(shape: _Shape) -> Iterator[str]:
    """The ids that a record refers to: the words of each list ``…_ids``, wherever a tool keeps it, and single ids."""
    found: list[Any] = [
        {"file_ids": shape.file_ids, "vector_store_id": shape.vector_store_id},
        shape.tools,
        shape.tool_resources,
    ]
    while found:
        value = found.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, str) and (key == "id" or key.endswith("_id")):
                    yield item
                elif isinstance(item, list) and key.endswith("_ids"):
                    yield from (one for one in item if isinstance(one, str))
                elif isinstance(item, dict | list):
                    found.append(item)
        elif isinstance(value, list):
            found += (item for item in value if isinstance(item, dict | list))


def _is_deep(bare: bytes) -> bool:
    """Whether lists and objects are nested too deeply in JSON without its strings."""
    brackets = bare.translate(_SQUARE, _ALL_BUT_BRACKETS)
    shallow = 8  # what is no deeper goes first, innermost brackets at a time: fast, and most of what there is
    for _ in range(shallow):
        brackets = brackets.replace(b"[]", b"")
    if brackets.count(b"[") <= MAX_DEPTH - shallow:
        return False
    return max(accumulate(array("b", brackets.translate(_STEPS))), default=0) > MAX_DEPTH - shallow


# A record in a list is two levels down.
_PRUNED = MAX_DEPTH + 3
_STRING_OR_BRACKET = re.compile(_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)


def pruned(raw: bytes, most: int) -> bytes:
    """A list of records from which what is far too deep is cut out, so that it can be decoded for its neighbours' sake.

    What was cut is too deep still: ``require_plain`` refuses the record. Raises ValueError as that does, for what no
    one record is to blame for.

    >>> len(pruned(b'{"data": [{"a": 1}, ' + b"[" * 5000 + b"]" * 5000 + b"]}", MAX_JSON))
    424
    """
    try:
        require_plain(raw, most)
        return raw
    except ValueError:
        if len(raw) > MAX_JSON or not raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
            raise
    kept, start, depth = [], 0, 0
    for found in _STRING_OR_BRACKET.finditer(raw):
        match raw[found.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth == _PRUNED:
                    kept.append(raw[start : found.end()])
            case 0x5D | 0x7D:  # ] }
                if depth == _PRUNED:
                    start = found.start()
                depth -= 1
    shallow = b"".join([*kept, raw[start:]] if depth < _PRUNED else kept)
    shallow.decode()
    if count_values(_STRING.sub(b"", shallow)) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    return shallow
