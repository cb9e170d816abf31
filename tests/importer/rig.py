"""Imports a shelf into a sandbox without ever waiting by the clock."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from holdall.bundle.reader import BundleReader
from holdall.dialects.rules import Form
from holdall.endpoint import endpoint
from holdall.importer.apply.context import Context, Pace
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.verbs.import_bundle import Asked, ImportOptions, Machine, OnConflict, Prepared, Report, run_import
from holdall.progress import Silent
from holdall.remote.client import Account
from holdall.remote.limits import Limits
from holdall.safe_files import sync_file
from holdall.sandbox.server import Running
from tests.importer.shelf import Shelf

KEY = "sk-destination-0001"


class Time:
    """A clock that only the program's own waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def context(account: object, folder: object, pace: Pace, operation: Callable[[], str] = lambda: "op") -> Context:
    """For a test's own account and folder."""
    return Context(
        account=cast(Account, account),
        folder=cast(RunFolder, folder),
        pace=pace,
        progress=Silent(),
        operation=operation,
        now=time.time,
    )


class Unasked:
    """Observes an import that nobody is asked about, and that ``ask`` stops."""

    def __init__(self) -> None:
        self.ask: Callable[[], None] = lambda: None

    def planned(self, prepared: Prepared) -> None: ...

    def consent(self, prepared: Prepared) -> None: ...

    @contextmanager
    def halting(self, ask: Callable[[], None]) -> Iterator[None]:
        self.ask = ask
        yield


def run(
    shelf: Shelf,
    box: Running,
    out: Path,
    *,
    key: str = KEY,
    url: str = "",
    prefix: str = "",
    concurrency: int = 3,
    moment: Time | None = None,
    interrupt_at: int = 0,
    halt_at: int = 0,
    sync: Callable[[BinaryIO], None] = sync_file,
    force: bool = False,
    form: Form = Form.ASSISTANTS,
    on_conflict: OnConflict = OnConflict.DUPLICATE,
    map_model: tuple[str, ...] = (),
    before_first: Callable[[], object] | None = None,
) -> Report:
    """Import the shelf into the sandbox, or go on with the run below ``out`` that was cut off.

    At write number ``interrupt_at``, counted from 1, everything is cancelled; at ``halt_at`` comes the first Ctrl-C.
    ``before_first`` is called before the first write, when the destination has been looked at.
    """
    reader = cast(BundleReader, shelf)
    ticks, moment = itertools.count(1), moment or Time()
    observer = Unasked()
    asked = Asked(form=form, prefix=prefix, map_model=map_model, on_conflict=on_conflict)

    async def go() -> Report:
        main = asyncio.current_task()

        def operation() -> str:
            number = next(ticks)
            if number == 1 and before_first:
                before_first()
            if number == interrupt_at and main:
                main.cancel()
            if number == halt_at:
                observer.ask()
            return secrets.token_hex(8)

        machine = Machine(now=time.time, run=lambda: secrets.token_hex(3), operation=operation, sync=sync)
        limits = Limits(concurrency, clock=lambda: moment.now, sleep=moment.sleep)
        async with Account(endpoint(key, url or box.url), side="destination", limits=limits) as account:
            options = ImportOptions(asked=asked, output=out, force=force)
            report = (await run_import(account, reader, options, observer, machine)).report
        assert report
        return report

    return asyncio.run(go())
