"""Reads and writes the requests in OUTPUT_DIR, without ever overwriting the user's work.

A file is ours if its sha256 is in a run's journal for that path. Any other file stays, and the new one is written
beside it, with ``.new`` appended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import Targets
from holdall.errors import CannotRead, CannotWrite, ImportFailed
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.definitions import FOLDER, Pair, candidates, compose, sha256_of
from holdall.importer.plan.difference import Existing, FoundRequest
from holdall.importer.plan.steps import LeaveOut, Plan, Unit, WriteRequest
from holdall.importer.runs.runfolder import AuditLine, RunFolder, past_runs
from holdall.importer.runs.runjournal import Describe, Done, Failed, Write, Written
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_files import cannot_write, from_disk, is_safe, on_disk, read_regular, write_whole


class RequestFolder:
    """``output`` is OUTPUT_DIR. What runs to another destination wrote stays as the user's files do; with ``replace``
    unset, what all earlier runs wrote."""

    def __init__(self, output: Path, destination: Mapping[str, str | None], *, replace: bool = True) -> None:
        """Read what earlier runs wrote."""
        self.output, self.destination = output, destination
        self._written: dict[str, set[str]] = {}
        for run in past_runs(output, destination) if replace else ():
            # A journal that can't be read has written nothing: what is its stays, as what is the user's.
            with suppress(CannotWrite, ImportFailed):
                for path, hashes in run.state().written.items():
                    self._written.setdefault(path, set()).update(hashes)

    def place(self, path: str, pair: Pair | None) -> FoundRequest:
        """Where ``pair`` goes whose request should be at ``path``; None stands for one that isn't known yet.

        Raises CannotWrite where what is there can't be read.
        """
        for number, (request, about) in enumerate(candidates(path)):
            wanted = {request: pair.request if pair else None, about: pair.about if pair else None}
            found = {one: read(self.output, one) for one in wanted}
            if all(self._may_go(one, data, wanted[one]) for one, data in found.items()):
                equal = pair is not None and found == wanted
                return FoundRequest(path=TargetId(request), about=about, equal=equal, beside=number > 0)
        raise AssertionError("the candidates don't end")

    def _may_go(self, path: str, there: bytes | None, wanted: bytes | None) -> bool:
        return there is None or there == wanted or sha256_of(there) in self._written.get(path, ())

    async def write(
        self,
        folder: RunFolder,
        source: SourceId,
        place: FoundRequest,
        pair: Pair,
        *,
        name: str | None,
        operation: Callable[[], str],
    ) -> None:
        """Write both files, what is about the request first: where the request is, the other one is too.

        Each is durable, and in the journal of the run in ``folder`` with what it replaces, before the next.
        """
        for make, path, data in ((Describe, place.about, pair.about), (Write, place.path, pair.request)):
            sha256 = sha256_of(data)
            self._written.setdefault(path, set()).add(sha256)
            before = read(self.output, path)
            await _settle(folder, path, before)
            if before == data:  # by this run, before it was cut off, or by an earlier one
                continue
            intent = make(
                op=operation(),
                source=source,
                target=TargetId(path),
                name=name,
                sha256=sha256,
                size=len(data),
                before=None if before is None else {"text": before.decode()},
            )
            await folder.write(intent)
            replace(self.output, path, data)
            await folder.write(Done(op=intent.op, target=TargetId(path)))
            line = AuditLine(
                operation=intent.action, outcome="done", kind=Kind.ASSISTANT, source=source, target=intent.target
            )
            folder.audit(line)


class PlannedRequests:
    """The requests that a plan has: where each goes, and writing them."""

    def __init__(
        self, planned: Plan, summary: BundleSummary, output: Path, destination: Mapping[str, str | None]
    ) -> None:
        self._prefix = planned.prefix
        self._records = {record.id: record for record in summary.assistants}
        self._steps = [(unit, step) for unit in planned.units for step in unit.steps if isinstance(step, WriteRequest)]
        # Without any, what earlier runs wrote is of no interest.
        replace = bool(self._steps) and all(step.replace for _, step in self._steps)
        self._folder = RequestFolder(output, destination, replace=replace)

    def found(self, existing: Existing) -> dict[SourceId, FoundRequest]:
        """For each request: is it there, or what is in its place? Raises CannotWrite.

        Whether it is there can be told only where all that it refers to is.
        """
        found = {}
        for unit, step in self._steps:
            stores = {id: existing.stores[id].target for id in step.stores if id in existing.stores}
            files = {id: existing.files[id].target for id in step.files if id in existing.files}
            whole = len(stores) == len(step.stores) and len(files) == len(step.files)
            pair = self._pair(unit, step, Targets(stores=stores, files=files)) if whole else None
            found[step.id] = self._folder.place(step.path, pair)
        return found

    async def write(
        self, run: RunFolder, unit: Unit, step: WriteRequest, targets: Targets, operation: Callable[[], str]
    ) -> tuple[TargetId, list[Loss]]:
        """Write the two files of ``step``, unless the run has; ``targets`` are what it refers to.

        Returns the path of the request below OUTPUT_DIR, and what is to be said. Raises CannotWrite.
        """
        if done := run.state.target(Kind.ASSISTANT, step.id):
            return done, []
        pair = self._pair(unit, step, targets)
        place = self._folder.place(step.path, pair)
        await self._folder.write(run, step.id, place, pair, name=step.name, operation=operation)
        if not place.beside:
            return place.path, []
        text = f"{step.path} was changed, or is for another destination, and is kept; wrote {place.path} instead"
        return place.path, [Loss(why=Why.BESIDE, kind=Kind.ASSISTANT, id=step.id, name=step.name, text=text)]

    def _pair(self, unit: Unit, step: WriteRequest, targets: Targets) -> Pair:
        """The two files."""
        # What is lost as it was planned, and not as it came: so the same plan gives the same files, resumed or not.
        left_out = [one.loss for one in unit.steps if isinstance(one, LeaveOut) and one.loss.inside == step.id]
        return compose(
            self._records[step.id],
            step.path,
            prefix=self._prefix,
            model=step.model,
            targets=targets,
            losses=[*left_out, *step.losses],
            destination=self._folder.destination,
        )


async def _settle(folder: RunFolder, path: str, there: bytes | None) -> None:
    """Say what came of a write that a crash cut off: it is there whole, or it is not."""
    for intent in folder.state.unknown(Written):
        if intent.target != path:
            continue
        if there is not None and sha256_of(there) == intent.sha256:
            await folder.write(Done(op=intent.op, target=TargetId(path)))
        else:
            await folder.write(Failed(op=intent.op, error="interrupted before it was written"))


def read(output: Path, path: str) -> bytes | None:
    """What is at ``path`` below ``output``, None for nothing. Raises CannotWrite."""
    try:
        return read_regular(output.joinpath(*on_disk(path).split("/")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRead(f"can't read {output / path}: {error.strerror or error}") from None


def read_request(output: Path, path: str) -> dict[str, Any] | None:
    """The request at ``path``; None where there is none. Raises CannotWrite."""
    data = read(output, path) if path.startswith(f"{FOLDER}/") and is_safe(path) else None
    # A user may have made anything of it.
    try:
        return None if data is None else msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def listed(output: Path) -> Iterator[tuple[str, bytes]]:
    """Whatever is in the folder, each file's path below ``output`` with its bytes. Raises CannotWrite."""
    folder = output / FOLDER
    try:
        names = (
            sorted(from_disk(found.name) for found in folder.iterdir() if found.is_file()) if folder.is_dir() else []
        )
    except OSError as error:
        raise CannotRead(f"can't read {folder}: {error.strerror or error}") from None
    for name in names:
        data = read(output, f"{FOLDER}/{name}")
        if data is not None:
            yield f"{FOLDER}/{name}", data


def replace(output: Path, path: str, data: bytes) -> None:
    """Have ``data`` at ``path``, whole and durable; what is there until then stays until it is. Raises CannotWrite."""
    target = output.joinpath(*on_disk(path).split("/"))
    hint = "choose another folder with --output-dir (OUTPUT_DIR)"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error, hint=hint) from None
    write_whole(target, data, hint=hint)


def remove(output: Path, path: str) -> None:
    """Take a file away, and the folder with it if that is empty then. Raises CannotWrite."""
    target = output.joinpath(*on_disk(path).split("/"))
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"can't delete {target}: {error.strerror or error}") from None
    with suppress(OSError):  # something else is in it
        target.parent.rmdir()
