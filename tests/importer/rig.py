"""Imports a shelf into a sandbox without ever waiting by the clock."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import cast

from holdall.bundle.reader import BundleReader
from holdall.importer.apply import apply
from holdall.importer.catalogue import catalogue
from holdall.importer.pace import Pace
from holdall.importer.plan import plan
from holdall.importer.report import Report
from holdall.importer.run import RunFolder
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
    prefix: str = "",
    concurrency: int = 3,
    moment: Time | None = None,
    interrupt_at: int = 0,
) -> Report:
    """Import the shelf into the sandbox; at write number ``interrupt_at``, counted from 1, comes the Ctrl-C."""
    reader = cast(BundleReader, shelf)
    ticks, moment = itertools.count(), moment or Time()

    async def go() -> Report:
        main = asyncio.current_task()

        def operation() -> str:
            number = next(ticks)
            if number == interrupt_at and main:
                main.cancel()
            return f"op{number}"

        holding = catalogue(reader)
        planned = plan(holding, Selection(), prefix=prefix)
        folder = RunFolder(out, now=time.time, token=f"{next(ticks)}")
        limits = Limits(concurrency, sleep=moment.sleep)
        async with Account(endpoint(KEY, box.url), side="destination", limits=limits) as account:
            try:
                return await apply(
                    planned,
                    holding,
                    reader,
                    account,
                    folder,
                    options={"prefix": prefix},
                    operation=operation,
                    now=time.time,
                    pace=Pace(clock=lambda: moment.now, sleep=moment.sleep),
                    progress=Silent(),
                )
            finally:
                await folder.close()

    return asyncio.run(go())
