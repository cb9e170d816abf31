"""Finds the JSON values in a dump's text: strictly first, at any size, then tolerantly.

Tolerantly means values that are nearly JSON or printed by some language, also with text around them, which is skipped.
The number of tries and the bytes they read are bounded, so a text that is no dump costs seconds.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

import msgspec

from holdall.dumps.loose import Unreadable, encoded, finite, parse
from holdall.errors import UsageFault

LONGEST = 64 << 20
"""Characters that are read tolerantly."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BETWEEN = re.compile(r"[ \t\r\n,;\x1e\ufeff]*+")
# Where a value may begin in the midst of text: a container, a printed object, a string with a container in it. Of a
# dotted name the whole is tried once, from its first capital on.
_START = re.compile(
    r"[\[{]|(?:\bb|(?<!\w))[\"'](?=\\?[\[{])"
    r"|(?<![\w.])(?>[\w.]*?(?=\b[A-Z]))"
    r"(?P<name>[A-Z][\w.]*+(?:\[[^\[\](){}\n]*+\])?\(\s*+(?:\w++\s*+=(?!=)|[\[{\"']))"
)
# What begins as JSON does. The standard decoder is the fast way to read it, but each of its errors counts the lines.
_PLAIN = re.compile(r"\{\s*+(?:\"[^\"\\]{0,200}\"\s*+:|\})|\[\s*+[\[{\"\]]")
_MOST_FAILURES = 1000
# How many times the length of a text may be read in vain.
_PATIENCE = 2
_LEAST = 64 << 10
_MOST_TRIES = 300_000
_LENIENT = json.JSONDecoder(strict=False, parse_float=finite, parse_constant=lambda word: None)


class DumpText:
    """The values of one text, in order. The attributes are set once all have been read.

    ``error`` is that of the first value that isn't JSON, from which on the text is read tolerantly. ``cut`` is the line
    of a value that isn't finished at the end, ``passed`` the number of skipped characters.
    """

    def __init__(self, name: str, text: str) -> None:
        """``name`` is that of the dump, for what is raised."""
        self._name, self._text = name, text
        self.error = ""
        self.cut: int | None = None
        self.passed = 0
        self._failures = 0

    def values(self) -> Iterator[tuple[bytes, bool]]:
        """Each value as JSON, and whether it is the dump's own bytes. Raises UsageFault where what isn't JSON is too
        long, or too much like it."""
        decoder = json.JSONDecoder()
        position, end = 0, len(self._text)
        while True:
            between = _BETWEEN.match(self._text, position)
            position = between.end() if between else position
            if position == end:
                return
            try:
                _, stop = decoder.raw_decode(self._text, position)
                value = self._text[position:stop].encode()
                msgspec.json.decode(value, type=msgspec.Raw)
            except (ValueError, RecursionError, msgspec.DecodeError) as error:
                self.error = f"invalid JSON in the value that starts in line {self._line(position)} ({error})"
                break
            yield value, True
            position = stop
        if end - position > LONGEST:
            raise self._unusable(f"files over {LONGEST >> 20} MiB must be valid JSON")
        yield from self._scan(position)

    def _scan(self, position: int) -> Iterator[tuple[bytes, bool]]:
        """Values out of any text, from ``position`` on."""
        text, patience, tries = self._text, _PATIENCE * len(self._text) + _LEAST, _MOST_TRIES
        hopeless: set[int] = set()
        while (found := _START.search(text, position)) is not None:
            start = found.start(found.lastgroup or 0)
            if start in hopeless:
                self.passed += start + 1 - position
                position = start + 1
                continue
            try:
                value, begin, stop = self._one(start)
            except Unreadable as error:
                if error.ended and self.cut is None:
                    self.cut = self._line(start)
                tries -= 1
                if not tries:
                    raise self._unusable(f"it contains too many invalid values ({_MOST_TRIES})") from None
                patience -= error.position - start
                hopeless = {place for place in hopeless if place > start} | {*error.begun}
                # What failed may have whole values inside; once too much was read twice, what was read is left.
                after = max(error.position if error.deep or patience < 0 else start, start + 1)
                self.passed += after - position
                position = after
                continue
            self.passed += len(text[position:begin].strip())
            yield value
            position = stop
        self.passed += len(text[position:].strip())

    def _one(self, start: int) -> tuple[tuple[bytes, bool], int, int]:
        """The value that begins here, as JSON; where it begins and ends. Raises Unreadable."""
        text = self._text
        # Between quotes a shell has JSON as it is, a language with escapes of its own.
        for begin in (start + 1, start) if text[start] in "\"'" else (start,):
            if self._failures < _MOST_FAILURES and _PLAIN.match(text, begin):
                try:
                    value, stop = _LENIENT.raw_decode(text, begin)
                    break
                except (ValueError, RecursionError):
                    self._failures += 1
        else:
            value, stop = parse(text, start)
            if isinstance(value, str) and value[-1:] not in ("}", "]"):
                raise Unreadable("a string that contains no value", start + 1)
            begin = start
        try:
            raw = text[begin:stop].encode()
            msgspec.json.decode(raw, type=msgspec.Raw)
        except (ValueError, msgspec.DecodeError):
            return (encoded(value), False), begin, stop
        return (raw, True), begin, stop

    def _unusable(self, why: str) -> UsageFault:
        return UsageFault(f"can't use dump {self._name}: {self.error}; {why}")

    def _line(self, position: int) -> int:
        return self._text.count("\n", 0, position) + 1


def decoded(name: str, content: bytes) -> str:
    """The dump as text: by its byte order mark, else UTF-16 where every other byte is NUL, else UTF-8."""
    encoding = next((encoding for bom, encoding in _BOMS if content.startswith(bom)), None)
    if encoding is None:
        head = content[:64]
        if head[1::2].count(0) > len(head) // 3:
            encoding = "utf-16-le"
        elif head[::2].count(0) > len(head) // 3:
            encoding = "utf-16-be"
        else:
            encoding = "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageFault(f"can't use dump {name}: not text ({error.reason} at byte {error.start})") from None


_LOOKS = (
    (r"@\{|System\.Object\[\]|^id\s{2,}: asst_", "it looks like PowerShell's output: use ConvertTo-Json -Depth 100"),
    (r"\[(?:Object|Array)\]|\.\.\. \d+ more item", "it looks like console.log, which omits nested values: print "
     "JSON.stringify(value, null, 2) instead"),
    (r"<[\w.]+ object at 0x\w+>", "it looks like a printed Python object: print value.model_dump_json() instead"),
    (r"\A\s*+(?:<!doctype|<html|<\?xml)", "it looks like a web page, perhaps a login page"),
    (r"\A---[ \t\r]*+\n(?:[^\n]*+\n)*?---[ \t\r]*+(?:\n|\Z)", "it looks like Markdown with YAML front matter: "
     "convert that with yq --front-matter=extract -o=json . FILE, and add the text as \"instructions\""),
    (r"\b\w+\{id=", "it looks like Java's toString: write JSON instead"),
)  # fmt: skip
_HEAD = 1 << 20
_YAML = "it looks like YAML: convert it with yq -o=json . FILE"
_KEY = re.compile(r"[ \t]*+(?:-[ \t]++)?(?:\w[\w.-]*+|\"[^\"]*+\"|'[^']*+')[ \t]*+:(?:\s|$)")
# A blank or indented line, a comment, a border of a document, or an item of a list.
_AT_MARGIN = re.compile(r"\s|$|#|---|\.\.\.|%|-(?:\s|$)")
_LINES = 1000
"""That tell whether it is YAML."""


def looks_like(text: str) -> str:
    """What a text without JSON seems to be, and the command that gives JSON; empty if unknown."""
    head = text[:_HEAD]
    words = (words for shape, words in _LOOKS if re.search(shape, head, re.MULTILINE | re.IGNORECASE))
    return next(words, _YAML if _is_yaml(head) else "")


def _is_yaml(head: str) -> bool:
    """Whether all lines that begin at the margin are YAML's, and two lines have a key: prose with a colon is none."""
    lines = head.splitlines()[:_LINES]
    keys = sum(bool(_KEY.match(line)) for line in lines)
    return keys > 1 and all(_KEY.match(line) or _AT_MARGIN.match(line) for line in lines)
