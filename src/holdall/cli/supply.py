"""``holdall supply``: a new bundle out of an old one and the owner's originals."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import (
    NAMED,
    Block,
    Group,
    aside_groups,
    missing_as_json,
    missing_groups,
    missing_lines,
    show_first,
    verdict_as_json,
)
from holdall.errors import EXIT_DONE, EXIT_LOOK, UsageFault, pasteable

if TYPE_CHECKING:
    from holdall.add_originals import Supplied


@click.command(cls=options.Command)
@options.bundle
@click.option(
    "--originals",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with your originals, searched recursively.",
)
@options.output_file("Bundle to write. Default: NAME_supplied.tar.zst next to BUNDLE")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@options.output
def command(console: Console, bundle: Path, originals: Path, output: Path | None, force: bool) -> Outcome:
    """Write a new bundle from BUNDLE that also has your own originals, where BUNDLE has only text or nothing.

    Needs no network and no key. An original is used if its name and size match exactly and its words match the
    extracted text; if size and words match, the name may differ in case or folder. Prints only the path of the new
    bundle to stdout. Exits 4 if files are still missing, 3 if an original nearly matched and was not used.
    """
    from holdall.add_originals import supply
    from holdall.originals import Originals

    target = _target(bundle, output)
    with Originals(originals) as found:
        console.say(f"Searched {counted(found.files, 'file')} in {originals}")
        notes = [f"note: {note}" for note in found.notes()]
        show_first(console.warn, notes, len(notes), limit=None if console.verbose else NAMED, indent="")
        supplied = supply(bundle, found, target, force=force, progress=console.progress())
    lists = _show_report(console, bundle, supplied)
    well = not supplied.refused and (supplied.supplied or not supplied.wanted)
    return Outcome(
        exit_code=max(supplied.verdict.exit_code, EXIT_DONE if well else EXIT_LOOK),
        result={**msgspec.to_builtins(supplied, enc_hook=str), **verdict_as_json(supplied.verdict), **lists},
        losses=[msgspec.to_builtins(refusal) for refusal in supplied.refusals],
    )


def _target(bundle: Path, output: Path | None) -> Path:
    """Where the new bundle goes: beside the old one, never in its place."""
    stem = bundle.name.removesuffix(".zst").removesuffix(".tar")
    name = f"{stem}_supplied.tar.zst"
    target = bundle.parent / name if output is None else output / name if output.is_dir() else output
    parameters.require_folder(target)
    # Two names, or a link, may lead to one file.
    if bundle.exists() and target.exists() and target.samefile(bundle):
        raise UsageFault(f"can't write {target}: it is the input bundle", hint="choose another name with -o")
    return target


def _show_report(console: Console, bundle: Path, supplied: Supplied) -> dict[str, object]:
    """Print the report, and what is still missing. Returns the latter for ``--json``."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.bundle.reader import open_bundle

    refused = [f"{one.filename or one.id} ({one.id}): {one.reason}" for one in supplied.refusals]
    with open_bundle(supplied.bundle or bundle) as reader, MissingFromBundle(reader) as missing:
        Block(
            verdict=supplied.verdict,
            exit_code=supplied.verdict.exit_code,
            facts=[_fact(supplied)],
            groups=[
                *_refused(supplied),
                *missing_groups(missing),
                *aside_groups(missing),
            ],
            details=chain((f"not taken: {one}" for one in refused), missing_lines(missing)),
            commands=[f"holdall verify {pasteable(supplied.bundle)}"] if supplied.bundle else [],
        ).show(console)
        lists = missing_as_json(missing) if console.json else {}
    if supplied.bundle:
        console.detail(f"sha256 {supplied.sha256}")
        console.path(str(supplied.bundle))
    return lists


def _refused(supplied: Supplied) -> list[Group]:
    """The originals that came near and were not taken, each for a reason of its own."""
    names = [one.filename or one.id for one in supplied.refusals[:NAMED]]
    title = f"{counted(supplied.refused, 'original')} not taken (-v says why)"
    return [Group(title=title, items=names, total=supplied.refused)] if supplied.refused else []


def _fact(supplied: Supplied) -> str:
    if not supplied.wanted:
        return "Nothing to supply: the bundle has the original of every file"
    if supplied.bundle is None:
        return f"Nothing written: no original found for {counted(supplied.wanted, 'file')}"
    return f"{supplied.supplied} of {supplied.wanted} files supplied, {human_size(supplied.size)}"
