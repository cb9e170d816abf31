"""Exports that are repeated: what they go on with, and which earlier bundle they take contents from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli.console import Console
from holdall.errors import pasteable

if TYPE_CHECKING:
    from holdall.bundle.layout import Capture

__all__ = ["PreviousExports", "again_with", "how_to_repeat", "parent_of", "target_of"]


class PreviousExports(msgspec.Struct, frozen=True, kw_only=True):
    """``parent`` is ``auto``, ``none`` or a bundle's path; ``resume`` None goes on with what is fresh enough.

    ``parents`` is the folder in which ``auto`` looks, None for that of the new bundle.
    """

    parent: str = "auto"
    parents: Path | None = None
    resume: bool | None = None
    skip_if_unchanged: bool = False
    accept_known_losses: bool = False


def how_to_repeat(command: Any) -> Any:
    """The options of whatever exports; ``clone`` has them too."""
    for decorate in reversed(
        (
            click.option(
                "--parent",
                metavar="BUNDLE|auto|none",
                default="auto",
                help="Take unchanged contents from this bundle; auto (the default): the newest of the same project "
                "in the same folder.",
            ),
            click.option(
                "--resume/--no-resume",
                default=None,
                help="Go on with an unfinished export however old it is, or throw it away. "
                "Default: go on with it for 7 days.",
            ),
        )
    ):
        command = decorate(command)
    return command


def again_with(parameters: Mapping[str, Any]) -> PreviousExports:
    """The options out of a command's parameters."""
    return PreviousExports(
        **{name: parameters[name] for name in PreviousExports.__struct_fields__ if name in parameters}
    )


def target_of(
    console: Console, again: PreviousExports, capture: Capture, fresh: Path, *, named: bool, now: float
) -> Path:
    """Where the bundle goes: on with an unfinished one, which is said, or to ``fresh``."""
    from holdall.bundle.journal import partial_folder
    from holdall.exporter.earlier import where_to_write

    target, resumed = where_to_write(fresh, capture, named=named, resume=again.resume, now=now)
    if resumed:
        console.say(f"going on with {partial_folder(target)}, which an earlier run left unfinished")
    return target


def parent_of(console: Console, again: PreviousExports, target: Path, capture: Capture) -> Path | None:
    """The bundle to take contents from, quickly verified, which is said."""
    from holdall.exporter.earlier import choose_parent
    from holdall.verification import verify

    def is_whole(path: Path) -> bool:
        return verify(path, quick=True).whole

    if again.parent == "none":
        return None
    if again.parent == "auto":
        found = choose_parent(again.parents or target.parent, capture.source, is_whole, console.warn)
    else:
        found = Path(again.parent)
        if not is_whole(found):
            console.warn(
                f"{found} is damaged: what is whole of it is taken; holdall verify {pasteable(found)} says more"
            )
    if found:
        console.say(f"what has not changed since is taken from {found}")
    return found
