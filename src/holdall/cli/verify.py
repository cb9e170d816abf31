"""``holdall verify``: check a bundle, or compare a copy with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import Block, Group, edits_as_json, packed_folder, verdict_as_json
from holdall.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_LOOK, DamagedBundle, Mistakes, UsageFault, pasteable
from holdall.model import Fidelity
from holdall.verdict import COMPLETE, Reason, Verdict

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.bundle.verification import Verification
    from holdall.folder.pack_folder import Packed
    from holdall.settings import DestinationSettings

# What the declared losses that are read off the records count as.
_REASONS = {
    "unavailable": Reason.FILES,
    "no-file": Reason.FILES,
    "truncated": Reason.TEXTS_CUT,
    "doubtful": Reason.DOUBTFUL,
    "no-store": Reason.STORES,
}


@click.command("verify", cls=options.Command)
@options.bundle
@click.option("--quick", is_flag=True, help="Check structure and completeness only; read no file contents.")
@click.option("--sha256", metavar="HEX", help="Expected sha256 of the bundle file, as export printed it.")
@click.option("--against", type=click.Choice(["dst"]), help="Also compare the destination with the bundle.")
@click.option("--rehearse", is_flag=True, help="Test a restore into a sandbox on this machine; needs no account.")
@options.accept_known
@click.option("--complete", is_flag=True, help="Exit 4 if the bundle lacks anything that the source had.")
@click.option(
    "--search", is_flag=True, help="Also search each store for each of its files (with --against or --rehearse)."
)
@click.option("--output-dir", metavar="DIR", help="Folder with the import's mapping, default ./out (OUTPUT_DIR).")
@click.option(
    "--prefix", metavar="TEXT", help="Name prefix of the imported objects, if there is no mapping (CLONE_NAME_PREFIX)."
)
@options.accounts("dst")
@options.output
def command(console: Console, /, bundle: Path, quick: bool, complete: bool, **given: Any) -> Outcome:
    """Check a bundle for damage: seal, checksums, BagIt rules, index and references.

    Lists all findings. Losses that the bundle itself records are not damage: they are listed, and with --complete the
    exit code is 4. Exits 3 if the bundle is intact but is not the file of --sha256.

    In a folder of several bundles, DIR/.holdall-list.json keeps when each was checked; `holdall list` shows it.

    With --against dst, also compares every imported assistant, vector store and store file with the bundle, field by
    field, and the text of every indexed file. Needs OPENAI_DST_API_KEY. Exits 4 if something is missing at the
    destination, 3 if something differs.

    With --rehearse, restores the bundle into a temporary sandbox on this machine and compares it there. Needs no
    account, reads no key and no .env, and leaves nothing behind. Prints one line and exits 0, 3 or 4.
    """
    destination, rehearse, sha256 = _checked(console, given), given["rehearse"], given["sha256"]
    if rehearse:
        import holdall.sandbox.server  # noqa: F401  # says which extra is missing before anything is read
    from holdall.backups.folder_record import note_verification, stamp_at
    from holdall.bundle.verification import verified

    copied, compared = COMPLETE, {"against": None, "rehearsal": None}
    has_copy = bool(destination or rehearse)
    before = stamp_at(bundle)
    with ExitStack() as stack:
        folder = stack.enter_context(packed_folder(console, bundle))
        if folder and folder.flaws:
            return _unfit(console, folder)
        verdict, reader = stack.enter_context(
            verified(
                bundle,
                quick=quick,
                sha256=sha256,
                keep=has_copy,
                progress=console.progress(),
                file=folder.file if folder else None,
            )
        )
        console.close_progress()
        if not quick and not folder:
            note_verification(bundle, before, ok=verdict.whole, now=time.time())
        if has_copy and reader and verdict.is_named:
            # The copy's verdict is the command's: one is enough.
            console.say(f"{bundle}: undamaged")
            copied, compared = _compared(console, reader, destination, given)
        else:
            _block(verdict, folder is not None).show(console, on_stdout=True)
    lacking = complete and not verdict.completeness.complete
    return Outcome(
        # That something is missing (4) says more than a difference (3), and damage (10) more than both.
        exit_code=max(verdict.exit_code, copied.exit_code, EXIT_INCOMPLETE if lacking else EXIT_DONE),
        result={**_result(verdict), **(edits_as_json(folder.edits) if folder else {}), **compared},
        losses=msgspec.to_builtins(verdict.losses),
    )


def _checked(console: Console, given: Mapping[str, Any]) -> DestinationSettings | None:
    """The destination of --against. Raises UsageFault for options that can't be meant together, all at once."""
    mistakes = Mistakes()
    against, sha256 = given["against"], given["sha256"]
    if given["search"] and not (against or given["rehearse"]):
        mistakes.add(UsageFault("--search needs --against dst or --rehearse"))
    # A part of a digest proves nothing.
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        mistakes.add(UsageFault(f"can't use --sha256 {sha256}: it must be 64 hex digits, as export printed them"))
    if against and given["rehearse"]:
        mistakes.add(UsageFault("--against and --rehearse can't be combined"))
    of_destination = ("base_url", "insecure_http", "org_id", "project_id", "token_command")
    for name in ("output_dir", "prefix", *(f"dst_{name}" for name in of_destination)):
        if given[name] is not None and not against:
            mistakes.add(UsageFault(f"--{name.replace('_', '-')} needs --against dst"))
    destination = None
    if against:
        from holdall.cli import parameters  # the settings' room; a bundle is verified without

        with mistakes.noted():
            destination = parameters.read_destination(console, given)
    mistakes.raise_all()
    return destination


def _compared(
    console: Console, reader: BundleReader, destination: DestinationSettings | None, given: Mapping[str, Any]
) -> tuple[Verdict, dict[str, Any]]:
    """Compare what a destination has with the bundle, without one what a rehearsal restores. Returns the verdict, and
    the two keys of ``result``."""
    options = {"search": given["search"], "accept_known": given["accept_known_losses"]}
    if destination is None:
        from holdall.cli import rehearse

        found, verdict = rehearse.rehearse(console, reader, **options)
        return verdict, {"against": None, "rehearsal": found}
    from holdall.cli.compare import compare

    found, verdict = compare(console, destination, reader, **options)
    return verdict, {"against": found, "rehearsal": None}


def _result(verdict: Verification) -> dict[str, Any]:
    info = verdict.info
    return {
        "path": str(verdict.path),
        "whole": verdict.whole,
        "quick": verdict.quick,
        "size": verdict.size,
        "sha256": verdict.sha256,
        "expected_sha256": verdict.named,
        "digests": msgspec.to_builtins(info.digests) if info else None,
        "counts": info.counts if info else None,
        **(verdict_as_json(verdict.completeness) if verdict.whole else {"complete": None, "verdict": None}),
        "findings": msgspec.to_builtins(verdict.findings),
        "findings_total": verdict.findings.total,
        "losses_total": verdict.losses.total,
    }


def _unfit(console: Console, folder: Packed) -> Outcome:
    """Show why a folder is no bundle."""
    Block(
        verdict=f"DAMAGED: {counted(folder.flaws.total, 'finding')}",
        exit_code=DamagedBundle.exit_code,
        findings=(f"{flaw.code}: {flaw.message}" for flaw in folder.flaws),
        findings_total=folder.flaws.total,
        facts=["Unpack the bundle again, or check the files out of git"],
    ).show(console, on_stdout=True)
    found = {"path": str(folder.folder), "whole": False, "complete": None, "verdict": None}
    found |= {"findings": msgspec.to_builtins(folder.flaws), "findings_total": folder.flaws.total}
    return Outcome(exit_code=DamagedBundle.exit_code, result={**found, **edits_as_json(folder.edits)})


def _block(verdict: Verification, is_folder: bool) -> Block:
    if not verdict.whole:
        return Block(
            verdict=f"DAMAGED: {counted(verdict.findings.total, 'finding')}",
            exit_code=verdict.exit_code,
            findings=(f"{finding.code}: {finding.message}" for finding in verdict.findings),
            findings_total=verdict.findings.total,
            facts=[f"{verdict.path}: {human_size(verdict.size)}"],
            commands=[] if is_folder else [f"holdall extract {pasteable(verdict.path)} --salvage --to salvaged"],
        )
    info = verdict.info
    assert info is not None
    missing = not verdict.completeness.complete
    checked = "index checked, no content read" if verdict.quick else "undamaged"
    size = f"{info.counts.get('entries', 0)} entries, {human_size(info.counts.get('bytes', 0))}"
    block = Block(
        verdict=f"{verdict.completeness} ({checked}{', as exported' if missing else ''})",
        # What is missing was known, and changes the exit code only with --complete.
        exit_code=EXIT_LOOK if missing else EXIT_DONE,
        facts=[f"{verdict.path}: {size}{f', sha256 {verdict.sha256}' if verdict.sha256 else ''}"],
        groups=_known_groups(verdict),
        details=_known(verdict),
        commands=[f"holdall plan {pasteable(verdict.path)}" if is_folder else _way_on(verdict)],
    )
    if not verdict.is_named:
        block.verdict = f"WRONG FILE: sha256 is {verdict.sha256}, expected {verdict.named}"
        block.exit_code, block.commands = verdict.exit_code, []
    return block


def _way_on(verdict: Verification) -> str:
    """The command to type next: what can be supplied is supplied first."""
    bundle = pasteable(verdict.path)
    if _files(verdict, Fidelity.UNAVAILABLE) or _files(verdict, Fidelity.TEXT):
        return f"holdall supply {bundle} --originals DIR"
    return f"holdall plan {bundle}"


def _known_groups(verdict: Verification) -> list[Group]:
    """What the bundle says of itself that it lacks, by reason, with the first names."""
    named: dict[str, list[str]] = {}
    for loss in verdict.losses:
        named.setdefault(_REASONS.get(loss.code, loss.code), []).append(loss.filename or loss.id or loss.message)
    groups = [
        Group(title=f"{count} {reason.one if count == 1 else reason.many}", items=named.get(reason, []), total=count)
        for reason, count in verdict.completeness.counts.items()
    ]
    if texts := _files(verdict, Fidelity.TEXT):
        groups.append(Group(title=f"{counted(texts, 'file')} as text only", total=texts))
    return groups


def _files(verdict: Verification, fidelity: Fidelity) -> int:
    """How many files are in the bundle like that."""
    found = verdict.info.fidelities.get(fidelity) if verdict.info else None
    return found.files if found else 0


def _known(verdict: Verification) -> Iterator[str]:
    """What the bundle says of itself that it lacks."""
    if texts := _files(verdict, Fidelity.TEXT):
        yield f"known at export: {counted(texts, 'file')} as text only"
    for loss in verdict.losses:
        yield f"known at export: {loss.message}"
    if (more := verdict.losses.total - len(verdict.losses)) > 0:
        yield f"known at export: … and {more} more"
