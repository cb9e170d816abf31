"""An awkward shelf, and an oracle that says whether it stands at a destination exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

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


def make(hand: Hand) -> dict[str, str]:
    """The same in a project, over the wire; returns the ids by the names that the shelf gives them."""
    ids = {label: hand.file(name, content) for label, (name, content) in CONTENTS.items()}
    members = {ids[label]: {"attributes": {"is": label, "n": 1.5}} for label in CONTENTS}
    ids["vs1"] = hand.store("vs1", [ids[label] for label in CONTENTS], members, metadata=KEYS)
    ids["vs2"] = hand.store("", [ids["f1"], ids["f3"]])
    ids["a1"] = hand.assistant(None, stores=[ids["vs1"]], files=[ids["f5"]], metadata=KEYS)
    ids["a2"] = hand.assistant("A2", stores=[ids["vs1"]], files=[ids["f2"], ids["f4"]])
    ids["a3"] = hand.assistant(None, stores=[ids["vs2"]])
    return ids


def faults_of(
    hand: Hand, mapping: dict[str, Any], ids: Mapping[str, str] | None = None, *, ambiguous: int
) -> list[str]:
    """What is not as it should be at the destination, by ``mapping.json``; the sandbox must serve the bytes of files.

    ``ids`` are those of the source, by the names that the shelf gives them. ``ambiguous`` is how many answers to
    uploads may have been lost: that many extra files may be there.
    """
    check = _Check(hand, mapping, ids or {label: label for label in _LABELS})
    check.all(ambiguous)
    return check.found


_LABELS = (*CONTENTS, "vs1", "vs2", "a1", "a2", "a3")


class _Check:
    def __init__(self, hand: Hand, mapping: dict[str, Any], ids: Mapping[str, str]) -> None:
        self.hand = hand
        self.mapping = mapping
        self.there = {
            kind: {one["id"]: one for one in hand.everything(f"/{kind}")}
            for kind in ("assistants", "vector_stores", "files")
        }
        told = {row["srcId"]: row["dstId"] for row in mapping["mappings"]}
        told = {**mapping["files"], **mapping["vector_stores"], **told}
        self.copies: dict[str, Any] = {label: told.get(ids[label]) for label in _LABELS}
        self.found: list[str] = []

    def expect(self, what: str, wanted: object, found: object) -> None:
        if wanted != found:
            self.found.append(f"{what} is {found}, not {wanted}")

    def all(self, ambiguous: int) -> None:
        copies, there = self.copies, self.there
        statuses = [(row["status"], row["error"]) for row in self.mapping["mappings"]]
        self.expect("the outcome", [("success", None)] * 3, statuses)
        for kind, labels in (("assistants", ("a1", "a2", "a3")), ("vector_stores", ("vs1", "vs2"))):
            self.expect(kind, sorted(str(copies[label]) for label in labels), sorted(there[kind]))
        for label, (name, content) in CONTENTS.items():
            self.expect(label, name, there["files"].get(copies[label], {}).get("filename"))
            if copies[label] in there["files"]:
                self.expect(f"content of {label}", content, self.hand.sdk.files.content(copies[label]).read())
        self.members("vs1", list(CONTENTS))
        self.members("vs2", ["f1", "f3"])
        for label, store, code in (("a1", "vs1", ["f5"]), ("a2", "vs1", ["f2", "f4"]), ("a3", "vs2", None)):
            resources = there["assistants"].get(copies[label], {}).get("tool_resources", {})
            self.expect(label, [copies[store]], resources.get("file_search", {}).get("vector_store_ids"))
            wanted = None if code is None else [copies[file] for file in code]
            self.expect(label, wanted, resources.get("code_interpreter", {}).get("file_ids"))
        self.expect("metadata of a1", KEYS, there["assistants"].get(copies["a1"], {}).get("metadata"))
        self.expect("metadata of vs1", KEYS, there["vector_stores"].get(copies["vs1"], {}).get("metadata"))
        self.orphans(ambiguous)

    def members(self, label: str, members: list[str]) -> None:
        store = self.copies[label]
        if store not in self.there["vector_stores"]:
            return
        there = {one["id"]: one for one in self.hand.everything(f"/vector_stores/{store}/files")}
        wanted = {self.copies[file]: file for file in members}
        self.expect(f"what is in {label}", set(wanted), set(there))
        for id, one in there.items():
            attributes = {"is": wanted.get(id), "n": 1.5} if label == "vs1" else {}
            self.expect(f"{id} in {label}", (attributes, "completed"), (one["attributes"], one["status"]))

    def orphans(self, ambiguous: int) -> None:
        used = set(self.mapping["files"].values())
        spare = [file for id, file in self.there["files"].items() if id not in used]
        if len(spare) > ambiguous:
            self.found.append(f"{len(spare)} orphans for {ambiguous} lost answers")
        listed = self.mapping["possible_orphans"]
        unlisted = Counter((file["filename"], file["bytes"]) for file in spare)
        unlisted -= Counter((orphan["name"], orphan["size"]) for orphan in listed)
        self.expect("what is not listed", Counter(), unlisted)
        ids = {orphan["id"] for orphan in listed if orphan["id"]}
        self.expect("what is listed and in use, or gone", set(), ids - {file["id"] for file in spare})
