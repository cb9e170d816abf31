"""``holdall verify --rehearse``: a restore test, into a sandbox that is thrown away."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from holdall.cli import children
from holdall.cli.against import told
from holdall.cli.console import Console, counted
from holdall.cli.runs import carry_out
from holdall.errors import Interrupted
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.proof.proof import Proof
    from holdall.sandbox.server import Running
    from holdall.verdict import Verdict

__all__ = ["rehearse"]

_KEY = "sk-rehearsal-0001"

T = TypeVar("T")


def rehearse(
    console: Console, reader: BundleReader, *, search: bool, accept_known: bool
) -> tuple[dict[str, Any], Verdict]:
    """Import the bundle into a sandbox on this machine, compare, print, and take everything away again.

    Nothing of the user's settings is used: no key, no .env, no proxy. The folder of the sandbox, where the contents
    are for as long as it lasts, is a temporary one (TMPDIR) that goes also where this process is killed. Returns the
    result for ``--json`` and the verdict. Raises MissingExtra.
    """
    from holdall.sandbox.server import Behaviour, Running

    with (
        _ending_in_order(),
        children.passing_folder("holdall-rehearsal-") as folder,
        # Whatever the models are called where the bundle comes from, here they are.
        Running(
            folder / "sandbox",
            behaviour=Behaviour(deployments=tuple(_models(reader)), agents_api=any(reader.agents())),
        ) as sandbox,
    ):
        output = folder / "out"
        restored = _restore_and_compare(console, reader, sandbox.url, output, search=search, accept_known=accept_known)
        try:
            proof = asyncio.run(_while_it_serves(sandbox, restored))
        except BaseException:
            if sandbox.failure:
                raise sandbox.failure from None
            raise
    console.close_progress()
    proof, unread = _sandbox_aside(proof)
    if unread:
        console.say(f"{counted(unread, 'file')} can't be read by the sandbox, which says nothing of other servers")
    found, verdict = told(console, proof, title=f"rehearsal of {reader.path}")
    return {**found, "unread_by_sandbox": unread}, verdict


async def _while_it_serves(sandbox: Running, work: Coroutine[Any, Any, T]) -> T:
    """What comes of ``work``, which is cancelled where the sandbox ends: it would be waited for until it is back."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it the work
            loop.call_soon_threadsafe(task.cancel)

    sandbox.when_it_fails(cancel)
    return await task


async def _restore_and_compare(
    console: Console, reader: BundleReader, url: str, output: Path, *, search: bool, accept_known: bool
) -> Proof:
    from holdall.endpoint import endpoint
    from holdall.importer.destination.placement import by_mapping, by_marks
    from holdall.importer.destination.preparation import prepare
    from holdall.importer.plan.catalogue import catalogue
    from holdall.importer.plan.document import Asked
    from holdall.importer.plan.steps import Plan
    from holdall.importer.proof.proof import prove
    from holdall.remote.client import Account

    settings = DestinationSettings(
        endpoint=endpoint(_KEY, url),
        prefix="",
        dry_run=False,
        output_dir=output,
        settle=0.0,
        concurrency=8,
        log_level="info",
        notices=[],
    )
    holding, asked, progress = catalogue(reader), Asked(), console.progress()
    async with Account(settings.endpoint, side="destination", concurrency=8, progress=progress) as account:

        async def planned() -> Plan:
            found = await prepare(account, holding, reader, asked, output=output, now=time.time(), progress=progress)
            return found.plan

        report = await carry_out(
            console, settings, reader, holding, account, asked.options(), planned=planned, force=False
        )
        if isinstance(report.stopped, Interrupted):
            raise Interrupted("interrupted: the rehearsal was not finished, and nothing of it is left")
        if report.stopped:
            raise report.stopped
        placement = by_mapping(output, msgspec.to_builtins(reader.info.digests), account.party)
        placement = placement or await by_marks(account, agents=bool(holding.agents))
        return await prove(
            holding,
            reader,
            account,
            placement,
            progress=progress,
            prefix="",
            search=search,
            accept_known=accept_known,
        )


def _models(reader: BundleReader) -> Iterator[str]:
    from holdall.model import AgentView

    # Agents have their model where assistants have it.
    for record in chain(reader.assistants(), reader.agents()):
        model = AgentView.of(record).model
        if model:
            yield model


def _sandbox_aside(proof: Proof) -> tuple[Proof, int]:
    """The proof without the files that the sandbox's own parsers can't read, and how many these are."""
    from holdall.model import Kind

    ours = [one for one in proof.differences if one.kind is not Kind.MEMBERSHIP or one.field != "status"]
    return msgspec.structs.replace(proof, differences=ours), len(proof.differences) - len(ours)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let termination (SIGTERM) end the block as Ctrl-C does, so that nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
