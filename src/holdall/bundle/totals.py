"""The totals in ``holdall.json``: counts, fidelities, digests, and losses against the project as exported.

Digests are equal where the state of the project is equal (docs/format.md, "Digests").
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from holdall.bundle.layout import Capture, Digests, FidelityCount, HoldallInfo, IndexEntry, LedgerLine
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind
from holdall.safe_files import Closing
from holdall.spilling import Sorter
from holdall.verdict import Reason, Verdict

_FIDELITIES = list(Fidelity)
_DEFAULT_MINIMUM = Fidelity.TEXT
_COUNT_AND_DIGEST = {kind: (row.count, row.digest) for kind, row in KINDS.items()}


class BundleTotals(Closing):
    """Totals of a bundle that is written, verified or only planned. A context manager.

    Memory is flat: the digests' lines are sorted on disk. Add nothing after ``digests``.
    """

    def __init__(self, minimum: Fidelity = _DEFAULT_MINIMUM) -> None:
        """A content of less than ``minimum`` is a loss."""
        self._minimum = minimum
        self._lines = {"definitions": Sorter(), "contents": Sorter()}
        self._counts = Counter(dict.fromkeys((*(row.count for row in KINDS.values()), "entries", "bytes"), 0))
        self._files: Counter[Fidelity] = Counter()
        self._bytes: Counter[Fidelity] = Counter()
        self._losses: Counter[str] = Counter()

    def close(self) -> None:
        for lines in self._lines.values():
            lines.close()

    def record(self, kind: Kind, id: str, sha256: str, owner: str | None = None) -> None:
        """A record, by its hash (``record_hash``); a membership or a version with what it is of."""
        count, digest = _COUNT_AND_DIGEST[kind]
        self._counts[count] += 1
        if (lines := self._lines.get(digest)) is None:
            lines = self._lines[digest] = Sorter()
        lines.add(definition_line(kind, id, sha256, owner))

    def content(self, id: str, fidelity: Fidelity, sha256: str) -> None:
        self._lines["contents"].add(content_line(id, fidelity, sha256))

    def entry(self, entry: IndexEntry) -> None:
        """A line of the index; records are taken by themselves."""
        self._counts["entries"] += 1
        self._counts["bytes"] += entry.size
        if entry.fidelity is not None and entry.id is not None:
            self.content(entry.id, entry.fidelity, entry.sha256)

    def ledger(self, line: LedgerLine) -> None:
        self._files[line.fidelity] += 1
        self._bytes[line.fidelity] += line.size or 0
        if reason := reason_of(line.fidelity, line.truncated, self._minimum):
            self.loss(reason)
        if line.doubt:
            self.loss(Reason.DOUBTFUL)

    def loss(self, reason: str) -> None:
        self._losses[reason] += 1

    def counts(self) -> dict[str, int]:
        """By the names in ``holdall.json``, zeros included."""
        return dict(self._counts)

    def fidelities(self) -> dict[str, FidelityCount]:
        """Of those that occur."""
        return {
            fidelity: FidelityCount(files=self._files[fidelity], bytes=self._bytes[fidelity])
            for fidelity in Fidelity
            if self._files[fidelity]
        }

    def losses(self) -> dict[str, int]:
        return {str(reason): count for reason, count in sorted(self._losses.items())}

    def digests(self) -> Digests:
        """A kind with its own digest has one only if there are any of it."""
        return Digests(**{name: digest_of(lines.keys()) for name, lines in self._lines.items()})


def capture_of(info: HoldallInfo, *, tool: str) -> Capture:
    """What a bundle is a capture of, written by ``tool``."""
    return Capture(
        tool=tool,
        source=info.source,
        selection=info.selection,
        options=info.options,
        min_fidelity=minimum_of(info),
    )


def minimum_of(info: HoldallInfo) -> Fidelity:
    """The ``--min-fidelity`` of the export; the default if it wasn't recorded."""
    try:
        return Fidelity(info.min_fidelity or _DEFAULT_MINIMUM)
    except ValueError:
        return _DEFAULT_MINIMUM


# -- losses --------------------------------------------------------------------------------------------


def reason_of(fidelity: Fidelity, truncated: bool, minimum: Fidelity) -> Reason | None:
    """Why a content of this fidelity is a loss; None if it isn't."""
    if fidelity is Fidelity.UNAVAILABLE:
        return Reason.FILES
    if truncated:
        return Reason.TEXTS_CUT
    return Reason.BELOW_MINIMUM if _FIDELITIES.index(fidelity) > _FIDELITIES.index(minimum) else None


def known_reason(reason: str) -> Reason:
    """The reason of that name; an unknown one, of a newer writer, counts as a missing record."""
    try:
        return Reason(reason.partition(":")[0])
    except ValueError:
        return Reason.RECORDS


def verdict_of(losses: Mapping[str, int]) -> Verdict:
    """The verdict on a bundle with these losses, counted by reason."""
    counts: Counter[Reason] = Counter()
    for name, count in losses.items():
        counts[known_reason(name)] += count
    return Verdict(counts=dict(counts))


def declared_verdict(info: HoldallInfo) -> Verdict:
    """The verdict in ``holdall.json``; if there is none, that of the files without content."""
    if info.losses is not None:
        return verdict_of(info.losses)
    lost = info.fidelities.get(Fidelity.UNAVAILABLE)
    return verdict_of({Reason.FILES: lost.files} if lost else {})


# -- digests -------------------------------------------------------------------------------------------

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


def _as_sent(digits: str) -> msgspec.Raw:
    return msgspec.Raw(b"0" if digits == "-0" else digits.encode())


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
