"""``holdall inspect``: what is inside a bundle, by reading no more of it than that takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import common_options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.missingview import as_json, show, show_credentials
from holdall.cli.verdictview import as_result
from holdall.kinds import KINDS, WHOLE, read
from holdall.model import AssistantView, Fidelity, Kind, SourceId, StoreView

if TYPE_CHECKING:
    from holdall.bundle.layout import HoldallInfo, LedgerLine
    from holdall.bundle.reader import BundleReader

__all__ = ["command"]

_FILES = 10
_ASSISTANTS = 100
# Stores and files that are listed, however often a bundle names each.
_LISTED = 250_000
# Who uses what is only known once all memberships are read: up to so many that takes no time.
_AT_ONCE = 10_000


@click.command("inspect", cls=common_options.Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Every assistant and every file, however many.")
@common_options.output
@click.pass_obj
def command(console: Console, bundle: Path, everything: bool) -> Outcome:
    """Show what is inside a bundle: source, time, sizes, files by how they were got, assistants with their files.

    Reads only what it shows; verify is what proves a bundle.
    """
    from holdall.bundle.reader import open_bundle
    from holdall.bundle.totals import declared

    with open_bundle(bundle) as opened:
        tree = _Tree(opened, None if everything else _FILES)
        info, size = opened.info, bundle.stat().st_size
        assistants = list(islice(tree.assistants(), None if everything else _ASSISTANTS))
        later: dict[Kind, list[dict[str, Any]]] = {
            kind: list(islice(tree.plain(kind), None if everything else _ASSISTANTS))
            for kind in WHOLE
            if kind is not Kind.ASSISTANT
        }
        others = list(islice(tree.other_stores(), None if everything else _ASSISTANTS))
        _print_info(console, bundle, info, size)
        _print_tree(console, info, assistants, later, others)
        shortfall = _shortfall(console, opened, everything)
        verdict = declared(info)
        console.result()
        console.result(f"{verdict}, as exported")
    return Outcome(
        result={
            "path": str(bundle),
            "size": size,
            **msgspec.structs.asdict(info),
            "assistants": assistants,
            **{KINDS[kind].count: found for kind, found in later.items()},
            "other_stores": others,
            **as_result(verdict),
            **shortfall,
        }
    )


def _shortfall(console: Console, bundle: BundleReader, everything: bool) -> dict[str, Any]:
    """What the bundle could not take in, printed and as values; of a large one, without ``--all``, only how much."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.credentials import Scan
    from holdall.dependencies import Dependencies

    info = bundle.info
    if everything or info.counts.get("memberships", 0) + info.counts.get("files", 0) <= _AT_ONCE:
        with MissingFromBundle(bundle) as shortfall:
            if shortfall.total or shortfall.outside:
                console.result()
            show(console.result, shortfall, limit=None if everything else 20, more="--all shows them")
            show_credentials(console.warn, shortfall.credentials, limit=None if everything else 20)
            return as_json(shortfall, limit=None if everything else 1000) if console.json else {}
    total = sum(
        count.files for fidelity, count in info.fidelities.items() if fidelity in (Fidelity.TEXT, Fidelity.UNAVAILABLE)
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
    """Assistants -> stores -> files, each list of files cut off at ``limit``, where there is one; a store's, and all
    together at ``_LISTED``, in any event. A store is read once, and its files are under the first that names it."""

    def __init__(self, bundle: BundleReader, limit: int | None) -> None:
        self._bundle, self._limit = bundle, limit
        self._left = _LISTED
        self._stores: dict[str, str | None] = {}
        for store in bundle.stores():
            self._stores[store.id] = StoreView.of(store).name
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
            found = {"id": id, "name": None, "in_bundle": False, **self._files((), 0)}
            self._seen[id] = found
            return found
        entry = self._bundle.memberships_entry(id)
        members = (member.id for member in self._bundle.memberships(id))
        files = self._files(members, (entry.records or 0) if entry else 0)
        found = {"id": id, "name": self._stores[id], "in_bundle": True, **files}
        self._seen[id] = {**found, "files": [], "files_above": True}
        return found

    def _left_of(self, stores: list[SourceId]) -> list[SourceId]:
        """Those that may still be listed."""
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
    held = (row for row in KINDS.values() if not row.since or counts.get(row.count))
    console.result(
        f"holds      {', '.join(counted(counts.get(row.count, 0), row.noun) for row in held)}; "
        f"{human_size(counts.get('bytes', 0))} in {counts.get('entries', 0)} entries"
    )
    for fidelity, count in info.fidelities.items():
        stored = f", {human_size(count.bytes)}" if count.bytes else ""
        console.result(f"           {fidelity}: {counted(count.files, 'file')}{stored}")
    for number, (name, digest) in enumerate(msgspec.to_builtins(info.digests).items()):
        console.result(f"{'' if number else 'digests':11}{name:12}{digest}")


def _print_tree(
    console: Console,
    info: HoldallInfo,
    assistants: list[dict[str, Any]],
    later: Mapping[Kind, list[dict[str, Any]]],
    others: list[dict[str, Any]],
) -> None:
    for assistant in assistants:
        console.result()
        console.result(f"{assistant['name'] or '(no name)'}  {assistant['id']}  {assistant['model'] or ''}".rstrip())
        for store in assistant["stores"]:
            _print_store(console, store, "  ")
        interpreter = assistant["code_interpreter"]
        if interpreter["file_count"]:
            console.result(f"  code interpreter: {counted(interpreter['file_count'], 'file')}")
            _print_files(console, interpreter, "    ")
    left = info.counts.get("assistants", 0) - len(assistants)
    if left > 0:
        console.result()
        console.result(f"… and {left} more assistants (--all shows them)")
    for kind, found in later.items():
        name = KINDS[kind].count
        if found:
            console.result()
            console.result(f"{name}:")
        for one in found:
            console.result(f"  {one['name'] or '(no name)'}  {one['id']}  {one['model'] or ''}".rstrip())
        if (more := info.counts.get(name, 0) - len(found)) > 0:
            console.result(f"  … and {more} more {name} (--all shows them)")
    if left <= 0 and others:
        console.result()
        console.result("stores that no assistant here uses:")
        for store in others:
            _print_store(console, store, "  ")


def _print_store(console: Console, store: dict[str, Any], indent: str) -> None:
    if not store["in_bundle"]:
        console.result(f"{indent}store {store['id']}: not in the bundle")
        return
    console.result(
        f"{indent}store {store['name'] or '(no name)'}  {store['id']}: {counted(store['file_count'], 'file')}"
    )
    _print_files(console, store, indent + "  ")


def _print_files(console: Console, holder: dict[str, Any], indent: str) -> None:
    for file in holder["files"]:
        size = human_size(file["size"]) if file["size"] is not None else "-"
        doubtful = ", joined doubtfully" if file["doubt"] else ""
        console.result(
            f"{indent}{file['filename'] or '(no name)'}  {file['id']}  "
            f"{file['fidelity'] or 'unknown'}{doubtful}, {size}"
        )
    left = holder["file_count"] - len(holder["files"])
    if holder.get("files_above"):
        console.result(f"{indent}its files are listed above")
    elif left > 0:
        console.result(f"{indent}… and {left} more (--all shows them)")


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
