"""A value for a JSON schema: what the sandbox puts where a model would have to think of something."""

from __future__ import annotations

import re
from typing import Any

# Schemas refer to themselves, several times in each place; nobody needs more than this of one: so deep, so many
# values, and so many letters in each.
_DEEPEST = 12
_MOST = 1000
_LONGEST = 4000


def specimen(schema: Any, words: str) -> Any:
    """A value of the schema: what it fixes itself, else ``words`` for text and the numbers in them for numbers.

    Only what values are made of is looked at (types, enums, constants, references), not their bounds.
    """
    return _Maker(schema if isinstance(schema, dict) else {}, words).make(schema, 0)


class _Maker:
    def __init__(self, root: dict[str, Any], words: str) -> None:
        self._root = root
        self._words = words[:_LONGEST]
        self._lower = self._words.lower()
        self._numbers = re.findall(r"(?<!\d)-?\d{1,15}(?:\.\d{1,15})?(?!\d)", self._words)
        self._left = _MOST

    def make(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            told = (each for each in schema["enum"] if isinstance(each, str) and each.lower() in self._lower)
            return next(told, schema["enum"][0])
        if isinstance(schema.get("$ref"), str):
            return self.make(self._referred(schema["$ref"]), depth + 1)
        for several in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(several), list) and schema[several]:
                return self.make(schema[several][0], depth + 1)
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind == "object":
            found = schema.get("properties")
            properties = found if isinstance(found, dict) else {}
            return {name: self.make(each, depth + 1) for name, each in properties.items()}
        if kind == "array":
            return [self.make(schema["items"], depth + 1)] if depth < _DEEPEST and "items" in schema else []
        number = float(next(iter(self._numbers), 0))
        plain = {"integer": int(number), "number": number, "boolean": True, "null": None}
        return plain[kind] if isinstance(kind, str) and kind in plain else self._words

    def _referred(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/", _DEEPEST):
            found = found.get(part) if part and isinstance(found, dict) else found
        return found
