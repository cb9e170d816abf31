"""What a project has lost since an earlier bundle of it: objects that disappeared, files of lower fidelity.

Objects are compared by id: in another project with as many objects, all are gone.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdall.bundle import layout
from holdall.bundle.reader import BundleReader
from holdall.exporter.earlier import worth
from holdall.kinds import DEFINITIONS, KINDS
from holdall.legible import counted
from holdall.model import Kind


class Shrinkage(msgspec.Struct, frozen=True, kw_only=True):
    """What is less of one kind. ``had`` are the objects of the earlier bundle, ``gone`` those of them that the later
    one lacks, ``fell`` the files that both have and of which the later has less."""

    kind: Kind
    had: int
    gone: int
    fell: int = 0

    @property
    def share(self) -> float:
        """Percent of the objects."""
        return 100 * (self.gone + self.fell) / self.had if self.had else 0.0

    def __str__(self) -> str:
        of = f"of {counted(self.had, KINDS[self.kind].noun)}"
        if not self.gone:
            return f"{self.fell} {of} less complete"
        return f"{self.gone} {of} gone" + (f", {self.fell} less complete" if self.fell else "")


def shrinkages(earlier: BundleReader, later: BundleReader | None) -> list[Shrinkage]:
    """What the later bundle has less than the earlier one, by kind; ``later`` None: a project in which nothing is left.

    Raises BundleError where one of them can't be read.
    """
    found = [_of_definitions(kind, earlier, later) for kind in DEFINITIONS]
    return [one for one in (*found, _of_files(earlier, later)) if one.gone or one.fell]


def _of_definitions(kind: Kind, earlier: BundleReader, later: BundleReader | None) -> Shrinkage:
    left = set(_ids(kind, later)) if later else set()
    had = gone = 0
    for id in _ids(kind, earlier):
        had += 1
        gone += id not in left
    return Shrinkage(kind=kind, had=had, gone=gone)


def _ids(kind: Kind, bundle: BundleReader) -> Iterator[str]:
    # A store's folder has its memberships, too.
    for entry in bundle.entries(KINDS[kind].folder):
        if entry.id and entry.path.endswith(layout.RECORD):
            yield entry.id


def _of_files(earlier: BundleReader, later: BundleReader | None) -> Shrinkage:
    left = {line.id: worth(line.fidelity, line.truncated) for line in later.ledger()} if later else {}
    had = gone = fell = 0
    for line in earlier.ledger():
        had += 1
        now = left.get(line.id)
        gone += now is None
        fell += now is not None and now < worth(line.fidelity, line.truncated)
    return Shrinkage(kind=Kind.FILE, had=had, gone=gone, fell=fell)
