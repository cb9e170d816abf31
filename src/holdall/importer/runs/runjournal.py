"""The journal of a run: append-only JSON lines that say what was about to be done, and what came of it.

The rule that makes a run repairable: an intent is durable before its call is sent, its outcome before any step that
builds upon it. So whatever stands in the account without an outcome in the journal has an intent there, with the
``op`` to look it up by. One fsync serves all lines that wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from holdall.errors import CannotRead, CannotWrite, ImportFailed
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_files import AppendLog, open_regular

JOURNAL = "journal.jsonl"

VERSION = 2
"""Of journals. Version 1 had one struct for all intents."""

MARKS = "marks"
"""Learned of an account: 0 where it drops the metadata that objects are created with."""

ALONE = "alone"
"""Learned of an account: 0 where another importer may be at work on the same sources, whose files look like ours."""


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="line", forbid_unknown_fields=True, omit_defaults=True
):
    """One line; the field ``line`` says which kind."""


# Its version is written though it is the default: that of whoever reads it may be another.
class Opened(_Line, frozen=True, kw_only=True, tag="opened", omit_defaults=False):
    """The first line: what this journal is bound to. ``bundle`` has the file's name and its two digests."""

    version: int = VERSION
    run: str
    tool: str
    started: str
    bundle: dict[str, str]
    destination: dict[str, str | None]
    options: dict[str, Any]


# Intents of earlier versions have fields that are of no use any more.
class _Intent(_Line, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """About to write. ``op`` names the attempt; ``source`` is what it is made of, or for."""

    op: str
    source: SourceId

    @property
    def action(self) -> str:
        return str(self.__struct_config__.tag)

    # For the intents that have none.
    @property
    def target(self) -> TargetId | None:
        return None

    @property
    def name(self) -> str | None:
        return None


class Create(_Intent, frozen=True, kw_only=True, tag="create"):
    """Make an object; stores, assistants and agents carry ``op`` as ``metadata.holdall_op``.

    ``name`` and ``size`` (bytes) are as sent: files have no metadata, so these are what to look for. ``sha256`` is that
    of a file's entry in the bundle. ``without`` has the fields that are left out, being at their defaults. Of a version
    of an agent, ``name`` is the agent's and ``latest`` the newest version before it. ``unmarked``: there was no room
    for ``op`` in the metadata, and no later call that could make any. Of a version that is put ``into`` a skill, and of
    a skill for its first one, ``sha256`` is of what is in the zip. ``looks`` is the fingerprint of a template, which
    has no mark; ``supplied`` names what its owner supplied. ``first`` is the earlier version that an agent was made
    with, where it isn't the latest.
    """

    kind: Kind
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    without: list[str] = []
    latest: str | None = None
    unmarked: bool = False
    into: TargetId | None = None
    looks: str | None = None
    supplied: list[str] = []
    first: SourceId | None = None


class Copy(_Intent, frozen=True, kw_only=True, tag="copy"):
    """A second upload of a file, as text. Fields as in Create."""

    kind: ClassVar[Kind] = Kind.FILE
    name: str | None = None
    size: int | None = None
    sha256: str | None = None


class Attach(_Intent, frozen=True, kw_only=True, tag="attach"):
    """Put ``files`` into the store ``target``, with the fingerprint of each one's attributes."""

    kind: ClassVar[Kind] = Kind.STORE
    target: TargetId
    files: dict[TargetId, str] = {}


class Detach(_Intent, frozen=True, kw_only=True, tag="detach"):
    """Take the file ``target`` out of ``store``. ``before``: the ``attributes`` and ``chunking_strategy`` that it has
    there, where it wasn't this run that put it in."""

    kind: ClassVar[Kind] = Kind.MEMBERSHIP
    target: TargetId
    store: TargetId
    before: dict[str, Any] | None = None


class Update(_Intent, frozen=True, kw_only=True, tag="update"):
    """Set fields of ``target``, for a membership in ``store``.

    ``before`` has the values that are taken away, of what this run did not create. ``after`` has the fingerprints of
    what is set, in case the answer is lost. ``supplied`` names what a template's owner supplied.
    """

    kind: Kind
    target: TargetId
    store: TargetId | None = None
    before: dict[str, Any] | None = None
    after: dict[str, str] | None = None
    supplied: list[str] = []


class Delete(_Intent, frozen=True, kw_only=True, tag="delete"):
    """Delete the file ``target``, which this run uploaded."""

    kind: ClassVar[Kind] = Kind.FILE
    target: TargetId


class Written(_Intent, frozen=True, kw_only=True):
    """A file of OUTPUT_DIR; no call is made."""

    kind: ClassVar[Kind] = Kind.ASSISTANT
    target: TargetId
    sha256: str
    name: str | None = None
    size: int | None = None
    before: dict[str, str] | None = None


class Write(Written, frozen=True, kw_only=True, tag="write"):
    """Put a request into OUTPUT_DIR, at the path ``target``; ``before`` has the ``text`` that it replaces. No call."""


class Describe(Written, frozen=True, kw_only=True, tag="describe"):
    """The same for the file beside a request that describes it."""


Creation = Create | Copy
Intent = Creation | Attach | Detach | Update | Delete | Write | Describe


class _Version1(msgspec.Struct, tag_field="line", tag="intent"):
    """Any intent, in journals of version 1, which had one struct for all of them."""

    action: str


class Done(_Line, frozen=True, kw_only=True, tag="done"):
    """It was carried out: ``target`` is the id that the account gave (of the batch, for ``attach``).

    ``image`` is how an assistant or a store looked in the answer to a create or an update: the
    fingerprints of its fields.
    ``name`` and ``size`` are what the account says of a file where that isn't what was sent. This line may follow a
    ``Failed`` of the same ``op`` that was ambiguous: then it was found at the account, and ``inferred`` says that
    nothing but its name and size told so. ``there``: the account gave the id of a file that stood there before the
    run, having the same bytes; so it is used, and isn't the run's.
    """

    op: str
    target: TargetId
    request_id: str | None = None
    image: dict[str, str] | None = None
    name: str | None = None
    size: int | float | None = None
    inferred: bool = False
    there: bool = False


class Failed(_Line, frozen=True, kw_only=True, tag="failed"):
    """The account refused, or (``ambiguous``) nobody knows whether it did.

    ``looked`` says that it was ambiguous, was looked for through the whole settle window, and could not be told from
    what is there; a file may then stand in the account, used by nothing.
    """

    op: str
    error: str
    status: int | None = None
    code: str | None = None
    ambiguous: bool = False
    request_id: str | None = None
    looked: bool = False


class Learned(_Line, frozen=True, kw_only=True, tag="learned"):
    """What the run found out of the account and goes by from here on: ``batch_files`` it takes in one call at the
    most; ``marks``, 0 where it does not keep the metadata that it is given; ``batches``, 0 where it takes a batch of
    files with settings of their own and attaches none of them."""

    what: str
    value: int


class Shown(_Line, frozen=True, kw_only=True, tag="shown"):
    """How the account shows what the run wrote, read back, where that isn't what was sent.

    ``image`` as in Done, and from here on in its place. ``unkept`` are the fields that are not as they were sent,
    ``added`` the metadata keys that nobody sent: the server's own. Of a store's files, ``files`` has the fingerprints
    of the attributes of those that have others than were sent.
    """

    kind: Kind
    source: SourceId
    target: TargetId
    image: dict[str, str] | None = None
    unkept: list[str] = []
    added: list[str] = []
    files: dict[TargetId, str] | None = None


class Closed(_Line, frozen=True, kw_only=True, tag="closed"):
    """The run ended by itself. A journal without this line was cut off."""

    ended: str


Line = Opened | Intent | Done | Failed | Learned | Shown | Closed

_decoder: msgspec.json.Decoder[Line | _Version1] = msgspec.json.Decoder(Line | _Version1)


def decode(raw: bytes) -> Line:
    """One line, of any version. Raises msgspec.DecodeError, or UnicodeDecodeError."""
    line = _decoder.decode(raw)
    if not isinstance(line, _Version1):
        return line
    fields = {name: value for name, value in msgspec.json.decode(raw).items() if value is not None}
    return msgspec.convert({**fields, "line": line.action}, type=Intent)  # type: ignore[no-any-return]


def timestamp(now: float, *, fraction: bool = False) -> str:
    """``now`` (Unix seconds) as ``2026-11-22T21:00:00Z``."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds" if fraction else "seconds")
    return moment.replace("+00:00", "Z")


def lines(path: Path) -> Iterator[tuple[Line, int]]:
    """The lines of a journal in order, each with the file's length up to its end; streamed.

    What a crash cut off at the end is not among them: nothing was done on the strength of it. Raises CannotWrite
    where the file can't be read, and ImportFailed where something in the middle isn't a line.
    """
    end, torn = 0, 0
    try:
        with open_regular(path) as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    # At the end that is what a crash left half; with a line behind it, it is damage.
                    torn = torn or number
                    continue
                if torn:
                    raise ImportFailed(
                        f"can't read the journal {path}: line {torn} is damaged",
                        hint="import with another --output-dir (OUTPUT_DIR); keep this one, to undo its run by hand",
                    )
                # Without its end it never was durable, so nothing was done on the strength of it.
                if not raw.endswith(b"\n"):
                    return
                end += len(raw)
                yield line, end
    except OSError as error:
        raise CannotRead(f"can't read the journal {path}: {error.strerror or error}") from None


def first_line(journal: Path) -> Opened | None:
    """The first line of a journal. None if the run was cut off before it, or it can't be read."""
    with suppress(CannotWrite, ImportFailed):
        for line, _ in lines(journal):
            return line if isinstance(line, Opened) else None
    return None


class RunJournal(AppendLog):
    """One run's journal."""

    async def write(self, line: Line) -> None:
        """Append one line; durable on return. Raises CannotWrite, then and ever after."""
        await self.commit(msgspec.json.encode(line) + b"\n")
