"""One run of an import, as ``import`` and ``clone`` carry it out: alone in its output folder, gone on with after a
stop, and stopped in good order by Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli.console import Console, counted
from holdall.errors import Interrupted
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.journal.pace import Halt
    from holdall.importer.journal.report import Report
    from holdall.importer.journal.run import RunFolder
    from holdall.importer.plan.steps import Catalogue, Plan
    from holdall.remote.client import Account

__all__ = ["GO_ON", "carry_out", "how_to_run", "stopped_at_once"]

GO_ON = "run the same command again: it goes on where this one stopped"


def how_to_run(command: Any) -> Any:
    """The options that say how a plan is carried out."""
    command = click.option(
        "--force",
        is_flag=True,
        help="Go on although another import made copies of the same within the last hour.",
    )(command)
    return click.option(
        "--settle",
        metavar="SECONDS",
        help="How long to look for something whose answer was lost, before a second try; default 60 (HOLDALL_SETTLE).",
    )(command)


async def carry_out(
    console: Console,
    settings: DestinationSettings,
    reader: BundleReader,
    holding: Catalogue,
    account: Account,
    options: Mapping[str, Any],
    *,
    planned: Callable[[], Awaitable[Plan]],
    force: bool,
) -> Report:
    """Go on with the run of the same bundle, destination and ``options`` that was cut off, or do what ``planned`` says.

    Holds the lock of OUTPUT_DIR, also while ``planned`` looks at what is there. Raises OutputLocked, what ``planned``
    raises, and as ``apply`` does.
    """
    from holdall.importer.apply.apply import apply
    from holdall.importer.apply.resume import unfinished
    from holdall.importer.journal.pace import Pace
    from holdall.importer.journal.run import RunFolder, locked

    digests = msgspec.to_builtins(reader.info.digests)
    with locked(settings.output_dir):
        again = unfinished(settings.output_dir, digests, account.party, options)
        plan = None if again else await planned()
        folder = RunFolder(settings.output_dir, now=time.time, token=secrets.token_hex(3), again=again)
        try:
            if again:
                _say_again(console, folder)
            with _halting(console) as halt:
                return await apply(
                    plan or folder.plan(),
                    holding,
                    reader,
                    account,
                    folder,
                    options=options,
                    operation=lambda: secrets.token_hex(8),
                    now=time.time,
                    pace=Pace(
                        clock=account.limits.clock, sleep=account.limits.sleep, settle=settings.settle, halt=halt
                    ),
                    progress=account.progress,
                    force=force,
                )
        finally:
            await folder.close()


def _say_again(console: Console, folder: RunFolder) -> None:
    there = ", ".join(counted(len(ids), kind.replace("_", " ")) for kind, ids in folder.standing.targets.items() if ids)
    console.say(f"going on with run {folder.id}, which was cut off; made already: {there or 'nothing'}")


def stopped_at_once() -> Interrupted:
    """What a second Ctrl-C ends in."""
    return Interrupted("interrupted: stopped at once, in the middle of what was in flight", hint=GO_ON)


@contextmanager
def _halting(console: Console) -> Iterator[Halt]:
    """A wish to stop that the first Ctrl-C makes; the second one raises KeyboardInterrupt."""
    from holdall.importer.journal.pace import Halt

    halt, loop = Halt(), asyncio.get_running_loop()
    pressed = False

    def ask() -> None:
        console.warn("stopping: what is in flight is finished first; Ctrl-C once more stops at once")
        halt.ask()

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        loop.call_soon_threadsafe(ask)

    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield halt
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield halt
    finally:
        signal.signal(signal.SIGINT, before)
