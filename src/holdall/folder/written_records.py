"""One record as the files of a folder, and back: indented JSON, and its instructions as Markdown.

Works on the text of the JSON: numbers, escapes and the order of fields stay as they were sent. A ``RecordStyle`` keeps
what the files don't show, so that unedited records keep their bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial

import msgspec

from holdall.untrusted import MAX_JSON, STRING, count_values, depth_of, require_plain, without_half_characters

_INDENT = 2
# Deep nesting makes hundreds of blanks of a byte: what would be so much wider is left as it was sent.
_WIDEST = 8
MOST_BYTES = _WIDEST * MAX_JSON
"""The longest file of a record."""
_RICH = 10_000

_STRING = rb'("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")'
_INLINE = re.compile(rb'^( +)"instructions": ' + _STRING + rb"(,?)$", re.MULTILINE)
_REFERRED = re.compile(rb'^(  |        )"instructions": \{\n\1  "\$file": ' + _STRING + rb"\n\1\}(,?)$", re.MULTILINE)
_INDENTED = re.compile(rb"\{\n( {1,64}+).*\n( {0,56}+)\}", re.DOTALL)
_MARK = "\ufeff"
_AS_SENT = "as sent"


class RecordStyle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a record was written.

    ``blanks``: ``compact``, ``spaced`` (one behind each comma and colon), ``N+M`` (indented by N, each line but the
    first by M more), or ``as sent``: the file has the record's own bytes. ``escapes``: those of the instructions;
    ``line_ends`` of the instructions: ``lf``, ``crlf``, or ``mixed``.
    """

    blanks: str = "compact"
    escapes: str = "utf-8"
    line_ends: str = "lf"


class RecordFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A record as files: the JSON, and the Markdown, None where the JSON has the instructions or there are none."""

    json: bytes
    markdown: bytes | None
    form: RecordStyle


def written(raw: bytes, markdown: str | None, level: int = 1) -> RecordFiles:
    """The files of a record, whose instructions go into one named ``markdown``; None for a kind without. ``level`` is
    in how many objects the instructions are, 1 or 4.

    ``joined`` makes the same bytes of them. What it could not is left in the JSON, or all of the record as sent.
    """
    for found in _attempts(raw, markdown, level):
        text = found.markdown or b""
        if joined(found.json, found.form, partial(_same, text)) == raw:
            return found
    return RecordFiles(json=raw + b"\n", markdown=None, form=RecordStyle(blanks=_AS_SENT))


def _attempts(raw: bytes, markdown: str | None, level: int) -> list[RecordFiles]:
    """What may do, the best first."""
    text, blanks = _formatted(raw, _INDENT), _blanks(raw)
    if text is None or blanks is None or _REFERRED.search(text):
        return []
    attempts = [RecordFiles(json=text + b"\n", markdown=None, form=RecordStyle(blanks=blanks))]
    blank = b" " * (_INDENT * level)
    inline = [found for found in _INLINE.finditer(text) if found[1] == blank] if markdown is not None else []
    if len(inline) == 1:
        _, literal, comma = inline[0].groups()
        said = json.loads(literal)
        escapes = next((name for name, escaped in _ESCAPES.items() if escaped(said) == literal), None)
        if said and escapes and not said.startswith(_MARK) and _is_text(said):
            name = json.dumps(markdown, ensure_ascii=False).encode()
            reference = b'%b"instructions": {\n%b  "$file": %b\n%b}%b' % (blank, blank, name, blank, comma)
            form = RecordStyle(blanks=blanks, escapes=escapes, line_ends=_line_ends(said))
            # One line end more, which editors add where it is missing.
            end = "\r\n" if form.line_ends == "crlf" else "\n"
            start, end_of_line = inline[0].span()
            text = text[:start] + reference + text[end_of_line:] + b"\n"
            attempts.insert(0, RecordFiles(json=text, markdown=(said + end).encode(), form=form))
    return attempts


def joined(text: bytes, form: RecordStyle, markdown: Callable[[str], bytes]) -> bytes:
    """The record of which ``text`` is the JSON file; ``markdown`` reads the file of a name, or raises ValueError.

    What was edited is indented and escaped as the record was. Raises ValueError where it is no JSON.
    """
    if form.blanks == _AS_SENT:
        return text.removesuffix(b"\n").removesuffix(b"\r")
    text = text.removeprefix(_MARK.encode())
    require_plain(text, longest=MOST_BYTES)
    try:
        even = _formatted(text, _INDENT)
    except msgspec.DecodeError as error:
        raise ValueError(_with_line(text, str(error))) from None
    if even is None:
        raise ValueError("nested too deeply to be indented")
    found = _REFERRED.findall(even)
    if len(found) == 1:
        blank, name, comma = found[0]
        said = _read(markdown(json.loads(name)), form.line_ends)
        literal = b'%b"instructions": %b%b' % (blank, _ESCAPES.get(form.escapes, _utf8)(said), comma)
        even = _REFERRED.sub(lambda _: literal, even)
    return _with_blanks(even, form.blanks)


def _formatted(text: bytes, indent: int) -> bytes | None:
    """JSON with other blanks: ``indent`` for each level, 0 for one line with blanks, -1 for none. None where it would
    be far larger."""
    values = count_values(text)
    if indent > 0 and values > _RICH and values * indent * depth_of(text) > _WIDEST * len(text):
        return None
    even = without_half_characters(text)
    made = msgspec.json.format(even, indent=indent)
    if even is not text:
        # msgspec reads no half of a surrogate pair: strings go through as they are, and in the same order.
        strings = STRING.finditer(text)
        made = STRING.sub(lambda _: next(strings)[0], made)
    return made if len(made) <= max(_WIDEST * len(text), MAX_JSON >> 10) else None


def _blanks(raw: bytes) -> str | None:
    """The ``RecordStyle.blanks`` of a record; None for any that isn't known."""
    for blanks, indent in (("compact", -1), ("spaced", 0)):
        if _formatted(raw, indent) == raw:
            return blanks
    if found := _INDENTED.fullmatch(raw):
        more = len(found[2])
        if 0 < (step := len(found[1]) - more) <= 8:
            return f"{step}+{more}"
    return None


def _with_blanks(even: bytes, blanks: str) -> bytes:
    """The opposite of ``_blanks``, of JSON with any blanks. What isn't known is ``compact``."""
    step, plus, more = blanks.partition("+")
    if plus and step.isdecimal() and more.isdecimal() and int(step) <= 8 and int(more) <= 64:
        made = _formatted(even, int(step)) if int(step) else None
        return (made or even).replace(b"\n", b"\n" + b" " * int(more))
    return _formatted(even, 0 if blanks == "spaced" else -1) or even


def _same(text: bytes, name: str) -> bytes:
    return text


def _utf8(said: str) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _ascii(said: str) -> bytes:
    return json.dumps(said).encode()


def _utf8_for_html(said: str) -> bytes:
    return re.sub("[<>&\u2028\u2029]", _escape, json.dumps(said, ensure_ascii=False)).encode("utf-8", "surrogatepass")


def _ascii_for_html(said: str) -> bytes:
    return b'"%b"' % re.sub(r"[^ !#-%(-*,-;=?-\[\]-_a-~]", _escape_dotnet, said).encode()


def _ascii_for_scripts(said: str) -> bytes:
    return json.dumps(said).replace("/", r"\/").encode()


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _escape_dotnet(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex().upper()
    return _SHORT.get(found[0]) or "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


_SHORT = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", "\\": r"\\"}

# How the JSON libraries of servers escape a text: C++ and Rust, Python, Go, .NET, PHP.
_ESCAPES: dict[str, Callable[[str], bytes]] = {
    "utf-8": _utf8,
    "ascii": _ascii,
    "utf-8, html": _utf8_for_html,
    "ascii, html": _ascii_for_html,
    "ascii, slashes": _ascii_for_scripts,
}


def _is_text(said: str) -> bool:
    try:
        said.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line_ends(said: str) -> str:
    if "\r" not in said:
        return "lf"
    rest = said.replace("\r\n", "")
    return "mixed" if "\r" in rest or "\n" in rest else "crlf"


def _read(data: bytes, line_ends: str) -> str:
    """The instructions in a Markdown file, whatever an editor made of its line ends. Raises ValueError."""
    text = data.decode().removeprefix(_MARK)
    if line_ends == "mixed":
        return text.removesuffix("\n")
    text = text.replace("\r\n", "\n").removesuffix("\n")
    return text.replace("\n", "\r\n") if line_ends == "crlf" else text


def _with_line(text: bytes, error: str) -> str:
    """msgspec's error with the line in place of the byte."""
    found = re.search(r" \(byte (\d+)\)$", error)
    if not found:
        return error
    line = text.count(b"\n", 0, int(found[1])) + 1
    return f"{error[: found.start()]} in line {line}"
