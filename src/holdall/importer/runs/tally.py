"""Tally of one run: losses as they are found, and for each unit the result that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdall.dialects.loss import Loss
from holdall.importer.plan import steps
from holdall.importer.runs.runfolder import AuditLine, RunFolder
from holdall.importer.runs.runreport import Result, Status
from holdall.kinds import DEFINITIONS
from holdall.model import Kind, SourceId, TargetId


class RunTally:
    """``members`` are the ids of each store's files, for a loss of a file is one of every assistant that uses it."""

    def __init__(
        self, folder: RunFolder, units: Iterable[steps.Unit], members: Mapping[SourceId, list[SourceId]]
    ) -> None:
        self._folder = folder
        self._units = list(units)
        self._members = members
        # By the store or assistant in which it was lost; what is lost of a file everywhere, by the file itself.
        self._lost: dict[SourceId, list[Loss]] = {}
        self._stores: dict[SourceId, list[Loss]] = {}
        self._results: dict[SourceId, Result] = {}

    def lose(self, loss: Loss) -> None:
        """Remember a loss, and put it into the audit log."""
        self._lost.setdefault(loss.inside or loss.id, []).append(loss)
        detail = f"{loss.field}: {loss.text}" if loss.field else loss.text
        self._folder.audit(
            AuditLine(
                operation="loss", outcome=loss.why.value, kind=loss.kind, source=loss.id, name=loss.name, detail=detail
            )
        )

    def finish(self, unit: steps.Unit, target: TargetId | None) -> None:
        """The unit's root has a copy. It is partial if a loss of it, its stores or files weighs."""
        losses = self._losses(unit)
        heavy = [loss for loss in losses if loss.why.weighs]
        error = None
        if heavy:
            error = str(heavy[0]) + (f" (and {len(heavy) - 1} more)" if len(heavy) > 1 else "")
        self._results[unit.id] = Result(
            source=unit.id,
            target=target,
            name=unit.name,
            status=Status.PARTIAL if heavy else Status.SUCCESS,
            error=error,
            losses=losses,
            how=_how(unit),
        )

    def fail(self, unit: steps.Unit, error: str) -> None:
        """The unit's root was not created."""
        self._results[unit.id] = _without_copy(unit, Status.FAILED, error, self._losses(unit))

    def results(self, *, otherwise: str) -> dict[Kind, list[Result]]:
        """A result for every unit, by kind; those not reached give ``otherwise`` as their reason."""
        found: dict[Kind, list[Result]] = {kind: [] for kind in (*DEFINITIONS, Kind.FILE)}
        for unit in self._units:
            reached = self._results.get(unit.id)
            found[unit.kind].append(reached or _without_copy(unit, Status.NOT_ATTEMPTED, otherwise, []))
        return found

    def _losses(self, unit: steps.Unit) -> list[Loss]:
        stores, files = _parts(unit)
        found = [loss for id in dict.fromkeys([unit.id, *stores, *files]) for loss in self._lost.get(id, ())]
        for store in stores:
            found += self._in_store(store)
        return list({id(loss): loss for loss in found}.values())

    def _in_store(self, store: SourceId) -> list[Loss]:
        """The losses of a store's files."""
        # Kept: it is final once the store's first user is done, and many may share a store of 100,000 files.
        if store not in self._stores:
            members = dict.fromkeys(self._members.get(store, ()))
            self._stores[store] = [loss for file in members for loss in self._lost.get(file, ())]
        return self._stores[store]


def _without_copy(unit: steps.Unit, status: Status, error: str, losses: list[Loss]) -> Result:
    return Result(source=unit.id, name=unit.name, status=status, error=error, losses=losses)


def _how(unit: steps.Unit) -> str:
    """What was done to the unit's root."""
    for step in reversed(unit.steps):
        match step:
            case steps.Adopt(kind=kind) if kind is unit.kind and kind is not Kind.FILE:
                return "adopted"
            case steps.Skip(kind=kind) if kind is unit.kind:
                return "left"
            case steps.UpdateFoundryAgent():
                return "new version"
            case steps.UpdateDefinition():
                return "updated"
            case steps.WriteRequest():
                return "written"
            case steps.UpdateStore() if unit.kind is Kind.STORE:
                return "updated"
            case _:
                pass
    return "created"


def _parts(unit: steps.Unit) -> tuple[list[SourceId], list[SourceId]]:
    """The stores, and the files and skills, whose losses are losses of this unit too."""
    match unit.kind:
        case Kind.STORE:
            return [unit.id], []
        case Kind.FILE:
            return [], [step.content.id for step in unit.steps if isinstance(step, steps.UploadFile)]
    used = [steps.references_of(step) for step in unit.steps]
    skills = [skill for step in unit.steps if isinstance(step, steps.TEMPLATES) for skill in step.skills]
    files = [file for _, files in used for file in files]
    return [store for stores, _ in used for store in stores], [*files, *skills]
