"""Where an earlier import put things: from the mapping it left behind, or from the marks that the copies carry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.marks import CLONED_FROM
from holdall.dialects.tables import Form
from holdall.endpoint import same_account
from holdall.errors import CannotWrite, RemoteError
from holdall.importer.plan.model_check import ModelMap, model_map
from holdall.importer.plan.requests import ABOUT, FOLDER
from holdall.importer.runs.runfolder import REPORT, mappings
from holdall.importer.runs.runreport import MAPPING, read_mapping
from holdall.importer.written.requestfolder import listed
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind, SourceId, TargetId, epoch_seconds
from holdall.remote.client import Account, viewed
from holdall.remote.probing import is_absent
from holdall.selection import Selection

__all__ = ["IdMapping", "by_mapping", "by_marks", "withdraw"]


class IdMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Source id -> id in the copy. ``files`` is None where nobody wrote it down: files carry no marks.

    ``copies`` are the second uploads of files, as text, that stores have in place of the first. ``origin`` says in
    words where this is from; ``prefix``, ``selection`` and ``models`` are those of the run. In the ``form`` of
    requests, those of assistants are the paths of their files, below ``output``. ``added`` are metadata keys that
    the server puts in by itself, as any run found out.
    """

    origin: str
    definitions: Mapping[Kind, Mapping[SourceId, TargetId]]
    files: Mapping[SourceId, TargetId] | None = None
    copies: Mapping[SourceId, TargetId] = {}
    added: frozenset[str] = frozenset()
    prefix: str | None = None
    selection: Selection = Selection()
    models: ModelMap = ModelMap()
    form: Form = Form.ASSISTANTS
    output: Path | None = None

    @property
    def stores(self) -> Mapping[SourceId, TargetId]:
        return self.of(Kind.STORE)

    def of(self, kind: Kind) -> Mapping[SourceId, TargetId]:
        """The definitions of a kind."""
        return self.definitions.get(kind, {})


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What is beside a written request, as far as it says whose it is."""

    id: SourceId
    request: str
    destination: dict[str, str | None] = {}


def by_mapping(output: Path, digests: Mapping[str, str], destination: Mapping[str, str | None]) -> IdMapping | None:
    """The newest mapping below OUTPUT_DIR that is of this bundle and, as far as is known, of this destination.

    Raises CannotWrite.
    """
    for path, found in mappings(output, destination):
        if any(found.bundle.get(name) != value for name, value in digests.items()):
            continue
        choices = found.choices
        return IdMapping(
            origin=str(path),
            definitions={kind: found.placed(kind) for kind in DEFINITIONS},
            files=found.files,
            copies=found.copies,
            added=frozenset().union(*(one.added for _, one in mappings(output, destination))),
            prefix=choices.prefix,
            selection=Selection(only=choices.only, exclude=choices.exclude),
            models=model_map(choices.map_model),
            form=found.form,
            output=output,
        )
    return None


async def by_marks(
    account: Account, form: Form = Form.ASSISTANTS, output: Path | None = None, *, kinds: Iterable[Kind] = DEFINITIONS
) -> IdMapping:
    """What the destination's assistants and stores say they were cloned from; of several copies the newest.

    Looked for are those of ``kinds``. In the ``form`` of requests, the files beside
    those in ``output`` say whose they are. Raises CannotWrite.
    """
    written = _noted(output, account.party) if form is Form.RESPONSES and output is not None else None
    marked = {kind: await _marked(account, kind) for kind in kinds if kind is not Kind.ASSISTANT or written is None}
    return IdMapping(
        origin=f"metadata.{CLONED_FROM}",
        definitions=marked if written is None else {**marked, Kind.ASSISTANT: written},
        form=form,
        output=output,
    )


def _noted(output: Path, destination: Mapping[str, str | None]) -> dict[SourceId, TargetId]:
    found = {}
    for path, data in listed(output):
        if path.endswith(ABOUT):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                about = msgspec.json.decode(data, type=_About)
                if same_account(about.destination, destination):
                    found[about.id] = TargetId(f"{FOLDER}/{about.request}")
    return found


def withdraw(output: Path, run: str) -> None:
    """The run is undone: where OUTPUT_DIR has its mapping and report as the latest, put those of the one before it.

    The run's own folder keeps its. Raises CannotWrite.
    """
    latest = output / MAPPING
    try:
        its = read_mapping(latest)
        if its is None or its.run != run:
            return
        before = next((path for path, _ in mappings(output) if path != latest), None)
        for name in (MAPPING, REPORT):
            if before is not None and (before.parent / name).is_file():
                fresh = output / f"{name}.new"
                shutil.copyfile(before.parent / name, fresh)
                os.replace(fresh, output / name)
            else:
                (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"can't write {latest}: {error.strerror or error}") from None


async def _marked(account: Account, kind: Kind) -> dict[SourceId, TargetId]:
    """By the source's ids; none where there is no such endpoint."""
    newest: dict[SourceId, tuple[int, TargetId]] = {}
    try:
        async for raw in account.items(KINDS[kind].endpoint):
            found: Any = viewed(raw, KINDS[kind].view, f"a record of {KINDS[kind].endpoint}")
            source = (found.metadata or {}).get(CLONED_FROM)
            if isinstance(source, str):
                made = epoch_seconds(found.created_at)
                # The list is oldest first, so of two made in one second the later one stands.
                if SourceId(source) not in newest or newest[SourceId(source)][0] <= made:
                    newest[SourceId(source)] = (made, TargetId(found.id))
    except RemoteError as error:
        if not await is_absent(account, error):
            raise
    return {source: target for source, (_, target) in newest.items()}
