"""``holdall export -o -``: the bundle to standard output, once it is finished and proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from holdall.cli.console import Console, Outcome
from holdall.cli.export import run_export
from holdall.cli.subprocesses import temporary_folder
from holdall.errors import CannotWrite, DamagedBundle, Mistakes, UsageFault
from holdall.safe_files import open_regular
from holdall.settings import SourceSettings

if TYPE_CHECKING:
    from holdall.dumps import Dump
    from holdall.exporter.report import ExportReport

_PIECE = 1 << 20
# What can't be combined with a bundle on stdout, and why.
_REFUSED = {
    "dry_run": ("--dry-run", "a dry run writes no bundle"),
    "skip_if_unchanged": ("--skip-if-unchanged", "the next program would get nothing"),
    "force": ("--force", "no file is replaced"),
    "resume": ("--resume or --no-resume", "nothing is kept that could be resumed"),
}


def refusals(console: Console, given: Mapping[str, Any]) -> Mistakes:
    """What in ``given`` can't be combined with ``-o -``."""
    mistakes = Mistakes()
    if console.json:
        said = "-o - can't be combined with --json: both would go to stdout"
        mistakes.add(UsageFault(said, hint="-o FILE"))
    elif console.stdout.isatty():
        said = "can't write a bundle to a terminal"
        mistakes.add(UsageFault(said, hint="pipe it into another program, or use -o FILE"))
    for name, (flag, why) in _REFUSED.items():
        # --no-resume is a choice too; the others are off unless given.
        if given[name] is not None if name == "resume" else given[name]:
            mistakes.add(UsageFault(f"-o - can't be combined with {flag}: {why}", hint="-o FILE"))
    return mistakes


def run_piped(console: Console, settings: SourceSettings, given: Mapping[str, Any], dump: Dump | None) -> Outcome:
    """Export into a temporary folder, verify, then write the bundle to stdout: all of it, or nothing where anything
    failed before. Raises CannotWrite where the reader ends before the bundle does."""
    with temporary_folder("holdall-export-") as folder:

        def deliver(report: ExportReport) -> None:
            _prove(console, report)
            _write(console, report)

        try:
            outcome = run_export(console, settings, {**given, "output": folder}, dump, kept=False, deliver=deliver)
        except CannotWrite as error:
            # Both hints for a full disk begin so; what is unfinished goes with the folder.
            if not error.hint.startswith("free disk space"):
                raise
            hint = "set TMPDIR to a folder with room for the whole bundle, then run the same command again"
            raise CannotWrite(error.message, hint=hint) from None
    console.verbatim(f"sha256 {outcome.result['sha256']}")
    return outcome


def _prove(console: Console, report: ExportReport) -> None:
    """Raises DamagedBundle where the disk doesn't give back what was written."""
    from holdall.bundle.verification import verify

    proof = verify(report.bundle, sha256=report.sha256, progress=console.progress())
    if proof.exit_code:
        found = next((each.message for each in proof.findings), "another checksum than while it was written")
        raise DamagedBundle(
            f"can't write the bundle to stdout: it was damaged in the temporary folder: {found}",
            hint="check the disk, or set TMPDIR to a folder on another one",
        )


def _write(console: Console, report: ExportReport) -> None:
    # The bytes as they are: escaping is for lines.
    stdout: BinaryIO = console.stdout.buffer
    console.progress().stage("Writing to stdout")
    try:
        with open_regular(report.bundle) as file:
            while piece := file.read(_PIECE):
                stdout.write(piece)
        stdout.flush()
    except BrokenPipeError:
        raise CannotWrite(
            "can't write to stdout: the program that reads the bundle ended early",
            hint="see its own messages; what it has stored is no whole bundle",
        ) from None
