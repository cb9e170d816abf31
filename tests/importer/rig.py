"""Imports a shelf into a sandbox without ever waiting by the clock."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from holdall.bundle.durable import durable
from holdall.bundle.reader import BundleReader
from holdall.dialects.forms import Form
from holdall.importer.apply.apply import apply
from holdall.importer.apply.resume import unfinished
from holdall.importer.journal.pace import Halt, Pace
from holdall.importer.journal.report import Report
from holdall.importer.journal.run import RunFolder
from holdall.importer.plan.catalogue import catalogue
from holdall.importer.plan.choices import Choices, table_of
from holdall.importer.plan.plan import plan
from holdall.progress import Silent
from holdall.remote.client import Account, endpoint
from holdall.remote.limits import Limits
from holdall.sandbox.server import Running
from holdall.selection import Selection
from tests.importer.shelf import Shelf

KEY = "sk-destination-0001"


class Time:
    """A clock that only the program's own waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def run(
    shelf: Shelf,
    box: Running,
    out: Path,
    *,
    key: str = KEY,
    prefix: str = "",
    concurrency: int = 3,
    moment: Time | None = None,
    interrupt_at: int = 0,
    halt_at: int = 0,
    sync: Callable[[BinaryIO], None] = durable,
    force: bool = False,
    form: Form = Form.ASSISTANTS,
    before_first: Callable[[], object] | None = None,
) -> Report:
    """Import the shelf into the sandbox, or go on with the run below ``out`` that was cut off.

    At write number ``interrupt_at``, counted from 1, everything is cancelled; at ``halt_at`` comes the first Ctrl-C.
    ``before_first`` is called before the first write, when the destination has been looked at.
    """
    reader = cast(BundleReader, shelf)
    ticks, moment = itertools.count(1), moment or Time()
    halt = Halt()

    async def go() -> Report:
        main = asyncio.current_task()

        def operation() -> str:
            number = next(ticks)
            if number == 1 and before_first:
                before_first()
            if number == interrupt_at and main:
                main.cancel()
            if number == halt_at:
                halt.ask()
            return secrets.token_hex(8)

        holding = catalogue(reader)
        limits = Limits(concurrency, sleep=moment.sleep)
        options = {"prefix": prefix}
        async with Account(endpoint(key, box.url), side="destination", limits=limits) as account:
            await account.get("/files", {"limit": 1})
            choices = Choices(form=form, limits=table_of(form, account.endpoint.base_url, reader.info))
            again = unfinished(out, msgspec.to_builtins(shelf.info.digests), account.party, options)
            folder = RunFolder(out, now=time.time, token=secrets.token_hex(3), again=again, sync=sync)
            try:
                return await apply(
                    folder.plan() if again else plan(holding, Selection(), prefix=prefix, choices=choices),
                    holding,
                    reader,
                    account,
                    folder,
                    options=options,
                    operation=operation,
                    now=time.time,
                    pace=Pace(clock=lambda: moment.now, sleep=moment.sleep, halt=halt),
                    progress=Silent(),
                    force=force,
                )
            finally:
                await folder.close()

    return asyncio.run(go())
