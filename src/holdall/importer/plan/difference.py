"""How an object at a destination compares: with what the bundle says of it, and with how a run left it. Pure.

Both go field by field, over the fields that a client can set; a server moves others by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from holdall.dialects.assistants import Request
from holdall.dialects.marks import unmarked
from holdall.dialects.shapes import UNSET, equal, reduced
from holdall.kinds import KINDS, noun
from holdall.model import Kind, SourceId, TargetId

__all__ = [
    "PRESENT",
    "Difference",
    "changed",
    "differences",
    "equal",
    "final",
    "fingerprint",
    "fingerprints",
    "same",
    "top_fields",
]


# Characters of a value that are shown.
_LONGEST = 200


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
        who = f"{noun(self.kind)} {f'{self.name} ({self.source})' if self.name else self.source}"
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


def final(request: Request) -> dict[str, Any]:
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
    """``found`` against ``expected``, in every field that a client can set, metadata key by key.

    Our own marks don't count, nor do the metadata keys ``added`` that the server puts in by itself.
    """
    seen: list[Difference] = []

    def differ(field: str, here: Any, there: Any) -> None:
        seen.append(
            Difference(kind=kind, source=source, target=target, name=name, field=field, bundle=here, destination=there)
        )

    model = expected.get("model") or found.get("model")
    # A store's description is never shown by servers that keep it.
    unseen = {"description"} if kind is Kind.STORE and "description" not in found else set()
    for field in dict.fromkeys((*expected, *UNSET[kind])):
        here, there = expected.get(field), found.get(field)
        if field == "metadata":
            own, theirs = unmarked(here), unmarked(there)
            for key in {**own, **theirs}:
                if key not in added and not equal(own.get(key), theirs.get(key)):
                    differ(f"metadata.{key}", own.get(key), theirs.get(key))
        elif field not in unseen and not same(kind, field, here, there, model=model):
            differ(field, here, there)
    return seen


def same(
    kind: Kind, field: str, here: Any, there: Any, *, model: str | None = None, added: Container[str] = ()
) -> bool:
    """Whether ``there``, what a server shows in a field, says what ``here`` says: the one comparison for all.

    Attributes ``added`` are the server's own.
    """
    if field == "attributes":
        there = {key: value for key, value in (there or {}).items() if key in (here or {}) or key not in added}
    wanted = reduced(kind, field, here, beside=here, model=model)
    return equal(wanted, reduced(kind, field, there, beside=here, model=model))


def top_fields(found: Iterable[Difference]) -> list[str]:
    """The top-level fields that differ, each once: ``metadata`` for ``metadata.k``."""
    return list(dict.fromkeys(difference.field.partition(".")[0] for difference in found))


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


_encoder = msgspec.json.Encoder(order="sorted")


def fingerprints(kind: Kind, found: Mapping[str, Any], added: Container[str] = ()) -> dict[str, str]:
    """The fingerprints of what can be set in an object, as the account shows it; fields that say no more than their
    default have none.

    What the server adds by itself doesn't count: the keys ``added`` to metadata and attributes, and whatever the API's
    own objects don't have.
    """
    prints = {field: _fingerprint(kind, field, found.get(field), added) for field in _settable(kind)}
    return {field: text for field, text in prints.items() if text}


def changed(kind: Kind, then: Mapping[str, str], found: Mapping[str, Any], added: Container[str] = ()) -> list[str]:
    """The fields in which ``found`` isn't what it was when its image ``then`` was taken; ``added`` as in ``image``.

    An image of fields as they were shown, with their defaults, says the same: runs before this one took such.
    """
    return [
        field
        for field in _settable(kind)
        if then.get(field, "")
        not in (_fingerprint(kind, field, found.get(field), added), fingerprint(_own(field, found.get(field), added)))
    ]


def _settable(kind: Kind) -> Iterable[str]:
    """What a client can set and an answer shows. Nothing of a file can be changed once it is there."""
    return (*(("model",) if KINDS[kind].has_model else ()), *UNSET[kind])


def _fingerprint(kind: Kind, field: str, value: Any, added: Container[str]) -> str:
    return fingerprint(reduced(kind, field, _own(field, value, added)))


def _own(field: str, value: Any, added: Container[str]) -> Any:
    if field in ("metadata", "attributes") and isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in added}
    return value


def fingerprint(value: Any) -> str:
    """64 bits in hex, equal for equal JSON values: 3 is 3.0, and null, ``""``, ``[]`` and ``{}`` all give ``""``."""
    value = _plain(value)
    if value is None:
        return ""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """``value`` with whole floats as integers and without members that are null or empty; None if nothing is left."""
    if isinstance(value, dict):
        kept = {key: plain for key, item in value.items() if (plain := _plain(item)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_plain(item) for item in value] or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value == "" else value
