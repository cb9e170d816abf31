"""``holdall verify``: prove a bundle whole, or a copy equal to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.verdictview import accepting, as_exported, as_result, worse
from holdall.errors import EXIT_DONE, EXIT_INCOMPLETE, Mistakes, UsageFault, pasteable
from holdall.verdict import COMPLETE

if TYPE_CHECKING:
    from holdall.verification import Verification

__all__ = ["command"]


@click.command("verify", cls=options.Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Structure and completeness only; reads no content.")
@click.option("--sha256", metavar="HEX", help="What the whole file's sha256 must be, as export printed it.")
@click.option("--against", type=click.Choice(["dst"]), help="Compare the destination with the bundle, too.")
@click.option("--rehearse", is_flag=True, help="Restore into a sandbox on this machine and compare; needs no account.")
@accepting
@click.option("--complete", is_flag=True, help="Exit with 4 where the bundle lacks something that the source had.")
@click.option("--search", is_flag=True, help="With either: each store's search must find each of its files.")
@click.option("--output-dir", metavar="DIR", help="Where import left its mapping, default ./out (OUTPUT_DIR).")
@click.option("--prefix", metavar="TEXT", help="Of the copies' names, if there is no mapping (CLONE_NAME_PREFIX).")
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(
    console: Console,
    /,
    bundle: Path,
    quick: bool,
    sha256: str | None,
    against: str | None,
    rehearse: bool,
    search: bool,
    complete: bool,
    accept_known_losses: bool,
    **parameters: Any,
) -> Outcome:
    """Prove a bundle whole: seal, every checksum, the BagIt rules, index against entries, every reference.

    All findings are listed at once. What the bundle itself records as lost is not damage: it is listed, and --complete
    makes it exit with 4. With --against dst every imported assistant, vector store and membership is compared, field by
    field, and the text of each file that is indexed; that needs OPENAI_DST_API_KEY and exits with 4 where something
    that the source had is missing, with 3 where something differs. So does a whole bundle that isn't
    the file of --sha256.

    With --rehearse the bundle is restored into a sandbox on this machine and compared there: a restore test that needs
    no account, reads no key and no .env, and leaves nothing behind. It prints one line, and exits with 0, 3 or 4.
    """
    mistakes = Mistakes()
    if search and not (against or rehearse):
        mistakes.add(UsageFault("can't --search a bundle", hint="--search goes with --against dst or with --rehearse"))
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        mistakes.add(UsageFault(f"can't use --sha256 {sha256}: it must be 64 hex digits, as export printed them"))
    if against and rehearse:
        mistakes.add(UsageFault("can't compare with two copies at once: --against and --rehearse are two commands"))
    for name in ("output_dir", "prefix", "dst_base_url", "dst_insecure_http", "dst_org_id", "dst_project_id"):
        if parameters[name] is not None and not against:
            mistakes.add(UsageFault(f"--{name.replace('_', '-')} needs --against dst"))
    destination = None
    with mistakes.noted():
        destination = options.read_destination(console, parameters) if against else None
    mistakes.raise_all()
    if rehearse:
        import holdall.sandbox.server  # noqa: F401  # says which extra is missing before anything is read
    from holdall.verification import verified

    compared = rehearsed = None
    copied = COMPLETE
    keep = bool(destination or rehearse)
    with verified(bundle, quick=quick, sha256=sha256, keep=keep, progress=console.progress()) as (verdict, reader):
        console.close_progress()
        _print(console, verdict, console.say if rehearse else console.result)
        if destination and reader and verdict.is_named:
            from holdall.cli.compare import compare

            compared, copied = compare(console, destination, reader, search=search, accept_known=accept_known_losses)
        if rehearse and reader and verdict.is_named:
            from holdall.cli import rehearse as rehearsal

            rehearsed, copied = rehearsal.rehearse(console, reader, search=search, accept_known=accept_known_losses)
    lacking = complete and not verdict.completeness.complete
    return Outcome(
        exit_code=worse(verdict.exit_code, copied.exit_code, EXIT_INCOMPLETE if lacking else EXIT_DONE),
        result={
            "path": str(verdict.path),
            "whole": verdict.whole,
            "quick": verdict.quick,
            "size": verdict.size,
            "sha256": verdict.sha256,
            "expected_sha256": verdict.named,
            "digests": msgspec.to_builtins(verdict.info.digests) if verdict.info else None,
            "counts": verdict.info.counts if verdict.info else None,
            **(as_result(verdict.completeness) if verdict.whole else {"complete": None, "verdict": None}),
            "findings": msgspec.to_builtins(verdict.findings),
            "findings_total": verdict.findings.total,
            "losses_total": verdict.losses.total,
            "against": compared,
            "rehearsal": rehearsed,
        },
        losses=msgspec.to_builtins(verdict.losses),
    )


def _print(console: Console, verdict: Verification, tell: Callable[[str], None]) -> None:
    """Findings are the result in any event; ``tell`` is told of a whole bundle."""
    if not verdict.is_named:
        console.result(f"{verdict.path}: not the file you named: sha256 is {verdict.sha256}, expected {verdict.named}")
    for finding in verdict.findings:
        console.result(f"{finding.code}: {finding.message}")
    if not verdict.whole:
        count = verdict.findings.total
        if count > len(verdict.findings):
            console.result(f"… and {count - len(verdict.findings)} more findings")
        console.result(f"{verdict.path}: DAMAGED, {count} finding{'s' if count != 1 else ''}")
        console.say(f"hint: holdall extract {pasteable(verdict.path)} --salvage --to FOLDER saves what is whole")
        return
    info = verdict.info
    assert info is not None
    text = info.fidelities.get("text")
    if text:
        tell(f"known at export: {counted(text.files, 'file')} as parsed text only")
    for loss in verdict.losses:
        tell(f"known at export: {loss.message}")
    if verdict.losses.total > len(verdict.losses):
        tell(f"known at export: … and {verdict.losses.total - len(verdict.losses)} more")
    depth = "whole by its index (no content was read)" if verdict.quick else "whole"
    size = f"{info.counts.get('entries', 0)} entries, {human_size(info.counts.get('bytes', 0))}"
    proven = f", sha256 {verdict.sha256}" if verdict.sha256 else ""
    tell(f"{verdict.path}: {depth}{as_exported(verdict.completeness)} ({size}{proven})")
