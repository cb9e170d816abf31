"""Tolerant parser of one value in notations like JSON. Reads only, never runs anything.

One grammar for all: JSON with comments, trailing commas and raw control characters; Python's literals, and what its
SDKs print (``Name(field=value)``); JavaScript's ``console.log``; Ruby's ``=>``. Omissions (``[Object]``, ``... 3 more
items``, ``<object at 0x1>``) become strings that ``left_out_by`` knows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

DEEPEST = 64
"""Containers inside each other."""

_SPACE = re.compile(r"(?:\s++|//[^\n]*+|#[^\n]*+|/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/)*+")
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*+\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?)(?:[nL]\b)?")
_PREFIX = re.compile(r"(?:[bB][rR]?|[rR][bB]?|[uU])(?=[\"'])")
_WORD = re.compile(r"[A-Za-z_$][\w$]*+(?:\.[A-Za-z_$][\w$]*+)*+")
_KEY = re.compile(r"[\w$][\w$.-]*+|\[[^\[\]{}\n]{0,200}\]|:\w++(?==>)")
_SETS = re.compile(r"=>|[:=]")
_GENERIC = re.compile(r"\[[^\[\](){}\n]*+\](?=\()")
_ENUM = re.compile(r"<[\w.]++:\s*+")
_ANGLES = re.compile(r"<[^<>\n]*+>")
_REFERENCE = re.compile(r"<ref \*\d+>\s*+|\[Object: null prototype\]\s*+")
_ELISION = (
    r"\[(?:Object|Array|(?:Circular|(?:Async)?(?:Generator)?Function|[GS]etter|class\b)[^\[\]\n]{0,200}"
    r"|(?!(?:None|True|False|NaN|Infinity|NULL)\])[A-Z]\w{0,100})\]"
)
_ELIDED = re.compile(_ELISION)
_MORE = re.compile(r"(?:\.\.\.|…)\s*(?:\d+ more \w+)?")
_BODY = {quote: re.compile(rf"[^{quote}\\]*+(?:\\.[^{quote}\\]*+)*+{quote}", re.DOTALL) for quote in "\"'`"}
_TRIPLE = {quote: re.compile(rf"(?:[^\\{quote}]|\\.|{quote}(?!{quote}{quote}))*+{quote}{{3}}", re.DOTALL)
           for quote in "\"'"}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL
)
_SINGLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "\n": "", "e": "\x1b"}
_ITSELF = "\\/'\"`"
_CONSTANTS: Mapping[str, Any] = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None, "nil": None, "NULL": None,
    "undefined": None, "NaN": None, "nan": None, "Infinity": None, "inf": None, "NOT_GIVEN": None, "omit": None,
}  # fmt: skip
# What a printer writes for a value that it leaves out, and how that printer is told to write everything.
_LEFT_OUT: Mapping[str, re.Pattern[str]] = {
    "cut by console.log: print JSON.stringify(value, null, 2) instead": re.compile(
        r"<unread \[.*|\[(?:Object|Array|object Object|Circular.*)\]", re.DOTALL
    ),
    "cut by PowerShell: use ConvertTo-Json -Depth 100": re.compile(
        r"@\{.*\}|System\.(?:Object|Collections|Management)[\w.\[\]]*", re.DOTALL
    ),
    "left out by Python's print: print value.model_dump_json() or json.dumps(value) instead": re.compile(
        r"<unread .*|<[\w.]+ object at 0x\w+>", re.DOTALL
    ),
}


class Unreadable(Exception):
    """Not a value. ``position`` is where parsing failed, ``ended`` whether the text ends inside the value; ``begun``
    are the starts of the values being read, which would all fail in the same way."""

    def __init__(self, why: str, position: int, *, ended: bool = False, deep: bool = False) -> None:
        super().__init__(why)
        self.position, self.ended, self.deep = position, ended, deep
        self.begun: list[int] = []


def finite(digits: str) -> float | None:
    """The number, None for one that JSON has no way to write. ValueError."""
    number = float(digits)
    return number if math.isfinite(number) else None


def left_out_by(value: object) -> str:
    """For a printer's omission: the cause and the remedy; empty for any other value.

    >>> left_out_by("@{type=file_search}"), left_out_by("an [Object] of art")
    ('cut by PowerShell: use ConvertTo-Json -Depth 100', '')
    """
    if not isinstance(value, str) or value[:1] not in ("[", "@", "<", "S"):
        return ""
    return next((why for why, shape in _LEFT_OUT.items() if shape.fullmatch(value)), "")


def encoded(value: Any) -> bytes:
    """A parsed value as JSON. A surrogate without its other half becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def parse(text: str, position: int) -> tuple[Any, int]:
    """The value that begins at ``position``, and where it ends. Raises Unreadable. In time linear in what it reads.

    >>> parse("Desk(id='asst_1', tools=[Tool(type='file_search')], model=None,)  # one", 0)
    ({'id': 'asst_1', 'tools': [{'type': 'file_search'}], 'model': None}, 64)
    """
    parser = _Parser(text)
    try:
        return parser.value(position, 0)
    except Unreadable as error:
        error.begun = [] if error.deep else parser.begun
        raise


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.begun: list[int] = []

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        self.begun.append(at)
        found = self._value(at, depth)
        self.begun.pop()
        return found

    def _value(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > DEEPEST:
            raise Unreadable(f"nested more than {DEEPEST} deep", at, deep=True)
        at = self._space(at)
        while skipped := _REFERENCE.match(self._text, at):
            at = self._space(skipped.end())
        self.begun[-1] = at
        start = self._text[at]
        if start == "{":
            return self._object(at + 1, depth)
        if start == "[":
            if elided := _ELIDED.match(self._text, at):
                return f"<unread {elided.group()}>", elided.end()
            return self._items(at + 1, "]", depth)
        if start == "(":
            return self._group(at + 1, depth)
        if start in "\"'`" or _PREFIX.match(self._text, at):
            return self._strings(at)
        if start == "<":
            return self._angles(at, depth)
        if number := _NUMBER.match(self._text, at):
            return _number(number), number.end()
        if start == "-" and self._text.startswith("-Infinity", at):
            return None, at + len("-Infinity")
        return self._word(at, depth)

    def _space(self, at: int) -> int:
        """Skip white space and comments. Raises at the end of the text."""
        end = self._skip(at)
        if end == len(self._text) or self._text.startswith("/*", end):
            raise Unreadable("unexpected end of text", len(self._text), ended=True)
        return end

    def _skip(self, at: int) -> int:
        """Skip white space and comments."""
        match = _SPACE.match(self._text, at)
        assert match is not None
        return match.end()

    # -- containers ----------------------------------------------------------------------------------

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while True:
            at = self._space(at)
            if self._text[at] == "}":
                return found, at + 1
            if more := _MORE.match(self._text, at):
                found["…"] = _more(more)
                at = more.end()
            else:
                key, at = self._key(at)
                sets = _SETS.match(self._text, self._space(at))
                if sets is None:
                    raise Unreadable("no value after a key", at)
                found[key], at = self.value(sets.end(), depth + 1)
            at = self._comma(at, "}")

    def _items(self, at: int, end: str, depth: int, fields: dict[str, Any] | None = None) -> tuple[list[Any], int]:
        """The values up to ``end``; those that have a name go to ``fields``, where there may be some."""
        found: list[Any] = []
        while True:
            at = self._space(at)
            if self._text[at] == end:
                return found, at + 1
            key = _KEY.match(self._text, at) if fields is not None else None
            sets = _SETS.match(self._text, key.end()) if key else None
            if fields is not None and key and sets:
                fields[key.group()], at = self.value(sets.end(), depth + 1)
            elif fields is None and (more := _MORE.match(self._text, at)):
                found.append(_more(more))
                at = more.end()
            else:
                item, at = self.value(at, depth + 1)
                found.append(item)
            at = self._comma(at, end)

    def _comma(self, at: int, end: str) -> int:
        at = self._space(at)
        if self._text[at] == ",":
            return at + 1
        if self._text[at] != end:
            raise Unreadable(f"no comma or {end} after a value", at)
        return at

    def _key(self, at: int) -> tuple[str, int]:
        if self._text[at] in "\"'`" or _PREFIX.match(self._text, at):
            return self._strings(at)
        key = _KEY.match(self._text, at)
        if key is None:
            raise Unreadable("no key", at)
        return key.group().lstrip(":"), key.end()

    def _group(self, at: int, depth: int) -> tuple[Any, int]:
        """A tuple, as a list; one value in parentheses is that value."""
        items, end = self._items(at, ")", depth)
        if len(items) == 1 and not self._text[at : end - 1].rstrip().endswith(","):
            return items[0], end
        return items, end

    # -- names ---------------------------------------------------------------------------------------

    def _word(self, at: int, depth: int) -> tuple[Any, int]:
        word = _WORD.match(self._text, at)
        if word is None:
            raise Unreadable("no value", at)
        name, at = word.group(), word.end()
        if name == "new":
            return self.value(at, depth)
        if generic := _GENERIC.match(self._text, at):
            at = generic.end()
        if self._text.startswith("(", at):
            return self._call(name, at + 1, depth)
        if name in _CONSTANTS:
            return _CONSTANTS[name], at
        after = self._skip(at)
        if self._text.startswith(("{", "["), after):  # an object of a class, as console.log has it
            return self.value(after, depth + 1)
        if "." in name:
            return f"<unread {name}>", at
        raise Unreadable(f"{name[:40]} is not a value", word.start(), ended=at == len(self._text))

    def _call(self, name: str, at: int, depth: int) -> tuple[Any, int]:
        """The value of a printed ``Name(…)``: its fields, or its argument."""
        fields: dict[str, Any] = {}
        items, at = self._items(at, ")", depth, fields)
        after = self._skip(at)
        if not fields and self._text.startswith(("{", "["), after):
            return self.value(after, depth + 1)  # Map(1) { … }, Array(2) [ … ]
        if name.endswith("datetime") and items and all(isinstance(item, int) for item in items[:6]):
            return _moment(items), at
        if fields:
            return fields, at
        made = items[-1] if items else {}
        if isinstance(made, list) and made and all(isinstance(p, list) and len(p) == 2 for p in made):
            return {str(key): value for key, value in made}, at  # OrderedDict([(key, value), …])
        return made, at

    def _angles(self, at: int, depth: int) -> tuple[Any, int]:
        if enum := _ENUM.match(self._text, at):
            value, at = self.value(enum.end(), depth + 1)
            at = self._space(at)
            if self._text[at] != ">":
                raise Unreadable("no > after a value", at)
            return value, at + 1
        if angles := _ANGLES.match(self._text, at):
            return f"<unread {angles.group()[1:-1]}>", angles.end()
        raise Unreadable("no value", at)

    # -- strings -------------------------------------------------------------------------------------

    def _strings(self, at: int) -> tuple[str, int]:
        """A string, with those that it is written together with: ``'a' 'b'``, ``'a' + 'b'``."""
        parts: list[str] = []
        while True:
            part, at = self._string(at)
            parts.append(part)
            then = self._skip(at)
            if self._text.startswith("+", then):
                then = self._space(then + 1)
            if then == len(self._text) or not (self._text[then] in "\"'" or _PREFIX.match(self._text, then)):
                return "".join(parts), at
            at = then

    def _string(self, at: int) -> tuple[str, int]:
        prefix = _PREFIX.match(self._text, at)
        kind = prefix.group().lower() if prefix else ""
        at += len(kind)
        quote = self._text[at]
        triple = quote != "`" and self._text.startswith(quote * 3, at)
        opening = 3 if triple else 1
        body = (_TRIPLE if triple else _BODY)[quote].match(self._text, at + opening)
        if body is None:
            raise Unreadable("unterminated string", len(self._text), ended=True)
        said = body.group()[:-opening]
        if "r" not in kind and "\\" in said:
            said = _ESCAPE.sub(_unescaped, said)
        if "b" in kind:
            said = said.encode("latin-1", "replace").decode("utf-8", "replace")
        return said, body.end()


def _unescaped(match: re.Match[str]) -> str:
    braced, short, long, byte, octal, other = match.groups()
    if code := braced or short or long or byte:
        number = int(code, 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    if octal:
        return chr(int(octal, 8))
    if other in _SINGLE:
        return _SINGLE[other]
    return str(other) if other in _ITSELF else match.group()


def _number(match: re.Match[str]) -> int | float | None:
    said = match.group().replace("_", "").rstrip("nL")
    try:
        if "x" in said.lower():
            return int(said, 16)
        if said.lstrip("+-").isdigit():
            return int(said)
        return finite(said)
    except ValueError:
        raise Unreadable("not a number", match.start()) from None


def _moment(items: list[int]) -> str:
    year, month, day, hour, minute, second = [*items[:6], 0, 0, 0, 0, 0, 0][:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00"


def _more(match: re.Match[str]) -> str:
    return f"<unread [{match.group()}]>"
