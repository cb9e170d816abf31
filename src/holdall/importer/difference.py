"""One value of the copy that isn't what the bundle says, and when two JSON values count as equal. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from holdall.model import Kind, SourceId, TargetId

__all__ = ["Difference", "equal", "without_empty"]

# Characters of a value that are shown.
_LONGEST = 200


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value that is not what the bundle says. ``bundle`` and ``destination`` are the two, as JSON values."""

    kind: Kind
    source: SourceId
    target: TargetId | None = None
    name: str | None = None
    inside: SourceId | None = None
    field: str
    bundle: Any = None
    destination: Any = None

    def __str__(self) -> str:
        who = f"{self.kind.replace('_', ' ')} {f'{self.name} ({self.source})' if self.name else self.source}"
        where = f" in {self.inside}" if self.inside else ""
        here, there = _shown(self.bundle, self.destination)
        return f"{who}{where}: {self.field}: bundle {here}, destination {there}"


def without_empty(value: Any) -> Any:
    """Objects without members that are null or empty: ``{}`` and ``{"file_ids": []}`` say the same."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, [], {})}
    return {} if value is None else value


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: 3 is 3.0, but 1 is not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _shown(*values: Any) -> list[str]:
    """The values for people; long ones are cut to where they begin to differ."""
    texts = [msgspec.json.encode(value).decode() for value in values]
    if max(map(len, texts)) <= _LONGEST:
        return texts
    same = next((n for n, chars in enumerate(zip(*texts, strict=False)) if len(set(chars)) > 1), min(map(len, texts)))
    start = max(0, same - _LONGEST // 4)
    return [
        f"{'…' if start else ''}{text[start : start + _LONGEST]}{'…' if len(text) > start + _LONGEST else ''}"
        for text in texts
    ]
