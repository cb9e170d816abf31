"""Carry a plan out, from the first line of the journal to the last, and report what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.errors import Interrupted
from holdall.importer.apply.resume import begin
from holdall.importer.apply.twins import attempt_name, duplicates
from holdall.importer.apply.work import Work
from holdall.importer.journal.journal import Closed, Opened
from holdall.importer.journal.pace import Pace
from holdall.importer.journal.report import Duplicate, Party, Report
from holdall.importer.journal.run import RunFolder, timestamp
from holdall.importer.plan.metadata import without_keys
from holdall.importer.plan.steps import Catalogue, Plan
from holdall.model import Kind
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.version import __version__

__all__ = ["apply"]


async def apply(
    plan: Plan,
    catalogue: Catalogue,
    reader: BundleReader,
    account: Account,
    folder: RunFolder,
    *,
    options: Mapping[str, Any],
    operation: Callable[[], str],
    now: Callable[[], float],
    pace: Pace,
    progress: Progress,
    force: bool = False,
) -> Report:
    """Do what ``plan`` says and report what came of it. A ``folder`` with a journal in it goes on where that ends.

    ``operation`` gives each attempt to create a name that is fresh within the run, ``now`` is in Unix seconds. On
    return, also by an exception, mapping and report of what was done until then are in ``folder`` and in OUTPUT_DIR.
    Remote errors and Interrupted don't leave here: the report has them, and the run can be gone on with. Raises
    CannotWrite where the journal can't go on, DamagedBundle, and ``ImportUnderWay`` unless ``force``, before the first
    write.
    """
    destination = account.party
    catalogue = without_keys(catalogue, plan.dropped_keys)

    def attempt() -> str:
        return attempt_name(folder.id, operation())

    work = Work(plan, catalogue, reader, account, folder, destination, attempt, pace=pace, progress=progress)
    twice: list[Duplicate] = []
    standing = folder.standing
    started = standing.opened.started if standing.opened else timestamp(now())
    bundle = {"name": reader.path.name, **msgspec.to_builtins(reader.info.digests)}
    opened = Opened(
        run=folder.id,
        tool=f"holdall {__version__}",
        started=started,
        bundle=bundle,
        destination=destination,
        options=dict(options),
    )

    def report() -> Report:
        stopped = work.stopped
        otherwise = f"not finished: {stopped.meaning if stopped else 'the run ended before it'}"
        return Report(
            run=folder.id,
            started=started,
            ended=timestamp(now()),
            source=Party(org_id=reader.info.source.organization, project_id=reader.info.source.project),
            destination=Party(org_id=account.organization, project_id=account.project),
            base_url=account.endpoint.base_url,
            bundle=bundle,
            options=dict(options),
            assistants=work.tally.results(Kind.ASSISTANT, otherwise=otherwise),
            agents=work.tally.results(Kind.AGENT, otherwise=otherwise),
            others=[
                *work.tally.results(Kind.STORE, otherwise=otherwise),
                *work.tally.results(Kind.FILE, otherwise=otherwise),
            ],
            stores=work.stores,
            files=work.files,
            copies=standing.copies,
            added=frozenset({*standing.added, *plan.dropped_keys}),
            requests=dict(account.requests),
            form=plan.form,
            stopped=stopped,
            orphans=work.orphans,
            duplicates=twice,
        )

    await begin(plan, account, folder, opened, force=force, now=now)
    try:
        await work.run()
        if work.stopped is None:
            twice += await duplicates(
                account,
                catalogue,
                folder,
                prefix=plan.prefix,
                known={one.id for one in work.orphans if one.id is not None},
                now=now,
                pace=pace,
                progress=progress,
            )
    except Interrupted as error:
        work.stopped = error
    finally:
        folder.publish(done := report())
    if done.stopped is None:
        await folder.write(Closed(ended=timestamp(now())))
    return done
