"""Lets commands take a folder as a bundle: it is packed into a temporary bundle first, so all rules of bundles hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdall.cli.block import SHOWN, Group
from holdall.cli.console import Console, counted
from holdall.errors import DamagedBundle, pasteable

if TYPE_CHECKING:
    from holdall.folder.edits import HandEdits
    from holdall.folder.pack_folder import Packed


@contextmanager
def packed_folder(console: Console, bundle: Path) -> Iterator[Packed | None]:
    """Packs the folder ``bundle`` and prints its hand edits. Yields None if it is not a folder."""
    if not bundle.is_dir():
        yield None
        return
    from holdall.folder.pack_folder import packed

    with packed(bundle, progress=console.progress()) as found:
        console.close_progress()
        for group in edit_groups(found.edits):
            console.say(str(group))
        yield found


@contextmanager
def opened_folder(console: Console, bundle: Path) -> Iterator[BufferedReader | None]:
    """The open bundle that ``packed_folder`` makes; None if ``bundle`` is not a folder. Raises DamagedBundle."""
    with packed_folder(console, bundle) as found:
        if found:
            require_whole(console, found)
        yield found.file if found else None


def require_whole(console: Console, found: Packed) -> None:
    """If a folder can't be packed, prints its findings and raises DamagedBundle."""
    if not found.flaws:
        return
    for flaw in found.flaws[: None if console.verbose else SHOWN]:
        console.warn(f"  {flaw.code}: {flaw.message}")
    raise DamagedBundle(
        f"can't read {found.folder}: it is damaged ({counted(found.flaws.total, 'finding')})",
        hint=f"holdall verify {pasteable(found.folder)} lists all findings; unpack the bundle again, or check the "
        f"files out of git",
        entry=found.flaws[0].entry,
    )


def edit_groups(edits: HandEdits) -> list[Group]:
    """The hand edits of a folder, as groups to print."""
    listed = [("edited by hand", edits.edited), ("added by hand", edits.added), ("removed by hand", edits.removed)]
    listed.append(("ignored, not part of the bundle", edits.ignored))
    groups = [
        Group(title=f"{counted(paths.total, 'file')} {what}", items=list(paths), total=paths.total)
        for what, paths in listed
        if paths
    ]
    if edits.converted:
        # No damage: the sha256 of each proves that the line ends are all that is different.
        why = "by git or an editor; the original ones are used"
        groups.append(Group(title=f"{counted(edits.converted, 'file')} with converted line ends", why=why))
    return groups


def edits_as_json(edits: HandEdits) -> dict[str, Any]:
    """What was done to a folder by hand, for ``--json``."""
    return {
        "edited": list(edits.edited),
        "added": list(edits.added),
        "removed": list(edits.removed),
        "ignored": list(edits.ignored),
        "edits_total": edits.total,
        "line_ends_converted": edits.converted,
    }
