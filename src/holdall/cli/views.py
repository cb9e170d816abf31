"""What several commands print, and put into ``--json``: the verdict, losses, and what a bundle lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.capped import KEPT
from holdall.cli.console import Console, counted, flat, human_size
from holdall.kinds import KINDS

if TYPE_CHECKING:
    from holdall.bundle.missing import MissingFromBundle, Wanted
    from holdall.capped import Capped
    from holdall.credentials import Suspect
    from holdall.dependencies import User
    from holdall.dialects.loss import Loss
    from holdall.model import Kind
    from holdall.verdict import Verdict


# How many of one sort the terminal shows. --json has all, or a thousand.
_SHOWN = 20
# How many files to supply --json lists; `inspect --all` lists all.
_LISTED = 1000


def show_first(
    write: Callable[[str], None],
    lines: Iterable[str],
    total: int,
    *,
    limit: int | None = _SHOWN,
    indent: str = "  ",
    more: str = "",
) -> None:
    """Write the first of ``lines``, and how many of the ``total`` are left; ``more`` says what shows the rest."""
    for line in islice(lines, limit):
        write(f"{indent}{line}")
    if limit is not None and total > limit:
        write(f"{indent}… and {total - limit} more{more}")


def holdings(counts: Mapping[str, int], kinds: Iterable[Kind] = KINDS) -> str:
    """The number of objects of each kind; a kind of a later format version only where there is one."""
    rows = (KINDS[kind] for kind in kinds)
    return ", ".join(
        counted(counts.get(row.count, 0), row.noun) for row in rows if not row.since or counts.get(row.count)
    )


def conclude(console: Console, verdict: Verdict) -> None:
    """The last line of a command whose result is on stdout already."""
    if verdict.counts:
        console.warn(str(verdict))
    else:
        console.say(str(verdict))


def as_exported(verdict: Verdict) -> str:
    """What a whole bundle lacks, to follow the word 'whole'; empty if nothing."""
    said = str(verdict)
    if verdict.complete:
        return said.removeprefix("complete")
    return said.replace("incomplete:", "; incomplete as exported:", 1)


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """The two keys of ``result`` under ``--json``."""
    return {"complete": verdict.complete, "verdict": verdict.as_json()}


def show_losses(console: Console, losses: list[Loss]) -> None:
    """What an import loses. Major losses and those of assistants get a line each; the rest is counted by kind."""
    heavy = [loss for loss in losses if _one_by_one(loss)]
    lines = (f"{loss.why.severity}: {flat(loss)}" for loss in heavy)
    show_first(console.warn, lines, len(heavy), more="; --dry-run shows them all")
    light = [loss for loss in losses if not _one_by_one(loss)]
    for why, count in Counter(loss.why for loss in light).items():
        first = next(loss for loss in light if loss.why is why)
        console.say(f"  {flat(first)}{f' (and {count - 1} more like it)' if count > 1 else ''}")


def _one_by_one(loss: Loss) -> bool:
    from holdall.dialects.loss import Severity
    from holdall.model import Kind

    return loss.why.weighs or (loss.kind is Kind.ASSISTANT and loss.why.severity is Severity.MINOR)


def losses_as_json(losses: Iterable[Loss]) -> list[dict[str, Any]]:
    return [{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in losses]


def show_missing(
    write: Callable[[str], None], missing: MissingFromBundle, *, limit: int | None = _SHOWN, more: str = ""
) -> None:
    """The files that could be supplied and the things that no bundle holds; nothing where there are none."""
    more = more and f": {more}"
    if missing.total:
        write(f"please supply, if you have the originals (files that are not there byte for byte: {missing.total}):")
        width = len(str(min(missing.total, limit or missing.total)))
        show_first(write, _numbered(missing.wanted(), width), missing.total, limit=limit, more=more)
    if missing.outside:
        write("referred to by the definitions, and in no bundle:")
        lines = (f"{flat(one)}{_users(one.used_by)}" for one in missing.outside)
        show_first(write, lines, len(missing.outside), limit=limit, more=more)


def _numbered(wanted: Iterable[Wanted], width: int) -> Iterator[str]:
    said = None
    for one in wanted:
        # Most files of an export share one reason: print it only when it changes.
        why = f": {flat(one.message)}" if one.message and one.message != said else ""
        said = one.message
        yield f"{one.number:>{width}}. {_wanted(one)}{why}"


def _wanted(wanted: Wanted) -> str:
    name = flat(wanted.filename or "(no name)")
    size = human_size(wanted.size) if wanted.size is not None else "size unknown"
    has = "missing" if wanted.fidelity != "text" else "its text stops short" if wanted.truncated else "only its text"
    if wanted.doubt:
        has += f" (uncertain text: {flat(wanted.doubt)})"
    gone = ", gone from the project" if wanted.gone else ""
    return f"{name}, {size}, {wanted.id}: {has}{gone}{_users(wanted.used_by)}"


def _users(users: list[User]) -> str:
    if not users:
        return ""
    from holdall.dependencies import USERS

    named = [f"{flat(user.name)} ({user.id})" if user.name else user.id for user in users[:3]]
    # Only so many users are recorded for a file: there may be more.
    left = "many" if len(users) == USERS else len(users) - 3
    more = f" and {left} more" if len(users) > 3 else ""
    return f"; used by {', '.join(named)}{more}"


def show_credentials(write: Callable[[str], None], found: Capped[Suspect], *, limit: int | None = _SHOWN) -> None:
    """Which fields seem to hold a credential, never the value; nothing where none does."""
    if found:
        write("seem to hold a credential, and whoever has the bundle has it too (change it, and take it out):")
        more = f": --json lists the first {KEPT}"
        show_first(write, map(flat, found), found.total, limit=min(limit or KEPT, KEPT), more=more)


def missing_as_json(missing: MissingFromBundle, *, limit: int | None = _LISTED) -> dict[str, Any]:
    """``please_supply`` is cut off at ``limit``, ``please_supply_total`` counts all."""
    return {
        "please_supply": [msgspec.to_builtins(wanted) for wanted in islice(missing.wanted(), limit)],
        "please_supply_total": missing.total,
        "outside": msgspec.to_builtins(missing.outside),
        "credentials": msgspec.to_builtins(missing.credentials),
        "credentials_total": missing.credentials.total,
    }
