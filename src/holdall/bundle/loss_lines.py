"""The lines of ``data/losses.jsonl``: what the source had and the bundle hasn't, and no ledger line says."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdall.bundle.bag import LINE_VALUES
from holdall.bundle.layout import Message
from holdall.bundle.totals import known_reason
from holdall.kinds import DEFINITIONS, KINDS, noun
from holdall.model import Kind
from holdall.untrusted import read_unique, require_plain
from holdall.verdict import Reason

LOSS_KINDS = 1
"""The last minor version whose kinds a loss names as its ``kind``; the word for a later one is a part of the reason,
because a reader of that version refuses a kind that it doesn't know."""

_IN_LEDGER = frozenset({Reason.TEXTS_CUT, Reason.BELOW_MINIMUM, Reason.DOUBTFUL})
_DEFINITIONS = frozenset(DEFINITIONS)
# The kinds of objects that a loss of each reason is about.
_KINDS: dict[str, frozenset[Kind]] = {
    Reason.FILES: frozenset({Kind.FILE}),
    Reason.STORES: frozenset({Kind.STORE}),
    Reason.CHANGED: _DEFINITIONS,
    Reason.TEMPLATES: frozenset({Kind.TEMPLATE}),
    Reason.VARIABLES: frozenset({Kind.FOUNDRY_AGENT}),
    Reason.RECORDS: frozenset(Kind),
    Reason.KEYS: frozenset(Kind),
    Reason.REFERENCES: frozenset(Kind),
}
# Losses of these reasons name what is not in the bundle, those of the others what is.
GONE = frozenset({Reason.FILES, Reason.STORES, Reason.RECORDS})
HELD = frozenset({Reason.KEYS, Reason.REFERENCES, Reason.CHANGED, Reason.TEMPLATES, Reason.VARIABLES})


class LossLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``data/losses.jsonl``: something that the source had and the bundle hasn't, and no ledger line says.

    ``reason`` is a ``verdict.Reason``, or that of a newer writer; ``id`` the id or path of what it is about, ``kind``
    what that is, where it is an object. A kind that is newer than ``LOSS_KINDS`` stands behind the reason, as in
    ``records:skill``: ``why`` and ``about`` are both apart.
    """

    reason: str
    kind: Kind | None = None
    id: str | None = None
    message: Message = ""

    @classmethod
    def of(cls, why: str, about: Kind | None, id: str | None, message: str) -> LossLine:
        if about is not None and KINDS[about].since > LOSS_KINDS:
            return cls(reason=f"{why}:{about}", id=id, message=message)
        return cls(reason=why, kind=about, id=id, message=message)

    @property
    def why(self) -> str:
        return self.reason.partition(":")[0]

    @property
    def about(self) -> Kind | None:
        name = self.reason.partition(":")[2]
        return Kind(name) if name in _LATER_KINDS else self.kind


_LATER_KINDS = frozenset(kind for kind, row in KINDS.items() if row.since > LOSS_KINDS)


_decoder = msgspec.json.Decoder(LossLine)


def loss_line(raw: bytes) -> LossLine:
    """A line of the losses; ValueError where it is over a limit."""
    require_plain(raw)
    return _decoder.decode(raw)


def loss_faults(raw: bytes, line: LossLine) -> Iterator[str]:
    """A line of the losses. Raises ValueError as ``read_unique`` does."""
    fields = read_unique(raw, values=LINE_VALUES)
    if not line.reason:
        yield "no reason"
    if "kind" in fields and fields["kind"] is None:
        yield "kind is null; it must be left out instead"
    if line.kind is not None and LossLine.of(line.why, line.kind, None, "").kind is None:
        yield f"kind is {line.kind}, which must be a part of the reason instead"
    if line.why in _IN_LEDGER:
        yield f"reason {line.reason} belongs in the ledger"
    kinds = _KINDS.get(line.why)  # of what a newer writer knows, none
    if kinds and (line.about not in kinds or line.id is None):
        yield f"reason {line.reason} without a matching object"


def told(line: LossLine) -> str:
    """What is lost, and why. A server's message alone may not name it."""
    what = " ".join(part for part in (line.about and noun(line.about), line.id) if part)
    if not what or (line.id and line.id in line.message):
        return line.message or f"{line.reason}"
    if line.about and known_reason(line.reason) in (Reason.FILES, Reason.RECORDS):
        what = f"{what} missing"
    return f"{what}: {line.message}" if line.message else what
