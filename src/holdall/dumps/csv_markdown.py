"""Dumps in CSV (a table of assistants) and Markdown (one definition).

A row of a table is an object. In Markdown, the fields are YAML between two lines of dashes, and the text below is the
instructions. Only the YAML that such tools write is read: mappings, sequences, scalars on lines, JSON inside. Anything
else (anchors, tags, several documents) is not read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

from holdall.dumps.loose import DEEPEST, Unreadable, parse
from holdall.dumps.normal import api_name

_NUMBER_COLUMNS = frozenset({"temperature", "top_p", "created_at", "created"})
_TELLING = frozenset({"instructions", "tools", "system_prompt", "file_ids", "object"})
_LONGEST_CELL = 16 << 20

_PARTS = re.compile(r"\s*---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)(.*)\Z", re.DOTALL)
_KEY = re.compile(r"(\"(?:[^\"\\]|\\.)*+\"\s*+|'[^']*+'\s*+|[^\s\"'#&*!|>%@`{}\[\],?-][^:#]*+):(?:\s++(.*))?")
_COMMENT = re.compile(r"(?<!\s)\s++#.*")
_NUMBER = re.compile(r"[+-]?(?:\d+|\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?")
_BLOCK = re.compile(r"([|>])([+-]?)(?:\s+#.*)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def rows(text: str) -> Iterator[dict[str, Any]]:
    """The rows of a table of assistants; none if the first line isn't its header. An empty cell is null."""
    head = text[: text.find("\n") + 1].strip().lstrip("\ufeff")
    if not head or head[0] in "{[":
        return
    mark = max(",;\t", key=head.count)
    names = [api_name(name) for name in next(csv.reader([head], delimiter=mark))]
    if len(names) < 2 or "model" not in names or not _TELLING & set(names):
        return
    csv.field_size_limit(_LONGEST_CELL)
    try:
        for cells in list(csv.reader(text.lstrip("\ufeff").splitlines(keepends=True), delimiter=mark))[1:]:
            if len(cells) == len(names):
                yield {name: _cell(name, cell) for name, cell in zip(names, cells, strict=True) if name}
    except csv.Error:
        return


def _cell(name: str, cell: str) -> Any:
    if not cell or cell in ("NULL", "\\N"):
        return None
    if name in _NUMBER_COLUMNS:
        try:
            return float(cell) if "." in cell else int(cell)
        except ValueError:
            pass
    return cell


class _Beyond(Exception):
    """YAML that isn't read here."""


def definition(text: str) -> dict[str, Any] | None:
    """The fields, with the text as ``instructions`` if they have none; None if it isn't such a definition."""
    if not text[:100].lstrip().startswith("---"):
        return None
    parts = _PARTS.match(text.replace("\r\n", "\n"))
    if parts is None:
        return None
    try:
        fields = _Lines(parts[1]).value(0, 0)
    except (_Beyond, Unreadable):
        return None
    if not isinstance(fields, dict) or "model" not in {api_name(str(key)) for key in fields}:
        return None
    return {**fields, "instructions": fields.get("instructions") or parts[2].strip("\n")}


class _Lines:
    def __init__(self, text: str) -> None:
        self._lines = [line.rstrip() for line in text.split("\n")]
        self._at = 0

    def value(self, least: int, depth: int) -> Any:
        """The value of the next lines indented by ``least`` or more; None if there are none."""
        indent = self._indent()
        if indent is None or indent < least:
            return None
        if depth > DEEPEST:
            raise _Beyond
        return self._sequence(indent, depth) if self._is_item() else self._mapping(indent, depth)

    def _indent(self) -> int | None:
        """That of the next line with something in it."""
        while self._at < len(self._lines) and self._lines[self._at].lstrip()[:1] in ("", "#"):
            self._at += 1
        if self._at == len(self._lines):
            return None
        line = self._lines[self._at]
        return len(line) - len(line.lstrip(" "))

    def _is_item(self) -> bool:
        return re.match(r" *-(?: |$)", self._lines[self._at]) is not None

    def _sequence(self, indent: int, depth: int) -> list[Any]:
        found = []
        while self._indent() == indent and self._is_item():
            line = self._lines[self._at]
            rest = line[indent + 1 :].lstrip()
            if rest and (_KEY.fullmatch(rest) or re.match(r"-(?: |$)", rest)):
                self._lines[self._at] = " " * (len(line) - len(rest)) + rest
                found.append(self.value(indent + 1, depth + 1))
            else:
                self._at += 1
                found.append(self._scalar(rest, indent) if rest else self.value(indent + 1, depth + 1))
        return found

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._indent() == indent and not self._is_item():
            key = _KEY.fullmatch(self._lines[self._at].strip())
            if key is None:
                raise _Beyond(self._lines[self._at])
            self._at += 1
            name = key[1].rstrip()
            name = name[1:-1] if name[0] in "\"'" else name
            rest = _COMMENT.sub("", f" {key[2] or ''}").strip() if (key[2] or "#")[0] == "#" else key[2].strip()
            if rest:
                found[name] = self._scalar(rest, indent)
            else:
                same = self._indent() == indent and self._is_item()
                found[name] = self.value(indent if same else indent + 1, depth + 1)
        if (after := self._indent()) is not None and after > indent:
            raise _Beyond(self._lines[self._at])
        return found

    def _scalar(self, said: str, indent: int) -> Any:
        """A value that begins on the line of its key; lines that are indented more continue it."""
        if block := _BLOCK.fullmatch(said):
            return self._block(block, indent)
        if said[0] in "&*!%@`":
            raise _Beyond(said)
        if said[0] in '"{[':
            value, end = parse(said, 0)
            if said[end:].strip() and not said[end:].lstrip().startswith("#"):
                raise _Beyond(said)
            return value
        lines = [said]
        while (deeper := self._indent()) is not None and deeper > indent:
            lines.append(self._lines[self._at].strip())
            self._at += 1
        text = " ".join(lines)
        if text[0] == "'":
            if len(text) < 2 or text[-1] != "'":
                raise _Beyond(text)
            return text[1:-1].replace("''", "'")
        text = _COMMENT.sub("", text)
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _NUMBER.fullmatch(text):
            try:
                return int(text) if text.lstrip("+-").isdigit() else float(text)
            except ValueError:  # more digits than Python reads
                raise _Beyond(text[:100]) from None
        return text

    def _block(self, block: re.Match[str], indent: int) -> str:
        lines: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                break
            lines.append(line)
            self._at += 1
        inner = min((len(line) - len(line.lstrip(" ")) for line in lines if line), default=0)
        lines = [line[inner:] for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        text = "\n".join(lines)
        if block[1] == ">":
            text = re.sub(r"(?<!\n)\n(?!\n)", " ", text).replace("\n\n", "\n")
        return text if block[2] == "-" else f"{text}\n"
