"""Carry a plan out, from the first line of the journal to the last, and report what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.errors import Interrupted
from holdall.importer.apply.context import Context
from holdall.importer.apply.resume import begin
from holdall.importer.apply.twins import duplicates
from holdall.importer.apply.work import Work
from holdall.importer.journal.journal import Closed, Opened
from holdall.importer.journal.report import Duplicate, Party, Report
from holdall.importer.journal.run import timestamp
from holdall.importer.plan.metadata import without_keys
from holdall.importer.plan.steps import Catalogue, Plan
from holdall.model import Kind
from holdall.version import __version__

__all__ = ["apply"]


async def apply(
    context: Context,
    plan: Plan,
    catalogue: Catalogue,
    reader: BundleReader,
    *,
    options: Mapping[str, Any],
    force: bool = False,
) -> Report:
    """Do what ``plan`` says and report what came of it. A folder with a journal in it goes on where that ends.

    On return, also by an exception, mapping and report of what was done until then are in the folder and in OUTPUT_DIR.
    Remote errors and Interrupted don't leave here: the report has them, and the run can be gone on with. Raises
    CannotWrite where the journal can't go on, DamagedBundle, and ``ImportUnderWay`` unless ``force``, before the first
    write.
    """
    account, folder, now = context.account, context.folder, context.now
    destination = account.party
    catalogue = without_keys(catalogue, plan.dropped_keys)
    work = Work(context, plan, catalogue, reader, destination)
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

    await begin(context, plan, opened, force=force)
    try:
        await work.run()
        if work.stopped is None:
            twice += await duplicates(
                context,
                catalogue,
                prefix=plan.prefix,
                known={one.id for one in work.orphans if one.id is not None},
            )
    except Interrupted as error:
        work.stopped = error
    finally:
        folder.publish(done := report())
    if done.stopped is None:
        await folder.write(Closed(ended=timestamp(now())))
    return done
