"""``holdall inspect``: what is inside a bundle. Reads no more of it than that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.agent_views import VersionView
from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.views import (
    Block,
    Group,
    aside_groups,
    by_fidelity,
    holdings,
    missing_as_json,
    missing_groups,
    missing_lines,
    opened_folder,
    outside_groups,
    verdict_as_json,
)
from holdall.errors import EXIT_DONE, EXIT_LOOK, UsageFault, pasteable
from holdall.kinds import DEFINITIONS, KINDS
from holdall.legible import table
from holdall.model import AssistantView, DefinitionView, Fidelity, Kind, SourceId, StoreView

if TYPE_CHECKING:
    from holdall.bundle.layout import HoldallInfo, LedgerLine
    from holdall.bundle.reader import BundleReader


_FILES = 10
_ASSISTANTS = 100
# Definitions of which a line is shown without --verbose.
_BRIEF = 3
# Stores and files that are listed, however often a bundle names each.
_LISTED = 250_000
# Who uses what is only known once all memberships are read: up to so many that takes no time.
_AT_ONCE = 10_000
# What is listed behind the assistants.
_OTHERS = [kind for kind in DEFINITIONS if kind not in (Kind.ASSISTANT, Kind.STORE)]


@click.command("inspect", cls=options.Command)
@options.bundle
@click.option("--all", "everything", is_flag=True, help="List every assistant and every file.")
@click.option("--html", metavar="FILE", type=options.OutputFile(), help="Also write an HTML page to FILE.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@options.output
def command(console: Console, bundle: Path, everything: bool, html: Path | None, force: bool) -> Outcome:
    """Show the contents of a bundle: source, time, sizes, files by fidelity, assistants with their files.

    Reads only what it shows; to check a bundle for damage use verify.
    """
    from holdall.bundle.reader import open_bundle
    from holdall.bundle.totals import declared_verdict

    if force and not html:
        raise UsageFault("--force needs --html FILE", hint="--html FILE")
    with opened_folder(console, bundle) as file, open_bundle(bundle, file=file) as opened:
        info, size, verdict = opened.info, opened.size, declared_verdict(opened.info)
        found = _found(_Tree(opened, None if everything else _FILES), None if everything else _ASSISTANTS)
        _print_info(console, bundle, info, size)
        if everything or console.verbose:
            _print_tree(console, info, found)
        else:
            _print_brief(console, info, found)
        missing, groups, lines = _missing(console, opened, everything)
        page = _write_page(opened, size, html, force=force) if html else {}
        Block(
            verdict=f"{verdict} (as exported)",
            exit_code=EXIT_DONE if verdict.complete else EXIT_LOOK,
            groups=groups,
            details=lines,
            places=[f"Page: {html}"] if html else [],
            commands=[f"holdall verify {pasteable(bundle)}"],
        ).show(console, on_stdout=True)
    result = {"path": str(bundle), "size": size, **msgspec.structs.asdict(info), **found}
    return Outcome(result={**result, **verdict_as_json(verdict), **missing, **page})


def _write_page(bundle: BundleReader, size: int, target: Path, *, force: bool) -> dict[str, Any]:
    from holdall.pages import bundle_page
    from holdall.safe_files import write_pieces

    write_pieces(target, (piece.encode() for piece in bundle_page(bundle, size)), force=force)
    return {"html": str(target)}


def _found(tree: _Tree, most: int | None) -> dict[str, list[dict[str, Any]]]:
    """Up to ``most`` objects of each kind, by its name in ``--json``."""
    return {
        "assistants": list(islice(tree.assistants(), most)),
        **{KINDS[kind].count: list(islice(tree.others(kind), most)) for kind in _OTHERS},
        # Last, as it takes the assistants to know.
        "other_stores": list(islice(tree.other_stores(), most)),
    }


def _missing(console: Console, bundle: BundleReader, everything: bool) -> tuple[dict[str, Any], list[Group], list[str]]:
    """What the bundle lacks: for ``--json``, by reason, and a line each; of a large one, without ``--all``, only how
    much."""
    from holdall.bundle.missing import MissingFromBundle

    counts = bundle.info.counts
    if not everything and counts.get("memberships", 0) + counts.get("files", 0) > _AT_ONCE:
        return *_missing_counts(bundle), []
    with MissingFromBundle(bundle) as missing:
        groups = [*missing_groups(missing), *aside_groups(missing)]
        if everything:
            for line in missing_lines(missing):
                console.result(flat(line))
        limits = {"limit": None} if everything else {}
        lines = list(islice(missing_lines(missing), _AT_ONCE)) if console.verbose and not everything else []
        return (missing_as_json(missing, **limits) if console.json else {}), groups, lines


def _missing_counts(bundle: BundleReader) -> tuple[dict[str, Any], list[Group]]:
    """How much a large bundle lacks: for ``--json``, and by reason."""
    from holdall.credentials import Scan
    from holdall.dependencies import Dependencies

    info, groups = bundle.info, list[Group]()
    for fidelity, words in ((Fidelity.UNAVAILABLE, "missing"), (Fidelity.TEXT, "as text only")):
        if count := info.fidelities[fidelity].files if fidelity in info.fidelities else 0:
            groups.append(Group(title=f"{counted(count, 'file')} {words} (--all lists them)", total=count))
    outside, scan = Dependencies(), Scan()
    for record in bundle.whole():
        scan.look(record)
        outside.add(record)
    for record in bundle.definitions(Kind.SKILL):
        outside.there(record.id)
    for record in bundle.stores():
        scan.look(record)
    things = outside.things()
    as_json = {
        "please_supply": None,
        "please_supply_total": sum(group.total for group in groups),
        "outside": msgspec.to_builtins(things),
        "credentials": msgspec.to_builtins(scan.found),
        "credentials_total": scan.found.total,
    }
    return as_json, [*groups, *outside_groups(things, scan.found)]


class _Tree:
    """Assistants -> stores -> files. Each list of files ends at ``limit``, if there is one, and all together at
    ``_LISTED``. A store is read once: its files are listed under the first assistant that uses it."""

    def __init__(self, bundle: BundleReader, limit: int | None) -> None:
        self._bundle, self._limit = bundle, limit
        self._left = _LISTED
        self._stores: dict[str, str | None] = {store.id: StoreView.of(store).name for store in bundle.stores()}
        self._seen: dict[str, dict[str, Any]] = {}
        self._files_seen: dict[str, dict[str, Any]] = {}
        if limit is None:
            # Looked up one by one, so many would take minutes.
            for line in islice(bundle.ledger(), _LISTED):
                self._files_seen[line.id] = _file(line.id, line)

    def assistants(self) -> Iterator[dict[str, Any]]:
        for record in self._bundle.assistants():
            view = AssistantView.of(record)
            yield {
                "id": record.id,
                "name": view.name,
                "model": view.model,
                **self._uses(view),
            }

    def others(self, kind: Kind) -> Iterator[dict[str, Any]]:
        """The definitions of another kind."""
        for record in self._bundle.definitions(kind):
            view: Any = KINDS[kind].view.of(record)
            found = {"id": record.id, "name": view.name}
            if kind is Kind.SKILL:
                yield {**found, "default_version": view.default_version, **self._versions(record.id)}
            elif kind is Kind.TEMPLATE:
                yield {**found, "skills": view.skill_ids, **self._files(view.file_ids, len(view.file_ids))}
            elif kind is Kind.FOUNDRY_AGENT:
                entry = self._bundle.members_entry(kind, record.id)
                number = view.versions.latest.version
                yield {**found, "model": view.model, "version": number, **self._uses(view)} | {
                    "version_count": entry.records if entry else None
                }
            else:
                yield {**found, "model": view.model}

    def _uses(self, view: DefinitionView) -> dict[str, Any]:
        return {
            "stores": [self._store(id) for id in self._left_of(view.store_ids)],
            "code_interpreter": self._files(view.file_ids, len(view.file_ids)),
        }

    def _versions(self, skill: SourceId) -> dict[str, Any]:
        """The versions of a skill and their zips, counted as files are."""
        entry = self._bundle.members_entry(Kind.SKILL, skill)
        most = self._left if self._limit is None else min(self._left, self._limit)
        versions = [
            {"version": VersionView.of(version).version, **self._file(version.id)}
            for version in islice(self._bundle.versions(Kind.SKILL, skill), most)
        ]
        self._left -= len(versions)
        return {"version_count": (entry.records or 0) if entry else 0, "versions": versions}

    def other_stores(self) -> Iterator[dict[str, Any]]:
        """The stores that none of the assistants seen before uses."""
        return (self._store(id) for id in self._stores if id not in self._seen)

    def _store(self, id: str) -> dict[str, Any]:
        if id in self._seen:
            return self._seen[id]
        if id not in self._stores:
            self._seen[id] = {"id": id, "name": None, "in_bundle": False, **self._files((), 0)}
            return self._seen[id]
        entry = self._bundle.members_entry(Kind.STORE, id)
        members = (member.id for member in self._bundle.memberships(id))
        files = self._files(members, (entry.records or 0) if entry else 0)
        found = {"id": id, "name": self._stores[id], "in_bundle": True, **files}
        # Once: a small bundle may have thousands of assistants that all use one large store.
        self._seen[id] = {**found, "files": [], "files_above": True}
        return found

    def _left_of(self, stores: list[SourceId]) -> list[SourceId]:
        """Those that still fit into the list."""
        stores = stores[: self._left]
        self._left -= len(stores)
        return stores

    def _files(self, ids: Iterable[str], count: int) -> dict[str, Any]:
        most = self._left if self._limit is None else min(self._left, self._limit)
        files = [self._file(id) for id in islice(ids, most)]
        self._left -= len(files)
        return {"file_count": count, "files": files}

    def _file(self, id: str) -> dict[str, Any]:
        if id not in self._files_seen:
            self._files_seen[id] = _file(id, self._bundle.ledger_line(id))
        return self._files_seen[id]


def _file(id: str, line: LedgerLine | None) -> dict[str, Any]:
    if line is None:
        return {"id": id, "filename": None, "fidelity": None, "size": None, "doubt": None}
    return {
        "id": id,
        "filename": line.filename,
        "fidelity": line.fidelity,
        "size": line.size,
        "doubt": line.doubt or None,
    }


def _print_info(console: Console, path: Path, info: HoldallInfo, size: int) -> None:
    source, counts = info.source, info.counts
    named = (source.organization if console.verbose else None, source.project, source.label)
    numbers = by_fidelity(counts, {each: count.files for each, count in info.fidelities.items()})
    kinds = [kind for kind in KINDS if kind is not Kind.MEMBERSHIP]
    console.result(f"{path}: {human_size(size)}, exported {_time(info.ended)}")
    console.result(f"Source:  {', '.join([source.base_url, *filter(None, named)])}")
    console.result(f"Holds:   {holdings(counts, kinds)}{numbers}")
    if console.verbose:
        console.result(f"Format:  {info.format}, written by {info.tool}")
        console.result(f"Began:   {_time(info.started)}")
        for name, digest in msgspec.to_builtins(info.digests).items():
            console.result(f"Digest:  {name} {digest}")


def _print_brief(console: Console, info: HoldallInfo, found: dict[str, list[dict[str, Any]]]) -> None:
    """One line for each of the first definitions."""
    kinds = (Kind.ASSISTANT, *_OTHERS)
    shown = [one for kind in kinds for one in found[KINDS[kind].count]][:_BRIEF]
    rows = [
        (flat(one["name"] or "(no name)"), _ident(one), flat(one.get("model") or ""), _knowledge(one)) for one in shown
    ]
    width = console.result_columns
    for line in table(rows, width=width and width - 2):
        console.result(f"  {line}")
    total = sum(info.counts.get(KINDS[kind].count, 0) for kind in kinds)
    if (more := total - len(shown)) > 0:
        console.result(f"  … and {more} more (-v lists them with their files)")


def _knowledge(one: dict[str, Any]) -> str:
    if "versions" in one:
        return counted(one["version_count"], "version")
    files = sum(store["file_count"] for store in one.get("stores", ())) + one.get("file_count", 0)
    if interpreter := one.get("code_interpreter"):
        files += interpreter["file_count"]
    return counted(files, "file") if files else ""


def _print_tree(console: Console, info: HoldallInfo, found: dict[str, list[dict[str, Any]]]) -> None:
    for assistant in found["assistants"]:
        console.result()
        console.result(_titled(assistant))
        _print_uses(console, assistant, "  ")
    left = info.counts.get("assistants", 0) - len(found["assistants"])
    if left > 0:
        console.result()
        console.result(f"… and {left} more assistants (--all shows them)")
    for row in (KINDS[kind] for kind in _OTHERS):
        if found[row.count]:
            console.result()
            console.result(f"{row.noun}s:")
        for one in found[row.count]:
            console.result(f"  {_titled(one)}")
            _print_uses(console, one, "    ")
        if (more := info.counts.get(row.count, 0) - len(found[row.count])) > 0:
            console.result(f"  … and {more} more {row.noun}s (--all shows them)")
    # While assistants are left, nobody knows which stores none of them uses.
    if left <= 0 and found["other_stores"]:
        console.result()
        console.result("vector stores that no assistant uses:")
        for store in found["other_stores"]:
            _print_store(console, store)


def _titled(one: dict[str, Any]) -> str:
    return f"{one['name'] or '(no name)'}  {_ident(one)}  {one.get('model') or ''}".rstrip()


def _ident(one: dict[str, Any]) -> str:
    """The id; of an agent of Foundry, whose name that is, the version."""
    return f"version {one['version']}" if one.get("version") and one["id"] == one["name"] else str(one["id"])


def _print_uses(console: Console, one: dict[str, Any], indent: str) -> None:
    """The stores and files that a definition uses, the versions that it has."""
    for store in one.get("stores", ()):
        _print_store(console, store, indent)
    interpreter = one.get("code_interpreter") or {"file_count": 0}
    if interpreter["file_count"]:
        console.result(f"{indent}code interpreter: {counted(interpreter['file_count'], 'file')}")
        _print_files(console, interpreter, indent)
    for skill in one.get("skills", ()):
        console.result(f"{indent}skill {skill}")
    if one.get("version_count"):
        default = f", default {one['default_version']}" if one.get("default_version") else ""
        console.result(f"{indent}{counted(one['version_count'], 'version')}{default}")
        if "versions" in one:
            _print_files(console, {"files": one["versions"], "file_count": one["version_count"]}, indent)
    if one.get("file_count"):
        _print_files(console, one, indent)


def _print_store(console: Console, store: dict[str, Any], indent: str = "  ") -> None:
    if not store["in_bundle"]:
        console.result(f"{indent}store {store['id']}: not in the bundle")
        return
    named = f"{store['name'] or '(no name)'}  {store['id']}"
    console.result(f"{indent}store {named}: {counted(store['file_count'], 'file')}")
    _print_files(console, store, indent)


def _print_files(console: Console, holder: dict[str, Any], indent: str = "  ") -> None:
    for file in holder["files"]:
        size = human_size(file["size"]) if file["size"] is not None else "-"
        how = f"{file['fidelity'] or 'unknown'}{', uncertain' if file['doubt'] else ''}"
        console.result(f"{indent}  {file['filename'] or '(no name)'}  {file['id']}  {how}, {size}")
    left = holder["file_count"] - len(holder["files"])
    if holder.get("files_above"):
        console.result(f"{indent}  its files are listed above")
    elif left > 0:
        console.result(f"{indent}  … and {left} more (--all shows them)")


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
