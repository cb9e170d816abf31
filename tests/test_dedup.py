"""What restic stores of a daily bundle, and of the same as a folder: twelve days on which 1 % of a project changes.

``HOLDALL_DEDUP=0.1`` makes the projects a tenth as large (the limits hold for whole ones); ``-s`` prints the tables.

1 % of a knowledge base changes like this: a document is changed by an upload in its place, so an old one goes, wherever
in the listing it stands, and a new one of about its size comes, at the end where lists begin (they show the newest
first). One upload in five takes no other's place: knowledge bases grow. Which documents change is left to chance; in
practice the same ones change again, which is cheaper. Documents have some 100 KB. A text project has nothing else; of a
mixed one, 40 % of the files don't compress, have some 400 KB, and up to 20 MB. Documents come until 1 % of the bytes
are new.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdall.bundle.layout import Capture, LedgerLine, Source
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import read_table
from holdall.bundle.writer import BundleWriter
from holdall.folder.write_folder import unpack
from holdall.model import Fidelity, Kind, Record, SourceId
from tests.bench.inputs import Pool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("restic") is None, reason="no restic here"),
]

SCALE = float(os.environ.get("HOLDALL_DEDUP", "1"))
DAYS = 12
BORN = 1_750_000_000


class Document(msgspec.Struct, frozen=True):
    id: str
    size: int
    is_text: bool
    created_at: int

    def pieces(self, pool: Pool) -> Iterator[bytes | memoryview]:
        chance = random.Random(self.id)
        if self.is_text:
            yield from pool.pieces(self.size, chance, text=True)
        else:
            for start in range(0, self.size, 1 << 20):
                yield chance.randbytes(min(1 << 20, self.size - start))


class Project:
    """The documents in the order of the list: the newest first."""

    def __init__(self, total: int, *, mixed: bool) -> None:
        self._chance, self._day, self._made = random.Random(total), 0, 0
        self._total, self.documents = total, list[Document]()
        while sum(one.size for one in self.documents) < total:
            is_text = not mixed or self._chance.random() < 0.6
            middle, spread, most = (100e3, 0.5, 1e6) if is_text else (400e3, 1.2, 20e6)
            size = min(self._chance.lognormvariate(math.log(middle), spread), most)
            self.documents.append(self._new(round(size), is_text=is_text))

    def _new(self, size: int, *, is_text: bool) -> Document:
        self._made += 1
        id = f"file-{''.join(self._chance.choices('abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ123456789', k=22))}"
        return Document(id, size, is_text, BORN + self._day * 86_400 + self._made)

    def change(self) -> None:
        """The next day."""
        self._day, changed = self._day + 1, 0
        while changed < self._total // 100:
            place = self._chance.randrange(len(self.documents))
            old = self.documents[place]
            if self._chance.random() < 0.8:
                del self.documents[place]
            new = self._new(round(old.size * self._chance.uniform(0.9, 1.1)), is_text=old.is_text)
            self.documents.insert(0, new)
            changed += new.size

    def write(self, target: Path, pool: Pool) -> None:
        """As an export does: assistant, store, contents in listing order, then what there is about them."""
        source = Source(base_url="https://api.openai.com/v1", project="proj_1", label="acme")
        capture = Capture(tool="holdall/1", source=source, selection={}, options={})
        day = BORN + self._day * 86_400 + 10**7
        with BundleWriter(target, capture, started=day) as writer:
            store = {"id": "vs_1", "object": "vector_store", "name": "Knowledge", "created_at": BORN}
            store["file_counts"] = {"completed": len(self.documents), "total": len(self.documents)}
            writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_1"), raw=json.dumps(store).encode()))
            with writer.open_files() as files, writer.open_memberships("vs_1") as members:
                for one in self.documents:
                    self._add(writer, one, pool)
                    named = {"id": one.id, "created_at": one.created_at}
                    record = {"object": "file", "bytes": one.size, "filename": _name(one), "purpose": "assistants"}
                    files.write(json.dumps({**named, **record, "status": "processed"}).encode() + b"\n")
                    member = {"object": "vector_store.file", "vector_store_id": "vs_1", "usage_bytes": one.size}
                    members.write(json.dumps({**named, **member, "status": "completed"}).encode() + b"\n")
                files.commit()
                members.commit()
            writer.finish(ended=day + 600)

    def _add(self, writer: BundleWriter, one: Document, pool: Pool) -> None:
        with writer.open_content(one.size) as sink:
            for piece in one.pieces(pool):
                sink.write(piece)
            sink.commit()
        line = LedgerLine(
            id=one.id, filename=_name(one), fidelity=Fidelity.ORIGINAL, path=None, expected=one.size, size=one.size,
            route=f"/files/{one.id}/content", status=200, code=None, message=None,
        )  # fmt: skip
        writer.add_content(sink, line, created_at=one.created_at)


def _name(one: Document) -> str:
    return f"{one.id[5:11]}.{'md' if one.is_text else 'pdf'}"


class Restic:
    """A repository; gives the bytes by which it grows."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._size = folder, 0
        self._environ = {**os.environ, "RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": "x"}
        self._run("init")
        self._grown()

    def store(self, path: Path) -> int:
        self._run("backup", "--no-cache", str(path))
        return self._grown()

    def _run(self, *words: str) -> None:
        subprocess.run(["restic", "-q", *words], env=self._environ, check=True, stdout=subprocess.DEVNULL)

    def _grown(self) -> int:
        before = self._size
        self._size = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return self._size - before


def parts(bundle: Path) -> Iterator[tuple[str, bytes, int]]:
    """(what is in it, hash, bytes) of each frame."""
    with open_bundle(bundle) as reader, bundle.open("rb") as file:
        table = read_table(file)
        places = sorted((entry.offset, entry.path) for entry in reader.entries())
        info = reader.info
        places += [(info.manifest.offset, "manifest"), (info.index.offset, "index")]
        at = -1
        for number in range(len(table)):
            offset, length, start, size = table[number]
            while at + 1 < len(places) and places[at + 1][0] < start + size:
                at += 1
            what = places[at][1] if at >= 0 else "opening"
            if number == len(table) - 1:
                what = "last frame"
            file.seek(offset)
            yield _part(what), hashlib.sha256(file.read(length)).digest(), length
        yield "seal and seek table", b"", bundle.stat().st_size - table.length


def _part(path: str) -> str:
    if path.startswith(("data/files/", "data/text/")):
        return "contents"
    if path.endswith(".jsonl"):
        return path.rpartition("/")[2].replace("vs_1.files", "memberships")
    return path if "/" not in path else "definitions"


@pytest.mark.parametrize(
    ("kind", "megabytes", "as_bundle", "as_folder"), [("text", 200, 45.0, 2.6), ("mixed", 1000, 6.0, 1.8)]
)
def test_twelve_days(kind: str, megabytes: int, as_bundle: float, as_folder: float, tmp_path: Path) -> None:
    project, pool = Project(round(megabytes * 1e6 * SCALE), mixed=kind == "mixed"), Pool(7)
    # Where restic cuts is drawn anew for each repository: of one text project eight stored 36 to 44 % a day.
    bundles = [Restic(tmp_path / f"bundles{number}") for number in range(1 if kind == "mixed" else 5)]
    folders = Restic(tmp_path / "folders")
    bundle, folder = tmp_path / "acme.tar.zst", tmp_path / "acme"
    stored, seen = [], set[bytes]()
    new, whole = Counter[str](), Counter[str]()
    for day in range(DAYS + 1):
        if day:
            project.change()
            bundle.unlink()
        project.write(bundle, pool)
        for part, digest, length in parts(bundle):
            if day:
                whole[part] += length
                new[part] += length if digest not in seen or not digest else 0
            seen.add(digest)
        with open_bundle(bundle) as reader:
            unpack(reader, folder)
        stored.append((statistics.mean(one.store(bundle) for one in bundles), folders.store(folder)))
    first, days = stored[0], stored[1:]
    shares = [sum(day[form] for day in days) / DAYS / first[form] * 100 for form in (0, 1)]
    print(
        f"\n{kind}: {len(project.documents)} documents, bundle {first[0] / 1e6:.1f} MB, folder {first[1] / 1e6:.1f} MB"
    )
    for day, (one, other) in enumerate(days, 1):
        print(f"day {day:2}: bundle {one / first[0]:6.1%}, folder {other / first[1]:6.2%}")
    print(f"a day: bundle {shares[0]:.1f} %, folder {shares[1]:.2f} %; new frames, in bytes a day:")
    for part, length in whole.most_common():
        print(f"  {part:20} {new[part] // DAYS:>12,} of {length // DAYS:>13,} ({new[part] / length:.1%})")
    if SCALE >= 1:
        assert shares[0] <= as_bundle
        assert shares[1] <= as_folder
