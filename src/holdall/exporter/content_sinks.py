"""Where the content of one file goes while it is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from typing import BinaryIO, cast

from holdall.agent_views import VersionView
from holdall.bundle.growing import DirectEntry
from holdall.bundle.layout import LedgerLine
from holdall.bundle.partial import Stored
from holdall.bundle.sinks import Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import UnexpectedAnswer
from holdall.exporter.file_index import File
from holdall.exporter.turns import Turn, never
from holdall.join_parts import DEFAULT_OVERLAP
from holdall.model import Fidelity, FileView, SourceId, epoch_seconds
from holdall.remote.contents import Holder, ZipOf
from holdall.safe_files import reporting

# A zip that is no longer stays in memory while it is checked.
_IN_MEMORY = 1 << 20
_BEGINNING = b"PK"
# Characters of a skill's name in that of its zip; names are at most 64 long.
_LONGEST_NAME = 200


class _CheckedZip:
    """A sink for a zip, which is read when it is whole: one that is no good is kept all the same. Raises
    UnexpectedAnswer for what isn't one at all, such as an error with status 200."""

    def __init__(self, sink: Sink, tell: Callable[[str], None]) -> None:
        self._sink, self._tell = sink, tell
        self._has_begun = False
        self._copy = cast(BinaryIO, SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - closed by commit and abort

    def write(self, data: bytes) -> None:
        if data and not self._has_begun:
            self._has_begun = True
            if not data.startswith(_BEGINNING[: len(data)]):
                raise UnexpectedAnswer("can't download a skill: the answer is not a zip")
        self._sink.write(data)
        with reporting(Path(gettempdir())):
            self._copy.write(data)

    def commit(self) -> None:
        from holdall.skill_zip import RefusedZip, read_skill_zip  # few projects have skills

        self._sink.commit()
        try:
            read_skill_zip(self._copy)
        except RefusedZip as refused:
            self._tell(f"kept as it came, but not a valid zip of a skill: {refused}")
        self._copy.close()

    def commit_in_memory(self) -> bool:
        return False

    def abort(self) -> None:
        self._sink.abort()
        self._copy.close()


class ContentSinks:
    """The sinks of one file, by fidelity; the content that was committed goes into the bundle with its line.

    ``fault`` says afterwards what is wrong with the zip of a skill's version.
    """

    def __init__(self, writer: BundleWriter, file: File, holders: Iterable[Holder], *, turn: Turn = never) -> None:
        self._writer, self._file, self._turn = writer, file, turn
        self._overlaps = {holder.store: holder.overlap for holder in holders}
        self._opened: list[tuple[Sink, SourceId | None]] = []
        self.fault = ""

    def content(self, fidelity: Fidelity) -> Sink:
        size = max(0, self._file.size or 0)
        sink = self._open(self._writer.open_content(size or None), None)
        sink.go_direct = partial(self._begin_direct, sink, size)
        return sink

    def _begin_direct(self, sink: Sink, size: int, spooled: int) -> DirectEntry | None:
        """Write what is long to the bundle while it comes, once its turn has come: so it is written once."""
        # Where more than half of it is spooled already, the rest isn't worth moving it.
        if 2 * spooled > size or not self._turn():
            return None
        return self._writer.begin_direct(
            sink, self._file.id, self._file.filename, size=size, created_at=self._created_at
        )

    def zip(self) -> _CheckedZip:
        return _CheckedZip(self.content(Fidelity.ORIGINAL), self._found)

    def _found(self, fault: str) -> None:
        self.fault = fault

    def text(self, store_id: SourceId) -> Sink:
        return self._open(self._writer.open_content(text=True), store_id)

    def _open(self, sink: Sink, store_id: SourceId | None) -> Sink:
        self._opened = [*(one for one in self._opened if one[0].is_open), (sink, store_id)]
        return sink

    @property
    def _created_at(self) -> int:
        return epoch_seconds(self._file.view.created_at) if self._file.view else 0

    def add(self, line: LedgerLine) -> Stored:
        sink, store = next(one for one in self._opened if one[0].sha256)
        return self._writer.add_content(
            sink,
            line,
            created_at=self._created_at,
            record=self._file.record,
            store=store,
            overlap=self._overlaps.get(store, DEFAULT_OVERLAP) if store is not None else None,
        )


def zip_of(skill: SourceId, name: str | None, version: VersionView, record: str) -> File:
    """The zip of a skill's version, as a file."""
    number = version.version or version.id
    filename = f"{(version.name or name or skill)[:_LONGEST_NAME]}-{number[:_LONGEST_NAME]}.zip"
    view = FileView(id=version.id, filename=filename, created_at=version.created_at)
    return File(id=SourceId(version.id), view=view, record=record, zip=ZipOf(skill=skill, number=number))
