"""The journal of a run: append-only JSON lines that say what was about to be done, and what came of it.

The rule that makes a run repairable: an intent is durable before its call is sent, its outcome before any step that
builds upon it. So whatever stands in the account without an outcome in the journal has an intent there, with the
``op`` to look it up by. One fsync serves all lines that wait for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from holdall.errors import CannotWrite
from holdall.model import Kind, SourceId, TargetId

__all__ = ["Closed", "Done", "Failed", "Intent", "Journal", "Line", "Opened", "durable"]

VERSION = 1


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="opened", forbid_unknown_fields=True):
    """The first line: what this journal is bound to. ``bundle`` has the file's name and its two digests."""

    version: int = VERSION
    run: str
    tool: str
    started: str
    bundle: dict[str, str]
    destination: dict[str, str | None]
    options: dict[str, Any]


class Intent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="line",
    tag="intent",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """About to write to the account.

    ``op`` names the attempt; stores and assistants carry it as ``metadata.holdall_op``. ``action`` is ``create``,
    ``attach`` (files ``first`` to ``first + count`` of the store's memberships), ``detach`` (of the file ``target``
    from ``store``) or ``update`` (of ``target``; of a membership in ``store``). Files have no metadata, so ``name``
    and ``size`` are what to look for.

    An undo goes by this line alone: ``files`` has each file that is attached, with the fingerprint of its attributes
    (``image.fingerprint``). ``before`` is what an update or a detach of something that this run did not create takes
    away: for each field that is set, and for a detach ``attributes`` and ``chunking_strategy``, the value it had.
    """

    op: str
    action: str
    kind: Kind
    source: SourceId
    target: TargetId | None = None
    name: str | None = None
    size: int | None = None
    first: int | None = None
    count: int | None = None
    store: TargetId | None = None
    files: dict[TargetId, str] | None = None
    before: dict[str, Any] | None = None


class Done(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="line",
    tag="done",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """The account answered that it did: ``target`` is the id it gave (of the batch, for ``attach``).

    ``image`` is how an assistant or a store looked in the answer to a create or an update (``image.image``).
    """

    op: str
    target: TargetId
    request_id: str | None = None
    image: dict[str, str] | None = None


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="failed", forbid_unknown_fields=True):
    """The account refused, or (``ambiguous``) nobody knows whether it did."""

    op: str
    error: str
    status: int | None = None
    code: str | None = None
    ambiguous: bool = False
    request_id: str | None = None


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="closed", forbid_unknown_fields=True):
    """The run came to its own end; a journal without this line was cut off."""

    ended: str


Line = Opened | Intent | Done | Failed | Closed


def durable(file: BinaryIO) -> None:
    """Flush ``file`` down to the disk. On macOS only F_FULLFSYNC reaches beyond the drive's own cache."""
    file.flush()
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
        except OSError:  # a network file system that doesn't know it
            pass
    os.fsync(file.fileno())


class Journal:
    """One run's journal. ``write`` may be called from any number of tasks at once."""

    def __init__(self, path: Path, *, sync: Callable[[BinaryIO], None] = durable) -> None:
        """Make the file, which must not exist. Raises CannotWrite."""
        self.path = path
        self._sync = sync
        self._pending: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        try:
            self._file = path.open("xb")
        except OSError as error:
            raise self._unwritable(error) from None

    async def write(self, line: Line) -> None:
        """Append one line; durable on return. Raises CannotWrite."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((msgspec.json.encode(line) + b"\n", written))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await written

    async def close(self) -> None:
        """Wait for what is being written, then close the file."""
        if self._flusher is not None:
            await self._flusher
        self._file.close()

    async def _flush(self) -> None:
        """Write and sync until nothing waits: lines that come meanwhile share the next sync."""
        while self._pending:
            lines, self._pending = self._pending, []
            failure: Exception | None = None
            try:
                await asyncio.to_thread(self._put, b"".join(line for line, _ in lines))
            except OSError as error:
                failure = self._unwritable(error)
            for _, written in lines:
                if written.done():  # whoever waited was cancelled
                    continue
                if failure:
                    written.set_exception(failure)
                else:
                    written.set_result(None)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sync(self._file)

    def _unwritable(self, error: OSError) -> CannotWrite:
        return CannotWrite(
            f"can't write the journal {self.path}: {error.strerror or error}",
            hint="free some space, or choose another folder with --output-dir (OUTPUT_DIR)",
        )
