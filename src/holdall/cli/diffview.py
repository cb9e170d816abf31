"""What ``holdall diff`` prints: a line for each object that differs, with ``--verbose`` its values and texts too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.views import Block, again
from holdall.diff.compare_sources import FieldChange, How, ObjectChange, SourceDiff
from holdall.errors import EXIT_DONE, EXIT_LOOK
from holdall.kinds import KINDS, noun
from holdall.legible import shortened
from holdall.model import Kind

# Lines that are shown without --verbose, fields that are named in one, and columns of a line.
_LINES, _FIELDS, _LONGEST = 12, 3, 110
# Columns of a line where no terminal says how many it has.
_COLUMNS = 100
# Changes that --json lists.
_LISTED = 10_000
_SIGNS = {How.ADDED: "+", How.REMOVED: "-", How.CHANGED: "~", How.RENAMED: "~"}


def show_diff(console: Console, found: SourceDiff, titles: tuple[str, str]) -> Outcome:
    """Print the changes between the states of these titles."""
    console.close_progress()
    left = 0
    if not console.json:
        left = _print_all(console, found) if console.verbose else _print_brief(console, found)
    if left:
        console.result(f"… and {left} more{'' if console.verbose else ' (-v lists all)'}")
    block = _block(console, found, titles)
    block.show(console, on_stdout=True)
    return Outcome(
        exit_code=block.exit_code,
        result={
            "a": titles[0],
            "b": titles[1],
            "differences": found.total,
            **{how.value: found.counts[how] for how in How},
            "compared": dict(found.compared),
            "copies": found.copies,
            "changes": msgspec.to_builtins(found.changes[:_LISTED]),
        },
    )


def _block(console: Console, found: SourceDiff, titles: tuple[str, str]) -> Block:
    """How many differences there are, of which sort, and what was compared."""
    numbers = (counted(found.compared[row.count], row.noun) for row in KINDS.values() if found.compared[row.count])
    compared = f"compared {', '.join(numbers) or 'nothing'}"
    sorts = ", ".join(f"{found.counts[how]} {how}" for how in How if found.counts[how])
    return Block(
        verdict=f"{found.total} DIFFERENCE{'' if found.total == 1 else 'S'}" if found.total else "NO DIFFERENCES",
        exit_code=EXIT_LOOK if found.total else EXIT_DONE,
        facts=["; ".join(filter(None, (sorts, compared))), f"A: {titles[0]}; B: {titles[1]}{_copies(found)}"],
        commands=[] if console.verbose or not found.total else [f"{again(console)} -v"],
    )


def _copies(found: SourceDiff) -> str:
    return f"; {counted(found.copies, 'object')} matched as copies" if found.copies else ""


def _print_brief(console: Console, found: SourceDiff) -> int:
    """The first changes, a line each. Returns how many are left."""
    width = min(console.result_columns or _COLUMNS, _LONGEST)
    lines, shown, owner = 0, 0, None
    for change in found.changes:
        heads = _heads(change, owner)
        if lines + len(heads) + 1 > _LINES:
            break
        for head in heads:
            console.result(shortened(head, width))
        console.change(shortened(_line(change), width), result=True)
        lines, shown, owner = lines + len(heads) + 1, shown + 1, change.owner
    return found.total - shown


def _print_all(console: Console, found: SourceDiff) -> int:
    """All changes, with values and texts."""
    owner = None
    for change in found.changes:
        for head in _heads(change, owner):
            console.result(head)
        owner = change.owner
        console.change(f"{_indent(change)}{_SIGNS[change.how]} {_named(change)}", result=True)
        for field in change.fields:
            for line in _field_lines(field):
                console.change(f"{_indent(change)}    {line}", result=True)
    return found.total - len(found.changes)


def _is_owner(change: ObjectChange) -> bool:
    return change.owner is not None and (change.kind, change.id) == (change.owner.kind, change.owner.id)


def _indent(change: ObjectChange) -> str:
    return "  " if change.owner is not None and not _is_owner(change) else ""


def _heads(change: ObjectChange, before: Any) -> list[str]:
    """The lines above a change that name what it belongs to, where that is another thing than ``before``."""
    if change.owner == before or _is_owner(change):
        return []
    if change.owner is None:
        return ["used by no assistant:"]
    return [f"{noun(change.owner.kind)} {_title(change.owner.name, change.owner.id)}:"]


def _title(name: str | None, id: str) -> str:
    return f"{flat(name)} ({id})" if name else id


def _named(change: ObjectChange) -> str:
    """The object, and what became of its id."""
    what = "file" if change.kind is Kind.MEMBERSHIP else noun(change.kind)
    where = f" in {change.inside}" if change.inside else ""
    size = f", {human_size(change.size)}" if change.size is not None else ""
    to = f" -> {change.to}" if change.to else ""
    return (
        f"{what} {_title(change.name, change.id)}{to}{where}{size}{' (renamed)' if change.how is How.RENAMED else ''}"
    )


def _line(change: ObjectChange) -> str:
    """A change in one line: the object, and its first fields."""
    fields = ", ".join(map(_brief, change.fields[:_FIELDS]))
    more = f" and {left} more" if (left := len(change.fields) - _FIELDS) > 0 else ""
    return f"{_indent(change)}{_SIGNS[change.how]} {_named(change)}{f': {fields}' if fields else ''}{more}"


def _brief(field: FieldChange) -> str:
    return field.path if field.diff is msgspec.UNSET else f"{field.path} +{field.added} -{field.removed}"


def _field_lines(field: FieldChange) -> Iterator[str]:
    """A change of a value; of a text, its lines."""
    if field.diff is msgspec.UNSET:
        yield f"{field.path}: {_value(field.before)} -> {_value(field.after)}"
        return
    yield f"{field.path}: +{field.added} -{field.removed} lines"
    yield from field.diff


def _value(value: Any) -> str:
    if value is msgspec.UNSET:
        return "none"
    # With blanks, so that a terminal can break the line.
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
