"""Written requests between plan and disk: which of them are there already, and writing those that aren't."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdall.dialects.loss import Loss, Why
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.existing import Existing, FoundRequest
from holdall.importer.plan.requests import Pair, compose
from holdall.importer.plan.steps import LeaveOut, Plan, Unit, WriteRequest
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.written.requestfolder import RequestFolder, There
from holdall.model import Kind, Record, SourceId, TargetId

__all__ = ["Writing", "found_requests"]


def found_requests(
    planned: Plan,
    catalogue: BundleSummary,
    existing: Existing,
    folder: RequestFolder,
    destination: Mapping[str, str | None],
) -> dict[SourceId, FoundRequest]:
    """For each request that ``planned`` would write: is it there, or what is in its place? Raises CannotWrite.

    Whether it is there can be told only where all that it refers to is.
    """
    records = {record.id: record for record in catalogue.assistants}
    found = {}
    for unit, step in _steps(planned):
        stores = {id: existing.stores[id].target for id in step.stores if id in existing.stores}
        files = {id: existing.files[id].target for id in step.files if id in existing.files}
        pair = None
        if len(stores) == len(step.stores) and len(files) == len(step.files):
            pair = _pair(unit, step, records[step.id], planned.prefix, stores, files, destination)
        place = folder.place(step.path, pair)
        found[step.id] = FoundRequest(
            path=TargetId(place.request), equal=place.there is There.EQUAL, beside=place.beside
        )
    return found


class Writing:
    """The written requests of one run."""

    def __init__(
        self,
        planned: Plan,
        catalogue: BundleSummary,
        folder: RunFolder,
        destination: Mapping[str, str | None],
        operation: Callable[[], str],
    ) -> None:
        self._prefix, self._folder, self._operation = planned.prefix, folder, operation
        self._records = {record.id: record for record in catalogue.assistants}
        self._destination = destination
        replace = all(step.replace for _, step in _steps(planned))
        self._place = RequestFolder(folder.output, destination, replace=replace) if any(_steps(planned)) else None

    async def write(
        self, unit: Unit, step: WriteRequest, stores: Mapping[SourceId, TargetId], files: Mapping[SourceId, TargetId]
    ) -> tuple[TargetId, list[Loss]]:
        """Write the two files of ``step``, unless the run has; ``stores`` and ``files`` are what it refers to.

        Returns the path of the request below OUTPUT_DIR, and what is to be said. Raises CannotWrite.
        """
        if done := self._folder.state.target(Kind.ASSISTANT, step.id):
            return done, []
        assert self._place is not None
        pair = _pair(unit, step, self._records[step.id], self._prefix, stores, files, self._destination)
        place = self._place.place(step.path, pair)
        await self._place.write(self._folder, step.id, place, pair, name=step.name, operation=self._operation)
        said = []
        if place.beside:
            text = (
                f"{step.path} is not as holdall left it, or of another destination, and stays; what holdall would "
                f"put there is {place.request}"
            )
            said.append(Loss(why=Why.BESIDE, kind=Kind.ASSISTANT, id=step.id, name=step.name, text=text))
        return TargetId(place.request), said


def _steps(planned: Plan) -> list[tuple[Unit, WriteRequest]]:
    return [(unit, step) for unit in planned.units for step in unit.steps if isinstance(step, WriteRequest)]


def _pair(
    unit: Unit,
    step: WriteRequest,
    record: Record,
    prefix: str,
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
    destination: Mapping[str, str | None],
) -> Pair:
    """The two files, with what is lost as it was planned: so the same plan gives the same files, whatever befalls."""
    left_out = [one.loss for one in unit.steps if isinstance(one, LeaveOut) and one.loss.inside == step.id]
    return compose(
        record,
        step.path,
        prefix=prefix,
        model=step.model,
        stores=stores,
        files=files,
        losses=[*left_out, *step.losses],
        destination=destination,
    )
