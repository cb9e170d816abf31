"""Where an earlier import put things: from the mapping it left behind, or from the marks that the copies carry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.forms import Form
from holdall.dialects.marks import CLONED_FROM
from holdall.errors import CannotWrite, RemoteError
from holdall.importer.journal.run import MAPPING, REPORT
from holdall.importer.journal.undolog import is_undone
from holdall.importer.plan.models import ModelMap, model_map
from holdall.importer.plan.requests import ABOUT, FOLDER
from holdall.importer.written.requestfolder import listed
from holdall.model import AgentView, AssistantView, SourceId, StoreView, TargetId, epoch_seconds
from holdall.remote.client import Account
from holdall.remote.probing import is_absent
from holdall.selection import Selection

__all__ = ["Placement", "by_mapping", "by_marks", "newest", "withdraw"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Source id -> id in the copy. ``files`` is None where nobody wrote it down: files carry no marks.

    ``copies`` are the second uploads of files, as text, that stores have in place of the first. ``origin`` says in
    words where this is from; ``prefix``, ``selection`` and ``models`` are those of the run. In the ``form`` of
    requests, those of ``assistants`` are the paths of their files, below ``output``. ``added`` are metadata keys that
    the server puts in by itself, as any run found out.
    """

    origin: str
    assistants: Mapping[SourceId, TargetId]
    agents: Mapping[SourceId, TargetId] = {}
    stores: Mapping[SourceId, TargetId]
    files: Mapping[SourceId, TargetId] | None = None
    copies: Mapping[SourceId, TargetId] = {}
    added: frozenset[str] = frozenset()
    prefix: str | None = None
    selection: Selection = Selection()
    models: ModelMap = ModelMap()
    form: Form = Form.ASSISTANTS
    output: Path | None = None


class _Party(msgspec.Struct, frozen=True, kw_only=True):
    project_id: str | None = None


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    src: SourceId = msgspec.field(name="srcId")
    dst: TargetId | None = msgspec.field(name="dstId", default=None)


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    map_model: tuple[str, ...] = ()


class _Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """``mapping.json`` as far as a proof needs it."""

    destination: _Party
    mappings: list[_Row]
    agents: dict[SourceId, TargetId] = {}
    vector_stores: dict[SourceId, TargetId]
    files: dict[SourceId, TargetId]
    text_copies: dict[SourceId, TargetId] = {}
    server_metadata: frozenset[str] = frozenset()
    options: _Options
    bundle: dict[str, str]
    form: Form = msgspec.field(name="as", default=Form.ASSISTANTS)


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """What is beside a written request, as far as it says whose it is."""

    id: SourceId
    request: str


def by_mapping(output: Path, digests: Mapping[str, str], *, project: str | None) -> Placement | None:
    """The newest mapping below OUTPUT_DIR that is of this bundle and, as far as is known, of this destination."""
    for path in _mappings(output):
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_Mapping)
        except msgspec.DecodeError:  # another tool's, or of a run that was cut off
            continue
        except OSError as error:
            raise CannotWrite(f"can't read {path}: {error.strerror or error}") from None
        theirs = found.destination.project_id
        if any(found.bundle.get(name) != value for name, value in digests.items()):
            continue
        if theirs and project and theirs != project:
            continue
        return Placement(
            origin=str(path),
            assistants={row.src: row.dst for row in found.mappings if row.dst is not None},
            agents=found.agents,
            stores=found.vector_stores,
            files=found.files,
            copies=found.text_copies,
            added=frozenset().union(*(one.server_metadata for one in _readable(output, project))),
            prefix=found.options.prefix,
            selection=Selection(only=found.options.only, exclude=found.options.exclude),
            models=model_map(found.options.map_model),
            form=found.form,
            output=output,
        )
    return None


def _readable(output: Path, project: str | None) -> Iterator[_Mapping]:
    """The mappings of this destination, whatever bundle they are of."""
    for path in _mappings(output):
        with suppress(msgspec.DecodeError, OSError):
            found = msgspec.json.decode(path.read_bytes(), type=_Mapping)
            if not (found.destination.project_id and project) or found.destination.project_id == project:
                yield found


async def by_marks(
    account: Account, form: Form = Form.ASSISTANTS, output: Path | None = None, *, agents: bool = False
) -> Placement:
    """What the destination's assistants and stores say they were cloned from; of several copies the newest.

    Agents are looked for only where ``agents`` asks for it. In the ``form`` of requests, the files beside
    those in ``output`` say whose they are. Raises CannotWrite.
    """
    written = form is Form.RESPONSES and output is not None
    return Placement(
        origin=f"metadata.{CLONED_FROM}",
        assistants=_noted(output) if written and output else await _marked(account, "/assistants", AssistantView),
        agents=await _marked(account, "/agents", AgentView) if agents else {},
        stores=await _marked(account, "/vector_stores", StoreView),
        form=form,
        output=output,
    )


def _noted(output: Path) -> dict[SourceId, TargetId]:
    found = {}
    for path, data in listed(output):
        if path.endswith(ABOUT):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                about = msgspec.json.decode(data, type=_About)
                found[about.id] = TargetId(f"{FOLDER}/{about.request}")
    return found


def newest(output: Path, name: str) -> list[Path]:
    """The files of that name in the folders of runs, the newest run first.

    A run's id begins with its second; of two that began in one, the one that was written to last is the newer.
    """

    def age(path: Path) -> tuple[str, int]:
        return path.parent.name.partition("-")[0], path.stat().st_mtime_ns

    return sorted(output.glob(f"runs/*/{name}"), key=age, reverse=True)


def withdraw(output: Path, run: str) -> None:
    """The run is undone: where OUTPUT_DIR has its mapping and report as the latest, put those of the one before it.

    The run's own folder keeps its. Raises CannotWrite.
    """
    latest = output / MAPPING
    try:
        if not latest.is_file() or _Run.of(latest) != run:
            return
        before = next(_mappings(output, latest=False), None)
        for name in (MAPPING, REPORT):
            if before is not None and (before.parent / name).is_file():
                fresh = output / f"{name}.new"
                shutil.copyfile(before.parent / name, fresh)
                os.replace(fresh, output / name)
            else:
                (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"can't write {latest}: {error.strerror or error}") from None


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    run: str = ""

    @staticmethod
    def of(mapping: Path) -> str:
        try:
            return msgspec.json.decode(mapping.read_bytes(), type=_Run).run
        except msgspec.DecodeError:
            return ""


def _mappings(output: Path, *, latest: bool = True) -> Iterator[Path]:
    """The mappings there are, the newest first; not those of runs that are undone."""
    if latest and (output / MAPPING).is_file():
        yield output / MAPPING
    for path in newest(output, MAPPING):
        if not is_undone(path.parent):
            yield path


async def _marked(
    account: Account, where: str, view: type[AgentView] | type[AssistantView] | type[StoreView]
) -> dict[SourceId, TargetId]:
    """By the source's ids; none where there is no such endpoint."""
    newest: dict[SourceId, tuple[int, TargetId]] = {}
    try:
        async for raw in account.items(where):
            found: Any = msgspec.json.decode(raw, type=view)
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
