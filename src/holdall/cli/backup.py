"""``holdall backup``: back up several projects, unattended."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.cli.views import Block, Group
from holdall.errors import CannotRead, UsageFault, pasteable
from holdall.safe_files import read_regular
from holdall.variables import KEY_VARIABLES

if TYPE_CHECKING:
    from holdall.backups.back_up_source import BackupMachine
    from holdall.backups.backup_config import BackupConfig
    from holdall.backups.source_state import SourceReport
    from holdall.bundle.reader import BundleReader
    from holdall.verdict import Verdict


class Shard(click.ParamType[tuple[int, int]]):
    """``i/n`` as two numbers, i from 1 to n."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        words = str(value).split("/")
        found = tuple(int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 7)
        if len(words) != 2 or len(found) != 2 or not 1 <= found[0] <= found[1]:
            self.fail(f"{value!r} is not i/n with i from 1 to n, such as 2/5", param, ctx)
        return found[0], found[1]


@click.command("backup", cls=options.Command)
@click.option("--config", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Config file (TOML).")
@click.option("--only", multiple=True, metavar="NAME", help="Back up only this source. Repeatable.")
@click.option(
    "--shard",
    metavar="I/N",
    type=Shard(),
    default="1/1",
    help="Back up every Nth source, beginning with the Ith: one part for each of N machines or processes.",
)
@click.option("--accept-shrink", is_flag=True, help="Accept that objects have disappeared or files are less complete.")
@click.option(
    "--on-failure",
    metavar="CMD",
    help="Run this for each source whose exit code isn't 0, with HOLDALL_SOURCE, HOLDALL_VERDICT, HOLDALL_EXIT_CODE … "
    "in its environment. Default: on_failure of the config.",
)
@options.output
def command(console: Console, /, config: Path, on_failure: str | None, **given: Any) -> Outcome:
    """Back up the projects of a config file: export, compare with the last good backup, verify, rehearse, prune.

    Made for cron and timers: asks nothing, and one project failing stops none of the others. Prints one JSON line for
    each project to stdout. A project that has lost more than the config allows since its last good backup is not
    backed up until --accept-shrink.

    Exits with the highest code of its projects: 0 good; 4 something is missing that the last good backup had or, in a
    first backup, the project had; 3 a project has shrunk; 10 and above for errors.
    """
    from holdall.backups.run_backup import BackupOptions, run_backup
    from holdall.backups.source_state import exit_code_of

    read = _read(config, on_failure)
    reports = run_backup(
        read, BackupOptions(**given), _machine(console), console.progress(), lambda report: _tell(console, report)
    )
    code = exit_code_of(reports)
    _block(reports, code, config).show(console)
    return Outcome(exit_code=code, result={"sources": msgspec.to_builtins(reports)})


def _read(path: Path, on_failure: str | None) -> BackupConfig:
    from holdall.backups.backup_config import read_config
    from holdall.quoting import command_words

    keys = {said for name in KEY_VARIABLES if (said := os.environ.get(name))}
    try:
        data = read_regular(path)
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None
    config = read_config(data, path, keys)
    if on_failure is None:
        return config
    try:
        words = command_words(on_failure)
    except ValueError as error:
        raise UsageFault(f"can't use --on-failure: {error}") from None
    return msgspec.structs.replace(config, on_failure=tuple(words))


def _machine(console: Console) -> BackupMachine:
    from holdall.backups.back_up_source import BackupMachine
    from holdall.cli.main import as_ours

    def rehearse(reader: BundleReader) -> Verdict:
        from holdall.cli.rehearse import restore_and_compare

        proof, _ = restore_and_compare(console, reader, search=False, accept_known=True)
        return proof.verdict()

    return BackupMachine(
        now=time.time,
        token=lambda: secrets.token_hex(8),
        environ=os.environ,
        rehearse=rehearse,
        explain=lambda error: as_ours(error, console)[0],
    )


def _tell(console: Console, report: SourceReport) -> None:
    console.close_progress()
    console.path(msgspec.json.encode(report).decode())


def _block(reports: list[SourceReport], code: int, config: Path) -> Block:
    # Errors first: of many, only the first are shown.
    bad = sorted((one for one in reports if one.exit_code), key=lambda one: -one.exit_code)
    held_back = [one.source for one in bad if one.is_held_back]
    return Block(
        verdict=_verdict(reports),
        exit_code=code,
        facts=[],
        groups=[Group(title=f"{one.source}: {one.verdict}", total=1) for one in bad],
        details=[f"{one.source}: {one.verdict}" for one in reports],
        commands=[
            f"holdall backup --config {pasteable(config)} --only {source} --accept-shrink" for source in held_back[:1]
        ],
    )


def _verdict(reports: list[SourceReport]) -> str:
    good = sum(one.succeeded for one in reports)
    new = sum(one.new_losses > 0 for one in reports)
    known = sum(one.losses > 0 for one in reports) - new
    losses = [f"{count} with {which} losses" for count, which in ((new, "new"), (known, "known")) if count]
    if losses or any(one.exit_code for one in reports):
        return ", ".join([f"{good} of {counted(len(reports), 'source')} backed up", *losses])
    return f"COMPLETE: {counted(good, 'source')}"
