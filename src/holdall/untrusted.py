"""Checks and decodes untrusted JSON: length, depth, encoding, and how much a record or a bundle may hold. Reads what
servers send leniently: with text around it, or one unreadable record.

Deep nesting raises RecursionError in a decoder, at a depth that depends on the caller, and a byte of empty lists takes
twenty in memory. JSON that passed here decodes safely, or fails with msgspec's own errors. The numbers are those of
docs/format.md, "Limits". All of it takes linear time, without recursion.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import accumulate
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")

MAX_JSON = 8 << 20
"""Bytes of one record, one line or one holdall.json."""
MAX_DEPTH = 200
"""Lists and objects inside each other."""
MAX_VALUES = 500_000
"""Values in one record, one line or one holdall.json, by their brackets and commas."""
MAX_ID = 512
"""Bytes of UTF-8 of an id, of an object or of what it refers to."""
MAX_FILENAME = 4 << 10
"""Bytes of UTF-8 of the name of a file."""
MAX_SIZE = 1 << 62
"""Bytes, or a number of things, that somebody may declare."""
MAX_TOOLS = 1_000
"""Tools of one record."""
MAX_REFERENCES = 10_000
"""Ids of files, stores and assistants that one record refers to."""
MAX_PARTS = 250_000
"""Parts of one parsed text."""
MAX_PART = 4 << 20
"""Bytes of one of them, as JSON: in memory one letter beyond Latin makes four of each."""
MAX_EXPANSION = 256
"""Bytes of tar for each byte of a bundle."""
LINE_BYTES = 8
"""Bytes of a bundle for each line in it; as many again for each tool or reference of a record."""
VALUES_PER_BYTE = 2
"""Values of all records in a bundle together, for each byte of it."""
RECORD_EXPANSION = 32
"""Bytes of all records in a bundle together, for each byte of it: an import holds its definitions."""
TEXT_PER_BYTE = 64
"""Weight of all parsed texts in a bundle together, for each byte of it: see ``text_weight``."""
FREE_BYTES, FREE_LINES, FREE_VALUES, FREE_TEXT, FREE_RECORDS = 512 << 20, 100_000, 2_000_000, 48 << 20, 32 << 20
"""What a bundle may have of each besides, however small it is: many alike compress to next to nothing."""

_decode = msgspec.json.Decoder().decode

# One without an end is taken to the end: else each quote in it would be tried anew.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\)?', re.DOTALL)
_TOKENS = re.compile(rb'(?:[^"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
# A pair, or in the group half of one that has lost the other. Behind an even number of backslashes, which mean
# themselves.
_SURROGATES = re.compile(
    rb"(?<!\\)(?:\\\\)*+(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
_PIECE = 256 << 10
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one down, one up, as signed bytes


# -- any JSON -------------------------------------------------------------------------------------------


class NotJson(ValueError):
    """Bytes that aren't JSON in UTF-8."""


def require_plain(raw: bytes | bytearray, *, longest: int = MAX_JSON, richest: int = MAX_VALUES) -> int:
    """How many values are in ``raw``. Raises ValueError where it is too long, too deep, too rich, or not UTF-8.

    >>> require_plain(b'{"a": [1, "[[[["]}')
    7
    >>> require_plain(b"[" * 300 + b"]" * 300)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 200 deep
    """
    if len(raw) > longest:
        raise ValueError(f"{len(raw)} bytes long, more than {longest}")
    if not raw.isascii():
        _require_utf8(raw)
    values = count_values(raw)
    # So few brackets can't nest deeper, and most records have no more.
    if values <= MAX_DEPTH:
        return values
    if values > richest:
        found = 0
        for piece in without_strings(raw):
            found += count_values(piece)
            if found > richest:
                raise ValueError(f"more than {richest} values")
    if depth_of(raw) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return values


def depth_of(raw: bytes | bytearray) -> int:
    """How many lists and objects of ``raw`` are inside each other."""
    deepest = depth = 0
    for piece in without_strings(raw):
        steps = array("b", piece.translate(_STEPS, _ALL_BUT_BRACKETS))
        deepest = max(deepest, max(accumulate(steps, initial=depth)))
        depth += sum(steps)
    return deepest


def count_values(raw: bytes | bytearray) -> int:
    """Commas and opening brackets, those inside of strings too: no fewer than JSON has values, but for one."""
    return len(raw) - len(raw.translate(None, b",[{"))


def is_richer(raw: bytes | bytearray, values: int) -> bool:
    """Whether JSON has more than so many values."""
    return count_values(raw) > values and sum(map(count_values, without_strings(raw))) > values


def without_strings(raw: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """``raw`` without its strings, in pieces: cut out at once, a million strings take a hundred million bytes."""
    at = 0
    while at < len(raw):
        found = _TOKENS.match(raw, at, min(at + _PIECE, len(raw)))
        end = found.end() if found else at
        if end > at:
            yield STRING.sub(b"", raw[at:end])
        elif long := STRING.match(raw, at):
            end = long.end()
        at = end


def _require_utf8(raw: bytes | bytearray) -> None:
    """NotJson where ``raw`` isn't UTF-8. Decoded at once, one emoji makes four bytes of each letter."""
    decoder, at = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        for at in range(0, len(raw), _PIECE):
            decoder.decode(raw[at : at + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8 at byte {at + error.start}") from None


def read_json(raw: bytes, *, lenient: bool = False) -> Any:
    """``raw``, which need not have passed ``require_plain``, as values. Half a surrogate pair becomes U+FFFD, a number
    that Python has none for the text of it. ValueError where it is not plain, NotJson where it is not JSON.

    ``lenient`` takes what some servers send besides: bytes that aren't UTF-8, as U+FFFD, control characters in strings,
    and NaN and Infinity, as text. A bundle holds no such record, but what it is about may have to be known.

    >>> read_json(rb'{"a": ["\\ud83d", 1e999]}')
    {'a': ['\ufffd', '1e999']}
    """
    if lenient and not raw.isascii():
        raw = raw.decode("utf-8", "replace").encode()
    require_plain(raw)
    return _read_plain(raw, lenient=lenient)


def read_as(raw: bytes, of: type[T]) -> T:
    """``read_json`` as a value of a type. Raises ValueError, of which msgspec's errors are."""
    try:
        return msgspec.json.decode(raw, type=of)
    except (ValueError, RecursionError):
        return msgspec.convert(read_json(raw), of)


def read_unique(raw: bytes, *, values: int) -> dict[str, Any]:
    """The JSON object ``raw``, which has passed ``require_plain``. Raises ValueError where any object in it has a key
    twice, which readers would read in two ways, or where it holds more than so many ``values``: members and elements.

    >>> read_unique(b'{"id": "a", "id": "b"}', values=100)
    Traceback (most recent call last):
    ...
    ValueError: duplicate key 'id'
    """
    if is_richer(raw, values):
        raise ValueError(f"more than {values} values")
    found = json.loads(raw.decode(), object_pairs_hook=_unique)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def without_half_characters(raw: bytes) -> bytes:
    """JSON with each unpaired surrogate escape replaced by that of U+FFFD, of equal length; a copy only if there is
    one.

    Programs that cut text between two UTF-16 units write them; JSON's grammar allows them.

    >>> without_half_characters(rb'["\\ud83d", "\\ud83d\\ude00", "\\\\ud83d"]').decode()
    '["\\\\ufffd", "\\\\ud83d\\\\ude00", "\\\\\\\\ud83d"]'
    """
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return raw
    made: bytearray | None = None
    for found in _SURROGATES.finditer(raw):
        start, end = found.span(1)
        if start >= 0:
            made = made or bytearray(raw)
            made[start:end] = b"\\ufffd"
    return bytes(made) if made else raw


def _read_plain(raw: bytes, *, lenient: bool = False) -> Any:
    """As ``read_json``, of what has passed ``require_plain``."""
    try:
        return _decode(raw)
    except ValueError:
        pass
    constant = str if lenient else _refuse
    try:
        found = json.loads(
            raw.decode(), parse_int=_number, parse_float=_number, parse_constant=constant, strict=not lenient
        )
    except ValueError as error:
        raise NotJson(str(error)) from None
    # The decoder of the standard library keeps halves of surrogate pairs, which nothing could write down.
    text = json.dumps(found, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _number(digits: str) -> int | float | str:
    try:
        number = float(digits) if not digits.lstrip("-").isdigit() else int(digits)
    except ValueError:  # more digits than Python reads
        return digits
    return number if isinstance(number, int) or math.isfinite(number) else digits


def _refuse(word: str) -> Any:
    raise NotJson(f"{word} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"duplicate key {twice[:100]!r}")
    return found


# -- records --------------------------------------------------------------------------------------------

_NAMES = ("filename", "name", "model")
# The fields in which a record refers to others: directly, or at any depth.
_SINGLE, _PLACES = ("file_ids", "vector_store_id"), ("tools", "tool_resources", "files", "skills")
_REFERRING = frozenset({*_SINGLE, *_PLACES, "versions", "definition"})
_IDS = ("id", "file_id", "vector_store_id", "skill_id")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What ``require_record`` found: the record's id, how many tools and references it has, how many values."""

    id: str
    uses: int
    values: int


def require_record(raw: bytes) -> Measured:
    """Measure a record of any kind. Raises ValueError, and msgspec's errors, where it is over a limit or has no id.

    >>> require_record(b'{"id": "asst_1", "tool_resources": {"code_interpreter": {"file_ids": ["file-1"]}}}')
    Measured(id='asst_1', uses=1, values=5)
    """
    values = require_plain(raw)
    record = _read_plain(raw)
    id = record.get("id") if isinstance(record, dict) else None
    if not isinstance(id, str):
        id = msgspec.convert(msgspec.convert(record, dict[str, Any]).get("id"), str)
    require_id(id)
    uses = 0
    refers = not _REFERRING.isdisjoint(record)  # as no file does, and there are most of those
    parts = _definitions(record) if refers else [record]
    for part in parts:
        for key in _NAMES:
            if isinstance(name := part.get(key), str):
                require_filename(name)
        if isinstance(tools := part.get("tools"), list):
            uses += len(tools)
    if uses > MAX_TOOLS:
        raise ValueError(f"{uses} tools, more than {MAX_TOOLS}")
    for references, one in enumerate(_references(parts) if refers else (), 1):
        if references > MAX_REFERENCES:
            raise ValueError(f"refers to more than {MAX_REFERENCES} files, stores and assistants")
        require_id(one)
        uses += 1
    return Measured(id=id, uses=uses, values=values)


def require_id(id: str) -> None:
    """Raises ValueError where an id is too long."""
    # No letter takes more than four bytes, so most texts need not be encoded to be measured.
    if len(id) * 4 > MAX_ID:
        _require_short(id, MAX_ID, "an id")


def require_filename(name: str) -> None:
    """Raises ValueError where the name of a file is too long."""
    if len(name) * 4 > MAX_FILENAME:
        _require_short(name, MAX_FILENAME, "a file name")


def _require_short(text: str, most: int, what: str) -> None:
    if len(text.encode(errors="surrogatepass")) > most:
        raise ValueError(f"{what} longer than {most} bytes: {text[:40]}…")


def _definitions(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The record, and the definition in it: of a version of a Foundry agent, or of an agent with its latest version."""
    versions = record.get("versions")
    latest = versions.get("latest") if isinstance(versions, dict) else record
    definition = latest.get("definition") if isinstance(latest, dict) else None
    return [record, definition] if isinstance(definition, dict) else [record]


def _references(parts: list[dict[str, Any]]) -> Iterator[str]:
    """The ids that a record refers to: the words of each list ``…_ids``, wherever a tool keeps it, and single ids."""
    # One loop, because it runs over all that a record holds: a generator for each level would cost several times that.
    found: list[Any] = [{key: part[key] for key in _SINGLE if key in part} for part in parts]
    found += [part[key] for part in parts for key in _PLACES if key in part]
    while found:
        value = found.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(item, str) and key in _IDS:
                    yield item
                elif isinstance(item, list) and key.endswith("_ids"):
                    yield from (one for one in item if isinstance(one, str))
                elif isinstance(item, dict | list):
                    found.append(item)
        elif isinstance(value, list):
            found += (item for item in value if isinstance(item, dict | list))


# -- a whole bundle -------------------------------------------------------------------------------------


def most_bytes(file_size: int) -> int:
    """The bytes of tar that a bundle of ``file_size`` bytes may have."""
    return FREE_BYTES + MAX_EXPANSION * file_size


def most_lines(file_size: int) -> int:
    """The lines that a bundle of ``file_size`` bytes may have; as many tools and references besides."""
    return FREE_LINES + file_size // LINE_BYTES


def most_values(file_size: int) -> int:
    """The values that all records of a bundle of ``file_size`` bytes may have."""
    return FREE_VALUES + VALUES_PER_BYTE * file_size


def most_records(file_size: int) -> int:
    """The bytes that all records of a bundle of ``file_size`` bytes may have."""
    return FREE_RECORDS + RECORD_EXPANSION * file_size


def most_text(file_size: int) -> int:
    """The weight that all parsed texts of a bundle of ``file_size`` bytes may have."""
    return FREE_TEXT + TEXT_PER_BYTE * file_size


def text_weight(size: int, strings: int = 0, lists: int = 0, objects: int = 0) -> int:
    """What ``size`` bytes of parsed text with so much in them cost to read, as bytes of long strings do."""
    return size + 32 * (strings + lists) + 512 * objects


# -- text -----------------------------------------------------------------------------------------------


def normalized(form: Literal["NFC", "NFD"], text: str) -> str:
    """``text`` in a normal form of Unicode, in linear time: of a row of marks that combine, which Python sorts in
    quadratic time, the first thirty count. That is the stream-safe text format of Unicode's annex 15.

    >>> normalized("NFC", "cafe" + "\u0301"), len(normalized("NFC", "a" + "\u0323\u0301" * 100_000))
    ('café', 30)
    """
    return text if text.isascii() else unicodedata.normalize(form, _too_many_marks().sub(r"\1", text))


@cache
def _too_many_marks() -> re.Pattern[str]:
    marks = "".join(char for char in map(chr, range(0x300, 0x20000)) if _is_mark(char))
    return re.compile(f"([{marks}]{{30}})[{marks}]++")


def _is_mark(char: str) -> bool:
    return all(map(unicodedata.combining, unicodedata.normalize("NFD", char)))


# -- lenient JSON ---------------------------------------------------------------------------------------

# A string, or a sign outside of strings.
_STRINGS_AND_SIGNS = re.compile(STRING.pattern + rb"|[\[\]{},:]", re.DOTALL)


def readable(raw: bytes) -> bytes:
    """Lenient JSON as JSON that every decoder reads; returns the same bytes if they are that already.

    >>> readable(rb'{"a": "\\ud83d", "b": NaN}').decode()
    '{"a":"\ufffd","b":"NaN"}'
    """
    with suppress(ValueError):
        require_plain(raw)
        msgspec.json.decode(raw)
        return raw
    return msgspec.json.encode(read_json(raw, lenient=True))


def read_members(raw: bytes) -> dict[str, Any]:
    """The members of an object, each read leniently; unreadable ones are left out. ValueError if it isn't an object."""
    pieces, _ = split_json(raw.lstrip())
    if not raw.lstrip().startswith(b"{"):
        raise NotJson("it is not an object")
    found: dict[str, Any] = {}
    for key, value in zip(pieces[::2], pieces[1::2], strict=False):
        with suppress(ValueError):
            found[str(read_json(key, lenient=True))] = read_json(value, lenient=True)
    return found


def split_json(raw: bytes) -> tuple[list[bytes], int]:
    """The pieces between brackets, commas and colons of the list or object at the start of ``raw``, and its end. A
    piece may be anything whose strings and brackets close.

    Linear time, no recursion: this isolates an unreadable record. ValueError if it isn't a list or object, doesn't
    close, or has more than ``MAX_VALUES`` pieces.

    >>> split_json(b'{"data": [[[1]], "\\xff"], "x": NaN} what follows')
    ([b'"data"', b'[[[1]], "\\xff"]', b'"x"', b'NaN'], 32)
    """
    if not raw.startswith((b"[", b"{")):
        raise NotJson("it is neither a list nor an object")
    pieces: list[bytes] = []
    start, depth = 1, 0
    for found in _STRINGS_AND_SIGNS.finditer(raw):
        sign = raw[found.start()]
        if sign in (0x5B, 0x7B):  # [ {
            depth += 1
        elif sign in (0x5D, 0x7D):  # ] }
            depth -= 1
        if depth == 0 or (depth == 1 and sign in (0x2C, 0x3A)):  # , :
            if len(pieces) == MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES} values")
            pieces.append(raw[start : found.start()].strip())
            start = found.end()
        if depth == 0:
            return (pieces if len(pieces) > 1 or pieces[0] else []), start
    raise NotJson("it is truncated")


def first_value(raw: bytes) -> bytes:
    """A body's JSON, ``trimmed``, without what follows its object or list.

    >>> first_value(b'\\xef\\xbb\\xbf {"a": 1}\\n<!-- debug -->')
    b'{"a": 1}'
    """
    raw = trimmed(raw)
    with suppress(ValueError, RecursionError):
        msgspec.json.decode(raw, type=msgspec.Raw)
        return raw
    with suppress(ValueError):
        return raw[: split_json(raw)[1]]
    return raw


def trimmed(raw: bytes) -> bytes:
    """A body without byte order mark and surrounding white space (which some servers send to keep a connection)."""
    return raw.strip().removeprefix(b"\xef\xbb\xbf").lstrip()
