"""One run of an import, as ``import`` and ``clone`` call it: told on the way, and stopped in good order by Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli import options
from holdall.cli.compare import compare
from holdall.cli.console import Console, Outcome
from holdall.cli.lossview import losses_of
from holdall.cli.lossview import show as show_losses
from holdall.cli.planning import proved
from holdall.cli.planview import line, require_consent, result_of, show_conflicts, show_plan, tell
from holdall.cli.verdictview import as_result, conclude, worse
from holdall.dialects.loss import Severity
from holdall.errors import EXIT_LOOK, Interrupted
from holdall.importer.verbs import run_import as verb
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind
from holdall.settings import DestinationSettings

__all__ = ["THIS_MACHINE", "Narrator", "Unwatched", "run_import"]

DRY_RUN = "DRY RUN: nothing written"

THIS_MACHINE = verb.Machine(now=time.time, run=lambda: secrets.token_hex(3), operation=lambda: secrets.token_hex(8))


class Unwatched:
    """An observer that prints nothing. Ctrl-C stops the import."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def planned(self, prepared: verb.Prepared) -> None: ...

    def consent(self, prepared: verb.Prepared) -> None: ...

    @contextmanager
    def halting(self, ask: Callable[[], None]) -> Iterator[None]:
        """The first Ctrl-C asks to stop; the second one raises KeyboardInterrupt."""
        loop = asyncio.get_running_loop()
        pressed = False

        def stop() -> None:
            self._console.warn("stopping: what is in flight is finished first; Ctrl-C once more stops at once")
            ask()

        def press(number: int, frame: object) -> None:
            nonlocal pressed
            if pressed:
                raise KeyboardInterrupt
            pressed = True
            loop.call_soon_threadsafe(stop)

        if threading.current_thread() is not threading.main_thread():  # where no signal arrives
            yield
            return
        before = signal.signal(signal.SIGINT, press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class Narrator(Unwatched):
    """Tells what would be done, and asks. ``kept``: the bundle outlives the command.

    With ``result`` a plan is shown whole, with the line ``last`` below it, and ``outcome`` is that of a command that
    does no more; its result begins with these values.
    """

    def __init__(
        self,
        console: Console,
        reader: BundleReader,
        output: Path,
        *,
        kept: bool = True,
        yes: bool = False,
        result: dict[str, Any] | None = None,
        last: str = "",
    ) -> None:
        super().__init__(console)
        self._reader, self._output = reader, output
        self._kept, self._yes, self._result, self._last = kept, yes, result, last
        self.outcome = Outcome()

    def planned(self, prepared: verb.Prepared) -> None:
        lacking = tell(self._console, prepared, self._reader, self._output, kept=self._kept)
        if self._result is None:
            show_conflicts(self._console, prepared)
            return
        verdict = prepared.verdict()
        show_plan(self._console, prepared, verdict)
        if self._last:
            self._console.result(self._last)
        self.outcome = Outcome(
            exit_code=EXIT_LOOK if prepared.plan.pending() else verdict.exit_code,
            result={**self._result, **result_of(prepared), **as_result(verdict), **lacking},
            losses=losses_of(prepared.plan.losses()),
        )

    def consent(self, prepared: verb.Prepared) -> None:
        require_consent(self._console, prepared, yes=self._yes)


def run_import(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    asked: verb.Asked,
    parameters: Mapping[str, Any],
    *,
    document: verb.PlanDocument | None = None,
    kept: bool = True,
    compared: bool = False,
) -> Outcome:
    """Import, telling on the way; raises what stopped the run after its report is shown.

    ``parameters`` are those of ``how_to_import``. With a ``document`` nothing but the plan in it is carried out.
    ``kept``: the bundle outlives the command. ``compared``: at the end the destination is compared with the bundle.
    """
    accept_known = parameters["accept_known_losses"]
    wanted = verb.ImportOptions(
        asked=asked,
        output=settings.output_dir,
        accept_known=accept_known,
        document=document,
        dry_run=settings.dry_run,
        force=parameters["force"],
        settle=settings.settle,
    )

    async def work(reader: BundleReader) -> Outcome:
        result = {"dry_run": True} if settings.dry_run else None
        narrator = Narrator(
            console,
            reader,
            settings.output_dir,
            kept=kept,
            yes=parameters["yes"] or document is not None,
            result=result,
            last=DRY_RUN,
        )
        async with options.destination(console, settings) as account:
            imported = await verb.run_import(account, reader, wanted, narrator, THIS_MACHINE)
        console.close_progress()
        return _told(console, settings, imported, imported.report) if imported.report else narrator.outcome

    console.say(f"importing {bundle.name} into {settings.endpoint.title}")
    with proved(console, bundle) as reader:
        try:
            outcome = asyncio.run(work(reader))
        except KeyboardInterrupt:
            stopped = "interrupted: stopped at once, in the middle of what was in flight"
            raise Interrupted(stopped, hint="run the same command again: it goes on where this one stopped") from None
        if not compared or settings.dry_run:
            return outcome
        against, verdict = compare(console, settings, reader, search=False, accept_known=accept_known)
    assert isinstance(outcome.result, dict)
    result = {**outcome.result, **({} if verdict.complete else as_result(verdict)), "against": against}
    return msgspec.structs.replace(outcome, exit_code=worse(outcome.exit_code, verdict.exit_code), result=result)


def _told(console: Console, settings: DestinationSettings, imported: verb.Imported, report: verb.Report) -> Outcome:
    """Show what came of it, but for the losses that were shown before; the exit code is the verdict's."""
    foreseen = set(imported.prepared.plan.losses()) if imported.prepared else ()
    for result in report.results:
        name = result.name or "no name"
        if result.status is verb.Status.SUCCESS:
            arrow = f" -> {result.target}" if result.target else ""
            how = f" ({result.how})" if result.how != "created" else ""
            console.result(line(f"success  {result.source}{arrow}  {name}{how}"))
        else:
            there = f" -> {result.target}" if result.target else ""
            console.result(line(f"{result.status}  {result.source}{there}  {name}: {result.error}"))
    minor = [loss for loss in report.losses() if loss.why.severity is Severity.MINOR]
    show_losses(console, [loss for loss in dict.fromkeys(minor) if loss not in foreseen])
    counts = Counter(result.status for result in report.results)
    console.say(
        ", ".join(f"{counts[status]} {status}" for status in verb.Status if counts[status]) or "nothing to import"
    )
    for orphan in report.orphans[:20]:
        where = orphan.id or "not seen so far"
        console.warn(line(f"possible orphan, used by nothing: {orphan.name or orphan.source} ({where})"))
    for one in report.duplicates[:20]:
        console.warn(line(f"made twice, by this import and by another: {one}"))
    if report.duplicates:
        more = f" ({len(report.duplicates)} in all, in mapping.json)" if len(report.duplicates) > 20 else ""
        console.warn(f"another import made the same things at the same time{more}: {verb.keeping(report)}")
    console.say(f"mapping and report in {settings.output_dir}, this run in {settings.output_dir / 'runs' / report.run}")
    if report.stopped:
        raise report.stopped
    verdict = imported.verdict()
    conclude(console, verdict)
    document, others = msgspec.to_builtins(verb.mapping(report)), report.of(Kind.STORE, Kind.FILE)
    mapped = (KINDS[kind].count for kind in DEFINITIONS if kind is not Kind.ASSISTANT)  # they are in "mappings"
    return Outcome(
        exit_code=verdict.exit_code,
        result={
            "dry_run": False,
            "run": report.run,
            "output_dir": str(settings.output_dir),
            **{key: document[key] for key in ("source", "destination", "mappings", *mapped, "options")},
            "others": [{"srcId": one.source, "dstId": one.target, "status": one.status.value} for one in others],
            "files": len(report.files),
            "possible_orphans": document["possible_orphans"],
            "duplicates": document["duplicates"],
            "requests": report.requests,
            **as_result(verdict),
        },
        losses=losses_of(report.losses()),
    )
