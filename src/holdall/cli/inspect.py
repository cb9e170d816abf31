"""``holdall inspect``: what is inside a bundle. Reads no more of it than that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import holdings, missing_as_json, show_credentials, show_missing, verdict_as_json
from holdall.errors import UsageFault
from holdall.kinds import ASSISTANT_KINDS, KINDS, read
from holdall.model import AssistantView, Fidelity, Kind, SourceId, StoreView

if TYPE_CHECKING:
    from holdall.bundle.layout import HoldallInfo, LedgerLine
    from holdall.bundle.reader import BundleReader


_FILES = 10
_ASSISTANTS = 100
# Stores and files that are listed, however often a bundle names each.
_LISTED = 250_000
# Who uses what is only known once all memberships are read: up to so many that takes no time.
_AT_ONCE = 10_000
# The kinds that refer to nothing.
_PLAIN = [kind for kind in ASSISTANT_KINDS if kind is not Kind.ASSISTANT]


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
        raise UsageFault("can't use --force: there is no FILE to replace", hint="--html FILE")
    with open_bundle(bundle) as opened:
        info, size, verdict = opened.info, bundle.stat().st_size, declared_verdict(opened.info)
        found = _found(_Tree(opened, None if everything else _FILES), None if everything else _ASSISTANTS)
        _print_info(console, bundle, info, size)
        _print_tree(console, info, found)
        missing = _missing(console, opened, everything)
        page = _write_page(console, opened, size, html, force=force) if html else {}
        console.result()
        console.result(f"{verdict}, as exported")
    result = {"path": str(bundle), "size": size, **msgspec.structs.asdict(info), **found}
    return Outcome(result={**result, **verdict_as_json(verdict), **missing, **page})


def _write_page(console: Console, bundle: BundleReader, size: int, target: Path, *, force: bool) -> dict[str, Any]:
    from holdall.bundle.durable import write_pieces
    from holdall.pages.bundlepage import bundle_page

    write_pieces(target, (piece.encode() for piece in bundle_page(bundle, size)), force=force)
    console.result()
    console.result(f"page: {target}")
    return {"html": str(target)}


def _found(tree: _Tree, most: int | None) -> dict[str, list[dict[str, Any]]]:
    """Up to ``most`` objects of each kind, by its name in ``--json``."""
    return {
        "assistants": list(islice(tree.assistants(), most)),
        **{KINDS[kind].count: list(islice(tree.plain(kind), most)) for kind in _PLAIN},
        # Last, as it takes the assistants to know.
        "other_stores": list(islice(tree.other_stores(), most)),
    }


def _missing(console: Console, bundle: BundleReader, everything: bool) -> dict[str, Any]:
    """Print what the bundle lacks, and return it for ``--json``; of a large one, without ``--all``, only how much."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.credentials import Scan
    from holdall.dependencies import Dependencies

    info = bundle.info
    if everything or info.counts.get("memberships", 0) + info.counts.get("files", 0) <= _AT_ONCE:
        limits = {"limit": None} if everything else {}
        with MissingFromBundle(bundle) as missing:
            if missing.total or missing.outside:
                console.result()
            show_missing(console.result, missing, more="--all shows them", **limits)
            show_credentials(console.warn, missing.credentials, **limits)
            return missing_as_json(missing, **limits) if console.json else {}
    total = sum(
        info.fidelities[each].files for each in (Fidelity.TEXT, Fidelity.UNAVAILABLE) if each in info.fidelities
    )
    if total:
        console.result(f"files that are not there byte for byte: {total} (--all lists them, and who uses them)")
    outside, scan = Dependencies(), Scan()
    for record in bundle.whole():
        scan.look(record)
        outside.add(record)
    for record in bundle.stores():
        scan.look(record)
    show_credentials(console.warn, scan.found)
    return {
        "please_supply": None,
        "please_supply_total": total,
        "outside": msgspec.to_builtins(outside.things()),
        "credentials": msgspec.to_builtins(scan.found),
        "credentials_total": scan.found.total,
    }


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
                "stores": [self._store(id) for id in self._left_of(view.store_ids)],
                "code_interpreter": self._files(view.file_ids, len(view.file_ids)),
            }

    def plain(self, kind: Kind) -> Iterator[dict[str, Any]]:
        """The definitions of a kind that refers to nothing."""
        for record in self._bundle.definitions(kind):
            view = read(record)
            yield {"id": record.id, "name": view.name, "model": view.model}

    def other_stores(self) -> Iterator[dict[str, Any]]:
        """The stores that none of the assistants seen before uses."""
        return (self._store(id) for id in self._stores if id not in self._seen)

    def _store(self, id: str) -> dict[str, Any]:
        if id in self._seen:
            return self._seen[id]
        if id not in self._stores:
            self._seen[id] = {"id": id, "name": None, "in_bundle": False, **self._files((), 0)}
            return self._seen[id]
        entry = self._bundle.memberships_entry(id)
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
    where = [source.base_url, *(part for part in (source.organization, source.project, source.label) if part)]
    console.result(f"{path}  {human_size(size)}, format {info.format}, written by {info.tool}")
    console.result(f"source     {', '.join(where)}")
    console.result(f"captured   {_time(info.started)} to {_time(info.ended)}")
    size_of_all = human_size(counts.get("bytes", 0))
    console.result(f"holds      {holdings(counts)}; {size_of_all} in {counts.get('entries', 0)} entries")
    for fidelity, count in info.fidelities.items():
        stored = f", {human_size(count.bytes)}" if count.bytes else ""
        console.result(f"           {fidelity}: {counted(count.files, 'file')}{stored}")
    for number, (name, digest) in enumerate(msgspec.to_builtins(info.digests).items()):
        console.result(f"{'' if number else 'digests':11}{name:12}{digest}")


def _print_tree(console: Console, info: HoldallInfo, found: dict[str, list[dict[str, Any]]]) -> None:
    for assistant in found["assistants"]:
        console.result()
        console.result(_titled(assistant))
        for store in assistant["stores"]:
            _print_store(console, store)
        interpreter = assistant["code_interpreter"]
        if interpreter["file_count"]:
            console.result(f"  code interpreter: {counted(interpreter['file_count'], 'file')}")
            _print_files(console, interpreter)
    left = info.counts.get("assistants", 0) - len(found["assistants"])
    if left > 0:
        console.result()
        console.result(f"… and {left} more assistants (--all shows them)")
    for name in (KINDS[kind].count for kind in _PLAIN):
        if found[name]:
            console.result()
            console.result(f"{name}:")
        for one in found[name]:
            console.result(f"  {_titled(one)}")
        if (more := info.counts.get(name, 0) - len(found[name])) > 0:
            console.result(f"  … and {more} more {name} (--all shows them)")
    # While assistants are left, nobody knows which stores none of them uses.
    if left <= 0 and found["other_stores"]:
        console.result()
        console.result("stores that no assistant here uses:")
        for store in found["other_stores"]:
            _print_store(console, store)


def _titled(one: dict[str, Any]) -> str:
    return f"{one['name'] or '(no name)'}  {one['id']}  {one['model'] or ''}".rstrip()


def _print_store(console: Console, store: dict[str, Any]) -> None:
    if not store["in_bundle"]:
        console.result(f"  store {store['id']}: not in the bundle")
        return
    console.result(f"  store {store['name'] or '(no name)'}  {store['id']}: {counted(store['file_count'], 'file')}")
    _print_files(console, store)


def _print_files(console: Console, holder: dict[str, Any]) -> None:
    for file in holder["files"]:
        size = human_size(file["size"]) if file["size"] is not None else "-"
        how = f"{file['fidelity'] or 'unknown'}{', uncertain' if file['doubt'] else ''}"
        console.result(f"    {file['filename'] or '(no name)'}  {file['id']}  {how}, {size}")
    left = holder["file_count"] - len(holder["files"])
    if holder.get("files_above"):
        console.result("    its files are listed above")
    elif left > 0:
        console.result(f"    … and {left} more (--all shows them)")


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
