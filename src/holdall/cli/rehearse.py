"""``holdall verify --rehearse``: a restore test, into a sandbox that is deleted afterwards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from holdall.bundle.reader import BundleReader
from holdall.cli.compare import compared_objects, proof_as_json, proof_block
from holdall.cli.console import Console, counted, on_signal
from holdall.cli.import_run import THIS_MACHINE, QuietObserver
from holdall.cli.subprocesses import temporary_folder
from holdall.endpoint import endpoint
from holdall.importer.verbs.compare_copy import RehearseOptions, rehearse_import
from holdall.kinds import KINDS, read
from holdall.model import Kind
from holdall.verdict import Verdict

if TYPE_CHECKING:
    from holdall.importer.verbs.compare_copy import Proof
    from holdall.sandbox.server import Running


_KEY = "sk-rehearsal-0001"


def rehearse(
    console: Console, reader: BundleReader, *, search: bool, accept_known: bool
) -> tuple[dict[str, Any], Verdict]:
    """As ``restore_and_compare``, and print. Returns the result for ``--json`` and the verdict."""
    proof, unread = restore_and_compare(console, reader, search=search, accept_known=accept_known)
    if unread:
        console.say(f"{counted(unread, 'file')} can't be read by the sandbox (other servers may read them)")
    block, verdict = proof_block(proof, f"a restored copy of {reader.path} with it")
    block.show_line(console, f"{verdict} ({reader.path} restored and compared: {compared_objects(proof)})")
    return {**proof_as_json(proof, verdict), "unread_by_sandbox": unread}, verdict


def restore_and_compare(
    console: Console, reader: BundleReader, *, search: bool, accept_known: bool
) -> tuple[Proof, int]:
    """Import the bundle into a sandbox on this machine, compare, and delete it all.

    Nothing of the user's settings is used: no key, no .env, no proxy. The sandbox's folder, with the contents in it,
    is a temporary one (TMPDIR), deleted also where this process is killed. Returns the proof, and how many files the
    sandbox can't read. Raises SandboxError.
    """
    from holdall.sandbox.server import Behaviour, Running

    # Whatever the models are called where the bundle comes from, here they are.
    models = tuple(model for record in reader.whole() if (model := read(record).model))
    with (
        # Termination ends it as Ctrl-C does, so that nothing is left behind.
        on_signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT)),
        temporary_folder("holdall-rehearsal-") as folder,
        Running(folder / "sandbox", behaviour=Behaviour(deployments=models, agents_api=_has_agents(reader))) as sandbox,
    ):
        wanted = RehearseOptions(
            endpoint=endpoint(_KEY, sandbox.url), output=folder / "out", search=search, accept_known=accept_known
        )
        work = rehearse_import(reader, wanted, QuietObserver(console), THIS_MACHINE, console.progress())
        try:
            found = asyncio.run(_while_it_serves(sandbox, work))
        except BaseException:
            if sandbox.failure:
                raise sandbox.failure from sandbox.failure.__cause__
            raise
    console.close_progress()
    return found


def _has_agents(reader: BundleReader) -> bool:
    """Whether the bundle has agents, or what these are made of."""
    return any(reader.info.counts.get(KINDS[kind].count) for kind in (Kind.AGENT, Kind.SKILL, Kind.TEMPLATE))


async def _while_it_serves(sandbox: Running, work: Coroutine[Any, Any, tuple[Proof, int]]) -> tuple[Proof, int]:
    """Await ``work``; cancel it where the sandbox ends, as it would wait for the sandbox to come back."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it the work
            loop.call_soon_threadsafe(task.cancel)

    sandbox.when_it_fails(cancel)
    return await task
