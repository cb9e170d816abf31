"""What of the copy isn't what the bundle says, field by field, and when two JSON values count as equal. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from holdall.dialects import agents
from holdall.dialects import assistants as dialect
from holdall.dialects.marks import unmarked
from holdall.dialects.shapes import known, narrowed
from holdall.dialects.tables import DEFAULTS
from holdall.model import Kind, SourceId, TargetId

__all__ = ["PRESENT", "UNSET", "Difference", "differences", "equal", "final", "top_fields", "without_empty"]

# Characters of a value that are shown.
_LONGEST = 200

UNSET: dict[str, Any] = {"name": None, "expires_after": None}
"""What a store has where the request that makes it leaves a field out."""


PRESENT = "present"
"""The bundle's side of a difference where the thing itself is not there."""


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
        return f"{who}{where}: {self._values()}"

    @property
    def absent(self) -> bool:
        """Whether the thing itself is not there, and not a value of it another."""
        return self.bundle == PRESENT and self.field in (self.kind.value, "request")

    def told(self) -> str:
        """The same for who knows already of which assistant or store this is."""
        return f"{self.name or self.source}: {self._values()}" if self.inside else self._values()

    def _values(self) -> str:
        return f"{self.field}: {self.values()}"

    def values(self) -> str:
        """Both values, for people."""
        here, there = _shown(self.bundle, self.destination)
        return f"bundle {here}, destination {there}"


def final(request: dialect.Request) -> dict[str, Any]:
    """What an object has once it is created and updated."""
    return {**request.body, **(request.update or {})}


def differences(
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    kind: Kind,
    source: SourceId,
    target: TargetId | None,
    name: str | None,
    added: Container[str] = (),
) -> list[Difference]:
    """``found`` against each field of ``expected``, metadata key by key.

    Our own marks don't count, nor do the metadata keys ``added`` that the server puts in by itself, nor what it adds to
    the API's own objects.
    """
    seen: list[Difference] = []

    def differ(field: str, here: Any, there: Any) -> None:
        if not equal(here, there):
            seen.append(
                Difference(
                    kind=kind, source=source, target=target, name=name, field=field, bundle=here, destination=there
                )
            )

    for field, here in expected.items():
        there = found.get(field) if kind is Kind.AGENT else known(field, here, found.get(field))
        match field:
            case "metadata":
                own, theirs = unmarked(here), unmarked(there)
                for key in {**own, **theirs}:
                    if key not in added:
                        differ(f"metadata.{key}", own.get(key), theirs.get(key))
            case _ if kind is Kind.AGENT:
                # Servers show defaults as null, or leave them out.
                differ(field, agents.without_nulls(here) or None, agents.without_nulls(there) or None)
            case "tool_resources":
                differ(field, without_empty(here), without_empty(there))
            case "tools":
                ours, theirs = agents.without_nulls(here or []), agents.without_nulls(there or [])
                differ(field, ours, _defaults_aside(ours, theirs))
            case "response_format":
                # Null is the default, and some servers show the one, some the other.
                differ(field, agents.without_nulls(here) or "auto", agents.without_nulls(there) or "auto")
            case "name":
                # Servers call what has no name "" or null.
                differ(field, here or None, there or None)
            case _ if field in DEFAULTS and there in (None, DEFAULTS[field]):
                # Null is the default, and some models show the one, some the other.
                differ(field, here, here if here in (None, DEFAULTS[field]) else there)
            case _:
                differ(field, here, there)
    return seen


def top_fields(found: Iterable[Difference]) -> list[str]:
    """The top-level fields that differ, each once: ``metadata`` for ``metadata.k``."""
    return list(dict.fromkeys(difference.field.partition(".")[0] for difference in found))


def _defaults_aside(here: list[Any], there: list[Any]) -> list[Any]:
    """``there`` without what a server adds to a file_search tool whose settings the bundle leaves open."""
    if len(here) != len(there):
        return there
    return [
        narrowed(a, b) if isinstance(a, dict) and a.get("type") == "file_search" else b
        for a, b in zip(here, there, strict=True)
    ]


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
