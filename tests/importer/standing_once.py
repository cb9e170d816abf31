"""An awkward shelf, and an oracle that says whether it stands at a destination exactly once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from holdall.importer.report import Report
from holdall.model import SourceId
from tests.importer.shelf import Shelf
from tests.project import Hand

KEYS = {f"key{n:02}": f"value {n}" for n in range(16)}

CONTENTS = {
    "f1": ("same.md", b"# One\nthe first text of this name and size\n"),
    "f2": ("same.md", b"# Two\nanother text of this name and size..\n"),
    "f3": ("twin.md", b"# Twin\nthe same bytes under the same name\n"),
    "f4": ("twin.md", b"# Twin\nthe same bytes under the same name\n"),
    "f5": ("note.txt", b"a file of both tools\n"),
}


def awkward() -> Shelf:
    """Null names, files of one name and size with different and with equal bytes, all 16 metadata keys taken."""
    shelf = Shelf()
    for id, (name, content) in CONTENTS.items():
        shelf.file(id, name, content)
    shelf.store("vs1", [{"id": id, "attributes": {"is": id, "n": 1.5}} for id in CONTENTS], metadata=KEYS)
    shelf.store("vs2", ["f1", "f3"], name=None)
    shelf.assistant("a1", name=None, stores=["vs1"], files=["f5"], metadata=KEYS)
    shelf.assistant("a2", stores=["vs1"], files=["f2", "f4"])
    shelf.assistant("a3", name=None, stores=["vs2"])
    return shelf


def faults_of(hand: Hand, report: Report, *, ambiguous: int = 0) -> list[str]:
    """What is not as it should be at the destination; the sandbox must serve the bytes of files.

    ``ambiguous`` is how many answers to uploads may have been lost: that many extra files may be there.
    """
    assistants = {one["id"]: one for one in hand.everything("/assistants")}
    stores = {one["id"]: one for one in hand.everything("/vector_stores")}
    files = {one["id"]: one for one in hand.everything("/files")}
    told = {result.source: result.target for result in report.assistants}
    found = []
    if not report.whole:
        found.append(f"not whole: {[result.error for result in report.results]}")
    if sorted(map(str, told.values())) != sorted(assistants):
        found.append(f"assistants {sorted(assistants)} are not those of the mapping {told}")
    if sorted(report.stores.values()) != sorted(stores):
        found.append(f"stores {sorted(stores)} are not those of the mapping {report.stores}")
    for source, (name, content) in CONTENTS.items():
        target = report.files.get(SourceId(source))
        if target not in files or files[target]["filename"] != name:
            found.append(f"{source} is not there as {name}: {target}")
        elif hand.sdk.files.content(target).read() != content:
            found.append(f"{source} has other bytes")
    for source, members in (("vs1", list(CONTENTS)), ("vs2", ["f1", "f3"])):
        found += _members(hand, report, source, members)
    for source, store, code in (("a1", "vs1", ["f5"]), ("a2", "vs1", ["f2", "f4"]), ("a3", "vs2", None)):
        made = assistants.get(str(told.get(SourceId(source))), {})
        resources = made.get("tool_resources", {})
        if resources.get("file_search", {}).get("vector_store_ids") != [report.stores.get(SourceId(store))]:
            found.append(f"{source} has another store: {resources}")
        wanted = None if code is None else [report.files[SourceId(id)] for id in code]
        if resources.get("code_interpreter", {}).get("file_ids") != wanted:
            found.append(f"{source} has other files: {resources}")
    for made in (
        assistants.get(str(told.get(SourceId("a1"))), {}),
        stores.get(str(report.stores.get(SourceId("vs1"))), {}),
    ):
        if made.get("metadata") != KEYS:
            found.append(f"16 keys are not true: {made.get('metadata')}")
    return found + _orphans(files, report, ambiguous)


def _members(hand: Hand, report: Report, source: str, members: list[str]) -> list[str]:
    store = report.stores.get(SourceId(source))
    if store is None:
        return [f"{source} is missing"]
    there = {one["id"]: one for one in hand.everything(f"/vector_stores/{store}/files")}
    wanted = {report.files.get(SourceId(id)): id for id in members}
    found = []
    if set(there) != set(wanted):
        found.append(f"{source} has {sorted(there)}, not {wanted}")
    for target, one in there.items():
        attributes = {"is": wanted.get(target), "n": 1.5} if source == "vs1" else {}
        if one["attributes"] != attributes or one["status"] != "completed":
            found.append(f"{target} in {source} is {one}")
    return found


def _orphans(files: dict[str, Any], report: Report, ambiguous: int) -> list[str]:
    spare = [file for id, file in files.items() if id not in set(report.files.values())]
    found = []
    if len(spare) > ambiguous:
        found.append(f"{len(spare)} orphans for {ambiguous} lost answers")
    listed = Counter((orphan.name, orphan.size) for orphan in report.orphans)
    unlisted = Counter((file["filename"], file["bytes"]) for file in spare) - listed
    if unlisted:
        found.append(f"not listed: {unlisted}")
    ids = {orphan.id for orphan in report.orphans if orphan.id}
    if not ids <= {file["id"] for file in spare}:
        found.append(f"listed, but in use or gone: {ids}")
    return found
