"""The digests of a bundle: equal where the state of the project is equal (docs/format.md, "Digests")."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind

# A number with a fraction or an exponent keeps the digits that the server sent: how a language prints a double is
# nothing to build a digest on.
_decoder = msgspec.json.Decoder(float_hook=lambda digits: msgspec.Raw(digits.encode()))
_encoder = msgspec.json.Encoder(order="sorted")


def record_hash(kind: Kind, raw: bytes) -> str:
    """sha256 over the canonical form of a record without its volatile fields; over ``raw`` where it has none."""
    try:
        try:
            value = _decoder.decode(raw)
        except msgspec.ValidationError:  # a whole number of more digits than Python reads
            value = json.loads(raw.decode(), parse_int=_as_sent, parse_float=_as_sent, parse_constant=_refuse)
        if isinstance(value, dict):
            for field in KINDS[kind].volatile:
                value.pop(field, None)
        raw = _encoder.encode(value)
    except (ValueError, RecursionError):
        # Not JSON that every reader understands alike (a lone surrogate, nesting without end): its bytes speak.
        pass
    return hashlib.sha256(raw).hexdigest()


def _as_sent(digits: str) -> msgspec.Raw:
    return msgspec.Raw(b"0" if digits == "-0" else digits.encode())


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def definition_line(kind: Kind, id: str, sha256: str, owner: str | None = None) -> bytes:
    """The line that a record adds to its kind's digest; that of a membership or a version names what it is of, too."""
    return _encoder.encode([kind, id, sha256] if owner is None else [kind, owner, id, sha256])


def content_line(id: str, fidelity: Fidelity, sha256: str) -> bytes:
    """The line that a content adds to the contents digest."""
    return _encoder.encode(["content", id, fidelity, sha256])


def digest_of(lines: Iterable[bytes]) -> str:
    """The digest over lines that come in ascending order of their bytes."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line + b"\n")
    return f"h1:{total.hexdigest()}"
