"""What is written down for an assistant where no server keeps it: two files, under names that any file system takes.

``<name>-<id>.json`` is the request and nothing else, so that it can be read and sent as it is;
``<name>-<id>.about.json`` is what has no place in it: who it was, which ids of the copy stand for which, what is lost.
Both are JSON and nothing is ever written as code: names, instructions and schemas come out of a bundle that anybody may
have made. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import count
from typing import Any

import msgspec

from holdall.bundle.names import MAX_NAME, Taken, numbered, safe_name
from holdall.dialects.loss import Loss
from holdall.dialects.registry import definition
from holdall.dialects.responses import RESPONSES
from holdall.dialects.tables import Targets
from holdall.model import AssistantView, Record, SourceId

FOLDER = "responses"
"""Where they lie, in OUTPUT_DIR."""

ABOUT = ".about.json"
"""What the name of the second file ends in."""

VERSION = 1

_REQUEST = ".json"
_NEW = ".new"
# So that a number fits behind the longest ending.
_LONGEST = MAX_NAME - len(f"{ABOUT}{_NEW}-99")
_LONGEST_ID = 48


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The two files of one assistant, by their bytes."""

    request: bytes
    about: bytes


def paths(assistants: Iterable[Record], prefix: str) -> dict[SourceId, str]:
    """The path of each assistant's request, below OUTPUT_DIR, with ``/``. The same for all selections of a bundle."""
    taken = Taken()
    found: dict[SourceId, str] = {}
    for record in assistants:
        name = AssistantView.of(record).name
        stem = _stem(prefix + name if name else "", record.id)
        for number in count(1):
            one = numbered(stem, number, limit=_LONGEST)
            # Both names, because of two assistants one may be called what the other's second file is.
            if taken.add(one + _REQUEST) and taken.add(one + ABOUT):
                found[record.id] = f"{FOLDER}/{one}{_REQUEST}"
                break
    return found


def candidates(path: str) -> Iterator[tuple[str, str]]:
    """The paths of a request and of what is about it, in the order in which they are tried: the last one is free."""
    about = path.removesuffix(_REQUEST) + ABOUT
    yield path, about
    for number in count(1):
        ending = _NEW if number == 1 else f"{_NEW}-{number}"
        yield path + ending, about + ending


def compose(
    record: Record,
    path: str,
    *,
    prefix: str,
    model: str | None,
    targets: Targets,
    losses: Iterable[Loss],
    destination: Mapping[str, str | None],
) -> Pair:
    """The two files. ``losses`` are those that the plan knows, ``targets`` what the request refers to."""
    draft = definition(record, prefix=prefix, targets=targets, model=model, table=RESPONSES)
    about: dict[str, Any] = {
        "holdall_about": VERSION,
        "request": path.rpartition("/")[2],
        **draft.kept,
        "destination": dict(destination),
        "vector_stores": dict(targets.stores),
        "files": dict(targets.files),
        "losses": [{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in losses],
        "left_out": draft.left_out,
    }
    return Pair(request=_document(draft.body), about=_document(about))


def sha256_of(data: bytes) -> str:
    return sha256(data).hexdigest()


def _document(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _stem(name: str, id: str) -> str:
    tail = safe_name(id, limit=_LONGEST_ID)
    if not name:
        return tail
    return safe_name(f"{safe_name(name, limit=_LONGEST - len(tail.encode()) - 1)}-{tail}", limit=_LONGEST)
