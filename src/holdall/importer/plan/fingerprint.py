"""How an object of the account looked when a run last wrote it: a fingerprint a field. Pure.

With it an undo sees what others have changed since, and names the fields, while the journal stays small: instructions
have up to 256,000 characters. Only fields that a client can set count; a server moves others by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from holdall.dialects.shapes import UNSET, reduced
from holdall.kinds import KINDS
from holdall.model import Kind

__all__ = ["changed", "fingerprint", "image"]

_encoder = msgspec.json.Encoder(order="sorted")


def image(kind: Kind, found: Mapping[str, Any], added: Container[str] = ()) -> dict[str, str]:
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
