"""What several commands print and put into ``--json``: the last lines, losses, missing files, hand edits of a folder.

The last lines are a block: verdict, counts, losses by reason, where to read more, and what to type next. It has at most
a dozen lines where nothing is wrong, so that the verdict is seen. Every single item is in the report and the ``--json``
document, and is printed above the block with ``--verbose``. The next command is made of the words of the one that was
typed, so it reaches the same account.

A folder that is given as a bundle is packed into a temporary bundle first, so all rules of bundles hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.cli.console import Console
from holdall.errors import DamagedBundle, pasteable
from holdall.kinds import KINDS, noun
from holdall.legible import counted, flat, human_size, shortened
from holdall.model import Kind
from holdall.verdict import Verdict

if TYPE_CHECKING:
    from holdall.bundle.missing import MissingFromBundle, Wanted
    from holdall.credentials import Suspect
    from holdall.dependencies import Dependency, User
    from holdall.dialects.loss import Loss
    from holdall.folder.edits import HandEdits
    from holdall.folder.pack_folder import Packed
    from holdall.legible import Capped


NAMED = 3
"""Items of a group that are named."""
SHOWN = 3
"""Findings that are shown."""
_GROUPS = 3
"""Groups that are shown; the most important come first."""
# Columns of a name and of an item: two lines of a terminal. What is longer is in the report.
_LONGEST_NAME, _LONGEST = 60, 140


class Group(msgspec.Struct, kw_only=True):
    """Items of one reason. ``title`` is how they are counted: "13 files missing"; ``items`` names the first."""

    title: str
    items: list[str] = []
    total: int = 0
    why: str = ""

    def __str__(self) -> str:
        names = [shortened(flat(name), _LONGEST_NAME) for name in self.items[:NAMED]]
        more = f" and {left} more" if (left := self.total - len(names)) > 0 and names else ""
        why = f" ({flat(self.why)})" if self.why else ""
        said = f"{flat(self.title)}{': ' if names else ''}{', '.join(names)}{more}"
        text = shortened(f"{said}{why}", _LONGEST)
        # A reason that was cut keeps its brackets; one that is gone leaves none.
        kept = text[len(said) :] if text.endswith("…") else ""
        return text + ")" * (kept.count("(") - kept.count(")"))


class Block(msgspec.Struct, kw_only=True):
    """What ``show`` prints.

    ``verdict`` and ``exit_code`` (for the colour); ``findings`` are lines that belong to the verdict, of which the
    first are shown, each cut at ``longest`` columns; ``facts`` are lines of counts; ``details`` one line for each item,
    read only with ``--verbose``; ``places`` say where the rest is; ``commands`` are to type next, the best first.
    """

    verdict: Verdict | str
    exit_code: int
    findings: Iterable[str] = ()
    findings_total: int = 0
    longest: int = _LONGEST
    facts: list[str] = []
    groups: list[Group] = []
    details: Iterable[str] = ()
    places: list[str] = []
    commands: list[str] = []

    def show(self, console: Console, *, on_stdout: bool = False) -> None:
        """Print it on stderr; verdict and findings on stdout where they are the command's result."""
        console.close_progress()
        self._show_details(console)
        console.verdict(str(self.verdict), self.exit_code, result=on_stdout)
        self._show_findings(console, console.result if on_stdout else console.say)
        if on_stdout and console.json:
            return  # the document has all of it
        for line in (*map(flat, self.facts), *self._group_lines(), *map(flat, self.places)):
            console.say(line)
        for command in self.commands:
            console.type_next(command)

    def show_line(self, console: Console, line: str) -> None:
        """Print ``line``, with the verdict in it, as all that is on stdout; on stderr what is wrong, and no counts."""
        console.close_progress()
        self._show_details(console)
        console.verdict(line, self.exit_code, result=True)
        self._show_findings(console, console.say)
        for line in self._group_lines():
            console.say(line)

    def _show_details(self, console: Console) -> None:
        if console.verbose:
            for line in self.details:
                console.detail(flat(line))

    def _show_findings(self, console: Console, write: Callable[[str], None]) -> None:
        if console.quiet:
            return
        for line in islice(self.findings, None if console.verbose else SHOWN):
            write(f"  {flat(line) if console.verbose else shortened(flat(line), self.longest)}")
        if not console.verbose and (left := self.findings_total - SHOWN) > 0:
            write(f"  … and {left} more (-v lists them)")

    def _group_lines(self) -> Iterator[str]:
        most = _GROUPS - 1 if self.findings_total else _GROUPS
        yield from (f"  {group}" for group in self.groups[:most])
        if left := self.groups[most:]:
            yield f"  {counted(sum(group.total for group in left), 'other item')} (-v lists all)"


# -- the next command ----------------------------------------------------------------------------------

# Where a command looks and writes, which the next one needs, too: switches, and options with a value.
_WHERE_SWITCHES = frozenset({"--dst-insecure-http"})
_WHERE_OPTIONS = frozenset(
    {
        "--env-file",
        "--dst-base-url",
        "--dst-org-id",
        "--dst-project-id",
        "--dst-token-command",
        "--token-command",
        "--output-dir",
    }
)
# How options end whose value may hold a secret, which no line repeats.
_SECRET = "token-command"
# What says how the result is shown.
_OUTPUT_FLAGS = frozenset({"--json", "--quiet", "-q", "--verbose", "-v"})


def again(console: Console, *, command: str = "", without: Collection[str] = ()) -> str:
    """The command that was typed, as another ``command`` or without some of its switches."""
    _, *words = _without_secrets(console.typed) or [""]
    kept = [word for word in words if word not in _OUTPUT_FLAGS and word not in without]
    return _command([command or console.command or "", *kept])


def onward(console: Console, *words: object, without: Collection[str] = ()) -> str:
    """Another command with these ``words``, and with the options of the one that was typed that say where."""
    return _command([*words, *_where(_without_secrets(console.typed), without)])


def _without_secrets(typed: Sequence[str]) -> list[str]:
    """The words, without the values of token commands."""
    words, found = iter(typed), []
    for word in words:
        flag, given, _ = word.partition("=")
        if not flag.endswith(_SECRET):
            found.append(word)
        elif given:
            found.append(f"{flag}=…")
        else:
            next(words, "")
            found += [word, "…"]
    return found


def _where(typed: Sequence[str], without: Collection[str]) -> Iterator[str]:
    """The words that say where."""
    words = iter(typed)
    for word in words:
        flag, given, _ = word.partition("=")
        if word in _WHERE_SWITCHES:
            yield word
        elif flag in _WHERE_OPTIONS:
            found = [word] if given else [word, next(words, "")]
            if flag not in without:
                yield from found


def _command(words: Sequence[object]) -> str:
    return " ".join(["holdall", *map(pasteable, words)])


# -- counts and losses ---------------------------------------------------------------------------------

_FIDELITY_WORDS = {"text": "text only", "unavailable": "missing", "container": "through a container"}
"""Fidelities that a person reads better in other words."""
# Lines of one sort that the terminal shows.
_LINES = 20
# Columns of a count with its reason: names follow.
_LONGEST_REASON = 100


def show_first(
    write: Callable[[str], None],
    lines: Iterable[str],
    total: int,
    *,
    limit: int | None = _LINES,
    indent: str = "  ",
    more: str = "",
) -> None:
    """Write the first of ``lines``, and how many of the ``total`` are left; ``more`` says what shows the rest."""
    for line in islice(lines, limit):
        write(f"{indent}{line}")
    if limit is not None and total > limit:
        write(f"{indent}… and {total - limit} more{more}")


def holdings(counts: Mapping[str, int], kinds: Iterable[Kind] = KINDS) -> str:
    """The number of objects of each kind.

    A kind of a later format version is named only if there is one; ``0 assistants`` is then left out.
    """
    rows = [KINDS[kind] for kind in kinds]
    has_later = any(counts.get(row.count) for row in rows if row.since)
    told = (
        row for row in rows if counts.get(row.count) or not (row.since or (has_later and row is KINDS[Kind.ASSISTANT]))
    )
    return ", ".join(counted(counts.get(row.count, 0), row.noun) for row in told)


def by_fidelity(counts: Mapping[str, int], fidelities: Mapping[str, int]) -> str:
    """`` (2 original, 1 missing)``: how many contents there are of each fidelity, to follow the number of files.

    The zips of skills are contents, too.
    """
    found = {each: count for each, count in fidelities.items() if count}
    if not found:
        return ""
    numbers = ", ".join(f"{count} {_FIDELITY_WORDS.get(each, each)}" for each, count in found.items())
    with_zips = "with the zips of skills: " if counts.get(KINDS[Kind.SKILL_VERSION].count) else ""
    return f" ({with_zips}{numbers})"


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """The two keys of ``result`` under ``--json``."""
    return {"complete": verdict.complete, "verdict": verdict.as_json()}


def loss_groups(losses: Iterable[Loss]) -> list[Group]:
    """What an import loses or changes, by reason, the worst first. What is only worth saying is left to --verbose."""
    from holdall.dialects.loss import Severity, Why

    groups: dict[tuple[Kind, str], dict[str, Loss]] = {}
    fields: dict[tuple[Kind, str], dict[str, None]] = {}
    for loss in sorted(losses, key=lambda loss: not loss.why.weighs):
        if loss.why.severity is not Severity.NOTE:
            # Which fields differ is each one's own, and is listed by --verbose.
            text = "skipped, though different from the bundle" if loss.why is Why.LEFT_ALONE else loss.text
            key = loss.kind, text
            groups.setdefault(key, {}).setdefault(loss.id, loss)
            # Which field a file is left out of says less than which file.
            fields.setdefault(key, {}).setdefault("" if loss.kind is Kind.FILE else loss.field or "")
    return [
        Group(
            title=_with_reason(counted(len(found), noun(kind)), ", ".join(filter(None, fields[kind, text])), text),
            items=[loss.name or loss.id for loss in islice(found.values(), NAMED)],
            total=len(found),
        )
        for (kind, text), found in groups.items()
    ]


def _with_reason(count: str, fields: str, reason: str) -> str:
    """``8 files left out: missing from the bundle``, ``2 assistants, tools: …``; names are to follow. Of a long reason
    the server's words, in brackets behind it, are left to --verbose and the report."""
    if len(reason) > _LONGEST_REASON // 2:
        reason = reason.partition(" (")[0]
    if fields:
        return shortened(flat(f"{count}, {fields}: {reason}"), _LONGEST_REASON)
    verb = reason.startswith(("left out", "skipped"))
    return shortened(flat(f"{count}{' ' if verb else ': '}{reason}"), _LONGEST_REASON)


def weighed_groups(losses: Iterable[Loss]) -> tuple[list[Group], list[str]]:
    """The groups of losses that weigh, and the others counted: files of which only the text is there, minor changes."""
    from holdall.dialects.loss import Severity, Why

    found = list(dict.fromkeys(losses))
    texts = len({loss.id for loss in found if loss.why is Why.AS_TEXT})
    minor = sum(loss.why.severity is Severity.MINOR and loss.why is not Why.AS_TEXT for loss in found)
    counts = ((texts, "file", " as text"), (minor, "minor change", ""))
    said = [f"{counted(count, what)}{more}" for count, what, more in counts if count]
    return loss_groups(loss for loss in found if loss.why.weighs), said


def loss_lines(losses: Iterable[Loss]) -> Iterator[str]:
    """One line for each loss."""
    return (f"{loss.why.severity}: {loss}" for loss in losses)


def losses_as_json(losses: Iterable[Loss]) -> list[dict[str, Any]]:
    return [{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in losses]


# -- what a bundle lacks -------------------------------------------------------------------------------

# Missing files that are read to name the first of each reason.
_READ = 10_000
# Missing files that --json lists; `inspect --all` lists all.
_LISTED = 1000


def missing_groups(missing: MissingFromBundle) -> list[Group]:
    """The files whose bytes the bundle lacks, by reason, the worst first."""
    from holdall.bundle.missing import Lack

    groups = {one: Group(title="", total=count, why=one.why) for one, count in missing.counts.items()}
    # The worst come first, so those that are named are among the first.
    for wanted in islice(missing.wanted(), _READ):
        found = groups[missing.reasoned(wanted)].items
        if len(found) < NAMED:
            found.append(wanted.filename or wanted.id)
    for (lack, _), group in groups.items():
        group.title = f"{group.total} {lack.value if group.total == 1 else lack.many}"
    order = list(Lack)
    return [groups[one] for one in sorted(groups, key=lambda one: (order.index(one.lack), -groups[one].total))]


def aside_groups(missing: MissingFromBundle) -> list[Group]:
    """As ``outside_groups``, of one bundle."""
    return outside_groups(missing.outside, missing.credentials)


def outside_groups(outside: Sequence[Dependency], credentials: Capped[Suspect]) -> list[Group]:
    """What no bundle holds, and the fields that seem to hold a credential: no losses, but worth a line each."""
    groups = []
    if credentials:
        title = "Warning: the bundle seems to hold credentials"
        groups.append(
            Group(title=title, items=[f"{one.id} {one.field}" for one in credentials[:NAMED]], total=credentials.total)
        )
    if outside:
        names = [str(one).removeprefix("the back end of ") for one in outside[:NAMED]]
        groups.append(Group(title="Not included (hosted elsewhere)", items=names, total=len(outside)))
    return groups


def missing_lines(missing: MissingFromBundle) -> Iterator[str]:
    """A line for each missing file, for what no bundle holds, and for each field that seems to hold a credential."""
    width = len(str(missing.total))
    outside = (f"not included (hosted elsewhere): {one}{_users(one.used_by)}" for one in missing.outside)
    credentials = (f"seems to hold a credential: {one}" for one in missing.credentials)
    return chain(_numbered(missing.wanted(), width), outside, credentials)


def missing_as_json(missing: MissingFromBundle, *, limit: int | None = _LISTED) -> dict[str, Any]:
    """``please_supply`` is cut off at ``limit``, ``please_supply_total`` counts all."""
    return {
        "please_supply": [msgspec.to_builtins(wanted) for wanted in islice(missing.wanted(), limit)],
        "please_supply_total": missing.total,
        "outside": msgspec.to_builtins(missing.outside),
        "credentials": msgspec.to_builtins(missing.credentials),
        "credentials_total": missing.credentials.total,
    }


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
    has = "missing" if wanted.fidelity != "text" else "text truncated" if wanted.truncated else "text only"
    if wanted.doubt:
        has += f" (uncertain text: {flat(wanted.doubt)})"
    gone = ", deleted at the source" if wanted.gone else ""
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


# -- a folder in place of a bundle ---------------------------------------------------------------------


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
