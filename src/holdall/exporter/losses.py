"""Findings as they come: all counted, as many kept as a person can read, and all written down.

Nothing is lost with what isn't kept: a content's line is in the bundle's ledger, every other finding becomes a line of
``data/losses.jsonl``. A hundred thousand findings would otherwise be as many values in memory and lines in a report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from holdall.bundle.layout import LossLine
from holdall.bundle.sorting import Sorter
from holdall.bundle.totals import reason_of
from holdall.bundle.writer import BundleWriter
from holdall.exporter.policy import Policy
from holdall.exporter.report import (
    Absent,
    Changed,
    ContentLoss,
    Doubtful,
    Finding,
    Incomplete,
    LeftOut,
    Miscount,
    Replaced,
    UnfinishedList,
    UnreadField,
    describe,
)
from holdall.model import Kind
from holdall.verdict import Reason, Verdict

__all__ = ["Losses", "line_of", "reason", "same_loss"]

_KEPT = 1000
_LONGEST = 4000
"""Characters of a message, or of the path of a list, that a bundle keeps."""
_encode = msgspec.json.Encoder().encode


class Losses:
    """The findings of one export. Those that the policy doesn't accept are never pushed out by others."""

    def __init__(self, policy: Policy, *, kept: int = _KEPT) -> None:
        self._policy, self._room = policy, kept
        self._grave: list[Finding] = []
        self._light: list[Finding] = []
        self._lines = Sorter()
        self._reasons: Counter[Reason] = Counter()
        self._accepted: Counter[Reason] = Counter()
        self.total = 0
        """All findings."""
        self.counting = 0
        """Those that the policy doesn't accept."""

    def add(self, finding: Finding, *, in_ledger: bool = False) -> None:
        """``in_ledger``: the file's line in the ledger says so too, so that it isn't counted again."""
        self.total += 1
        why = reason(finding, self._policy)
        grave = why is not None and not self._policy.accepts(finding)
        kept = self._grave if grave else self._light
        if len(kept) < self._room:
            kept.append(finding)
        if why is None or in_ledger:
            return
        self.counting += grave
        self._reasons[why] += 1
        self._accepted[why] += not grave
        if not isinstance(finding, ContentLoss | Doubtful):  # of which the ledger has a line
            self._lines.add(_encode(line_of(finding, why)))

    def __iter__(self) -> Iterator[Finding]:
        """The kept ones, those that count first."""
        return iter([*self._grave, *self._light])

    def verdict(self) -> Verdict:
        return Verdict(counts=dict(self._reasons), accepted=dict(+self._accepted))

    def write(self, writer: BundleWriter) -> None:
        """What no ledger line says, into the bundle; to be called once, when nothing more is added."""
        lines = self._lines.keys()
        if first := next(lines, None):
            with writer.open_losses() as sink:
                sink.write(first + b"\n")
                for line in lines:
                    sink.write(line + b"\n")
                sink.commit()
        self._lines.close()


def reason(finding: Finding, policy: Policy) -> Reason | None:
    """Why a finding is a loss; None for a content that is as faithful as the policy asks for, and
    for a file object that came out of a dump."""
    match finding:
        case ContentLoss(fidelity=fidelity, truncated=truncated):
            return reason_of(fidelity, truncated, policy.min_fidelity)
        case LeftOut(kind=Kind.FILE):
            return Reason.FILES
        case Absent(kind=Kind.FILE, held=True):
            return None
        case Absent(kind=Kind.STORE, held=True):
            return Reason.LISTS  # its files are those that the dump names
        case Absent(kind=Kind.STORE) | LeftOut():
            return Reason.STORES
        case Changed(how=how) if how != "added":
            return Reason.CHANGED
        case Miscount(counted=counted, found=found, what=what):
            return Reason.LISTS if counted > found and what != "bytes of a file" else Reason.COUNTS
        case Incomplete():
            return Reason.PAGES
        case UnfinishedList():
            return Reason.LISTS
        case UnreadField():
            return Reason.REFERENCES
        case Doubtful():
            return Reason.DOUBTFUL
        case Replaced():
            return Reason.KEYS
        case _:
            return Reason.RECORDS


def line_of(finding: Finding, why: Reason) -> LossLine:
    """The finding as the bundle has it."""
    kind = getattr(finding, "kind", None)
    about = getattr(finding, "id", None) or getattr(finding, "list", None) or getattr(finding, "dump", None)
    message = finding.message if isinstance(finding, Absent | LeftOut) else describe(finding)
    return LossLine(reason=why.value, kind=kind, id=about and about[:_LONGEST], message=message[:_LONGEST])


def same_loss(line: LossLine) -> bytes:
    """Equal for two lines of the same loss, in whatever words a server told it; another number is another loss."""
    said = line.message if line.reason in (Reason.COUNTS, Reason.LISTS) else ""
    return _encode((line.reason, line.kind, line.id, said))
