"""Nothing that was done to a bundle's bytes stays unnoticed, and nothing wrong is ever taken out of one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import msgspec
import pytest

from holdall.bundle import layout
from holdall.bundle.bag import END_OF_TAR, header, manifest_line, padding
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import FRAME_MAGIC, FrameTable, compress, encode_seal, encode_table
from holdall.bundle.verification import verify
from holdall.errors import CannotWrite, NewerFormat, NotABundle
from holdall.extraction import Extracted, salvage
from tests.bundle.packing import File, pack, shrink
from tests.codes import CODES
from tests.hostile.forge import forge as lie
from tests.sweep import sweep

NOISE = hashlib.shake_128(b"noise").digest(2000)
FILES = [
    File(id="file-a", filename="a.txt", data=b"a" * 50),
    File(id="file-b", filename="b.txt", data=NOISE),
    File(id="file-c", filename="c.txt", data=None),
]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of a few kilobytes with more than ten frames."""
    shrink(monkeypatch)
    path = tmp_path / "small.tar.zst"
    pack(path, FILES)
    return path


def entries(path: Path) -> dict[str, bytes]:
    with open_bundle(path) as bundle:
        return {entry.path: bundle.read(entry) for entry in bundle.entries()}


# -- every bit, every length ---------------------------------------------------------------------------


def flips(raw: bytes, start: int, step: int) -> Iterator[tuple[str, bytes]]:
    for bit in range(start, len(raw) * 8, step):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(damaged)


def cuts(raw: bytes, start: int, step: int) -> Iterator[tuple[str, bytes]]:
    for size in range(start, len(raw), step):
        yield f"{size} bytes", raw[:size]


def additions(raw: bytes) -> Iterator[tuple[str, bytes]]:
    for more in (b"\0", b"\n", raw[-1:], raw, encode_seal(bytes(32))):
        yield f"{len(more)} more", raw + more


def prove_each(path: Path, damaged: Iterator[tuple[str, bytes]], *, saving: bool) -> None:
    whole = entries(path)
    target, folder = path.with_name("damaged.tar.zst"), path.with_name("saved")
    for name, raw in damaged:
        target.write_bytes(raw)
        try:
            verdict = verify(target)
        except NotABundle:
            assert not raw.startswith(FRAME_MAGIC), name
            continue
        assert verdict.findings, name
        assert 10 <= verdict.exit_code <= 19
        assert {finding.code for finding in verdict.findings} <= CODES
        if saving:
            check_salvage(target, folder, whole, {finding.entry for finding in verdict.findings}, name)


def check_salvage(damaged: Path, folder: Path, whole: dict[str, bytes], named: set[str | None], name: str) -> None:
    """What verify didn't call damaged is saved, and everything that is saved is right."""
    saved = {}
    for found in salvage(damaged, (), folder, force=True):
        if isinstance(found, Extracted):
            saved[found.entry] = Path(found.path).read_bytes()
            assert saved[found.entry] == whole[found.entry], name
    assert len(saved) >= len(whole) - 1, name
    assert set(whole) - set(saved) <= named, name


@sweep("part", range(8))
def test_bits_that_flip_are_found_and_what_is_whole_is_saved(small: Path, part: int) -> None:
    raw = small.read_bytes()
    prove_each(small, flips(raw, 307 * part, 8 * 307), saving=True)
    prove_each(small, flips(raw, 3 + 101 * part, 8 * 101), saving=False)
    # The parts that no checksum of zstd covers, bit by bit: the first frame's header, seal, seek table.
    prove_each(small, flips(raw[:12], part, 8), saving=False)
    tail = len(encode_seal(bytes(32))) + 200
    for name, damaged in flips(raw[-tail:], 5 * part, 8 * 5):
        prove_each(small, iter([(name, raw[:-tail] + damaged)]), saving=False)


@sweep("part", range(8))
def test_every_length_but_the_right_one_is_found(small: Path, part: int) -> None:
    raw = small.read_bytes()
    prove_each(small, cuts(raw, 5 * part, 8 * 5), saving=False)


def test_what_is_added_is_found(small: Path) -> None:
    prove_each(small, additions(small.read_bytes()), saving=False)


@pytest.mark.slow
def test_every_single_bit_and_every_length(small: Path) -> None:
    raw = small.read_bytes()
    prove_each(small, flips(raw, 0, 1), saving=True)
    prove_each(small, cuts(raw, 0, 1), saving=False)


def test_what_a_cut_bundle_still_holds_is_saved(small: Path) -> None:
    raw, whole = small.read_bytes(), entries(small)
    with open_bundle(small) as bundle:
        frames = bundle.frames.frames
        ends = {entry.path: frames[frames.find(entry.offset + max(entry.size - 1, 0))] for entry in bundle.entries()}
    target = small.with_name("cut.tar.zst")
    for size in range(frames[0][1], len(raw), 97):
        target.write_bytes(raw[:size])
        expected = {path for path, (offset, length, _, _) in ends.items() if offset + length <= size}
        folder = small.with_name(f"saved-{size}")
        saved = {}
        if not expected:
            continue
        for found in salvage(target, (), folder):
            if isinstance(found, Extracted):
                saved[found.entry] = Path(found.path).read_bytes()
        assert set(saved) == expected, size
        assert all(whole[path] == data for path, data in saved.items())


@pytest.mark.parametrize("damage", ["flip", "zero", "swap"])
def test_the_damaged_entry_is_named(small: Path, damage: str) -> None:
    raw = bytearray(small.read_bytes())
    with open_bundle(small) as bundle:
        found = {entry.path: bundle.frames.frames.find(entry.offset) for entry in bundle.entries() if entry.size}
        frames = bundle.frames.frames
    for path, number in found.items():
        offset, length, _, _ = frames[number]
        damaged = bytearray(raw)
        middle = offset + length // 2
        if damage == "flip":
            damaged[middle] ^= 0x10
        elif damage == "zero":
            damaged[offset : offset + length] = bytes(length)
        else:
            other, other_length, _, _ = frames[number - 1]
            damaged[other : offset + length] = raw[offset : offset + length] + raw[other : other + other_length]
        target = small.with_name("damaged.tar.zst")
        target.write_bytes(bytes(damaged))
        assert path in {finding.entry for finding in verify(target).findings}, path


# -- bundles whose checksums are right and which are wrong all the same ---------------------------------


class Forge:
    """Writes a container with right frames, seal and table around any members and last files."""

    def __init__(self, small: Path) -> None:
        with open_bundle(small) as bundle:
            self.bag = bundle.bag
            self.info: dict[str, Any] = json.loads(bundle.raw_info)
            self.index: list[dict[str, Any]] = [msgspec.to_builtins(entry) for entry in bundle.entries()]
            size = bundle.frames.frames.size
            data = bundle.frames.read(0, size)
        self.members: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                self.members[member.name.partition("/")[2]] = file.read()

    def write(self, path: Path, *, extra: bytes = b"", change: Callable[[Forge], None] | None = None) -> Path:
        tar, offsets = b"", {}
        front = [name for name in self.members if name in layout.OPENING or name.startswith("data/")]
        for name in front:
            tar += header(f"{self.bag}/{name}", len(self.members[name]), 0)
            offsets[name] = len(tar)
            tar += self.members[name] + padding(len(self.members[name]))
        tar += extra
        for line in self.index:
            if line["path"] in offsets:
                data = self.members[line["path"]]
                line |= {"offset": offsets[line["path"]], "size": len(data), "sha256": _sha256(data)}
        if change:
            change(self)
        self.index.sort(key=lambda line: line["path"].encode())
        lines = [{key: value for key, value in line.items() if value is not None} for line in self.index]
        payload = sum(line["size"] for line in lines)
        self.info["counts"] |= {"entries": len(lines), "bytes": payload}
        last = {
            layout.BAG_INFO: f"Payload-Oxum: {payload}.{len(lines)}\n".encode(),
            layout.MANIFEST: b"".join(manifest_line(line["sha256"], line["path"]) for line in lines),
            layout.INDEX: b"".join(json.dumps(line).encode() + b"\n" for line in lines),
        }
        for name, data in last.items():
            tar += header(f"{self.bag}/{name}", len(data), 0)
            self.info[name.split(".")[0].split("-")[0]] = {
                "offset": len(tar),
                "size": len(data),
                "sha256": _sha256(data),
            }
            tar += data + padding(len(data))
        self.info.pop("bag", None)
        raw = json.dumps(self.info).encode()
        tags = {name: self.members[name] for name in layout.OPENING} | last | {layout.INFO: raw}
        manifest = b"".join(manifest_line(_sha256(data), name) for name, data in sorted(tags.items()))
        end = b"".join(
            header(f"{self.bag}/{name}", len(data), 0) + data + padding(len(data))
            for name, data in ((layout.INFO, raw), (layout.TAG_MANIFEST, manifest))
        )
        parts = [tar, end + END_OF_TAR]
        frames = [compress(part) for part in parts]
        body = b"".join(frames)
        table = FrameTable((len(frame), len(part)) for frame, part in zip(frames, parts, strict=True))
        path.write_bytes(body + encode_seal(hashlib.sha256(body).digest()) + encode_table(table))
        return path

    def entry(self, path: str) -> dict[str, Any]:
        return next(line for line in self.index if line["path"] == path)

    def edit_lines(self, path: str, edit: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        lines = [edit(json.loads(line)) for line in self.members[path].splitlines()]
        self.members[path] = b"".join(json.dumps(line).encode() + b"\n" for line in lines if line is not None)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


A, B = "data/files/file-a/a.txt", "data/files/file-b/b.txt"
ASSISTANT, STORE = "data/assistants/asst_1.json", "data/vector_stores/vs_1.json"
MEMBERS = "data/vector_stores/vs_1.files.jsonl"


@pytest.fixture
def forge(small: Path) -> Forge:
    return Forge(small)


def codes(path: Path) -> set[tuple[str, str | None]]:
    return {(finding.code, finding.entry) for finding in verify(path).findings}


def test_what_the_forge_writes_unchanged_is_whole(forge: Forge, tmp_path: Path) -> None:
    path = forge.write(tmp_path / "forged.tar.zst")
    assert verify(path).findings == []
    assert verify(path, quick=True).findings == []


def drop_entry(forge: Forge) -> None:
    forge.index.remove(forge.entry(A))


def invent_entry(forge: Forge) -> None:
    forge.index.append(forge.entry(A) | {"path": "data/files/file-z/a.txt", "id": "file-z"})


def other_hash(forge: Forge) -> None:
    forge.entry(A)["sha256"] = "0" * 64


def other_place(forge: Forge) -> None:
    forge.entry(A)["offset"] += 1


def past_the_end(forge: Forge) -> None:
    forge.index.append(forge.entry(A) | {"path": "data/zzz", "offset": 1 << 40})


def unsafe_name(forge: Forge) -> None:
    forge.index.append(forge.entry(A) | {"path": "data/../../etc/passwd"})


def other_count(forge: Forge) -> None:
    forge.info["counts"]["memberships"] += 1


def other_fidelity_count(forge: Forge) -> None:
    forge.info["rungs"]["original"]["files"] += 1


def other_digest(forge: Forge) -> None:
    forge.info["digests"]["definitions"] = "h1:" + "0" * 64


def other_fidelity(forge: Forge) -> None:
    forge.entry(A)["rung"] = "supplied"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop_entry, ("unlisted", A)),
        (invent_entry, ("missing", "data/files/file-z/a.txt")),
        (other_hash, ("damaged", A)),
        (other_place, ("index", A)),
        (past_the_end, ("missing", "data/zzz")),
        (unsafe_name, ("name", "data/../../etc/passwd")),
        (other_count, ("count", layout.INFO)),
        (other_fidelity_count, ("count", layout.INFO)),
        (other_digest, ("digest", layout.INFO)),
        (other_fidelity, ("reference", A)),
    ],
)
def test_an_index_or_an_info_that_lies(
    forge: Forge, tmp_path: Path, change: Callable[[Forge], None], expected: tuple[str, str]
) -> None:
    assert expected in codes(forge.write(tmp_path / "forged.tar.zst", change=change))


@pytest.mark.parametrize(
    ("path", "edit", "expected"),
    [
        (layout.LEDGER, lambda line: None if line["id"] == "file-a" else line, {MEMBERS, layout.FILES, A}),
        (
            layout.LEDGER,
            lambda line: line | {"path": "data/files/none/x"} if line["path"] else line,
            {"data/files/none/x"},
        ),
        (layout.LEDGER, lambda line: line | {"size": 1} if line["path"] else line, {A, B}),
        (layout.LEDGER, lambda line: line | {"rung": "unavailable"}, {layout.LEDGER}),
        (layout.LEDGER, lambda line: line | {"id": "file-a"}, {layout.LEDGER}),
        (MEMBERS, lambda line: line | {"id": line["id"] + "-other"}, {MEMBERS}),
        (layout.FILES, lambda line: line | {"id": line["id"] + "-other"}, {layout.FILES}),
    ],
)
def test_references_that_lead_nowhere(
    forge: Forge, tmp_path: Path, path: str, edit: Callable[[dict[str, Any]], dict[str, Any] | None], expected: set[str]
) -> None:
    forge.edit_lines(path, edit)
    found = codes(forge.write(tmp_path / "forged.tar.zst"))
    assert expected <= {entry for code, entry in found if code == "reference"}


def test_a_store_without_memberships_and_memberships_without_a_store(forge: Forge, tmp_path: Path) -> None:
    members = forge.members.pop(MEMBERS)
    line = forge.entry(MEMBERS)
    forge.index.remove(line)
    assert ("reference", None) in codes(forge.write(tmp_path / "1.tar.zst"))
    forge.members[MEMBERS] = members
    forge.index.append(line)
    forge.index.remove(forge.entry(STORE))
    forge.members.pop(STORE)
    assert ("reference", MEMBERS) in codes(forge.write(tmp_path / "2.tar.zst"))


def member(name: str, **fields: Any) -> bytes:
    found = tarfile.TarInfo(name)
    found.mode = 0o600
    for field, value in fields.items():
        setattr(found, field, value)
    return found.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (member("small/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "tar"),
        (member("small/hard", type=tarfile.LNKTYPE, linkname="small/bagit.txt"), "tar"),
        (member("small/device", type=tarfile.CHRTYPE), "tar"),
        (member("small/../../up"), "tar"),
        (member("small/data/folder", type=tarfile.DIRTYPE), "tar"),
        (member("small/data/sparse", type=tarfile.GNUTYPE_SPARSE), "tar"),
        (header("other/data/file", 0, 0), "name"),
        (header("small/surprise.txt", 0, 0), "unlisted"),
        (header("small/data/surprise.txt", 0, 0), "unlisted"),
        (header("small/data/files/FILE-A/A.TXT", 0, 0), "name"),
        (header("small/data/files/file-a/a.txt", 0, 0), "name"),
        (header("small/data/huge", 1 << 50, 0), "tar"),
        (header("small/data/unfilled", 5, 0) + b"12345" + b"x" * 507, "tar"),
        (bytes(1024), "tar"),
    ],
)
def test_members_that_do_not_belong_there(forge: Forge, tmp_path: Path, extra: bytes, code: str) -> None:
    path = forge.write(tmp_path / "forged.tar.zst", extra=extra)
    assert code in {found for found, _ in codes(path)}
    folder = tmp_path / "out"
    saved = [found for found in salvage(path, (), folder) if isinstance(found, Extracted)]
    assert all(Path(found.path).resolve().is_relative_to(folder.resolve()) for found in saved)


# -- what isn't damage ----------------------------------------------------------------------------------


def test_declared_losses_are_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "lossy.tar.zst"
    resources = {
        "file_search": {"vector_store_ids": ["vs_gone"]},
        "code_interpreter": {"file_ids": ["file-a", "file-never"]},
    }
    pack(path, FILES, assistants={"asst_1": {"tool_resources": resources}})
    verdict = verify(path)
    assert (verdict.findings, verdict.exit_code) == ([], 0)
    assert {(loss.code, loss.id) for loss in verdict.losses} == {
        ("unavailable", "file-c"),
        ("no-store", "vs_gone"),
        ("no-file", "file-never"),
    }


def test_the_sha256_of_the_whole_file(small: Path) -> None:
    sha256 = hashlib.sha256(small.read_bytes()).hexdigest()
    for quick in (False, True):
        assert verify(small, sha256=sha256.upper(), quick=quick).whole
        other = verify(small, sha256="0" * 64, quick=quick)
        assert (other.whole, other.is_named, other.exit_code) == (True, False, 3)
    assert verify(small).sha256 == sha256


def codes_of(verdict: Any) -> set[str]:
    return {finding.code for finding in verdict.findings}


def test_quick_reads_no_content_but_finds_what_is_not_complete(small: Path) -> None:
    raw = small.read_bytes()
    target = small.with_name("damaged.tar.zst")
    with open_bundle(small) as bundle:
        entry = bundle.content("file-b")
        assert entry is not None
        offset, length, _, _ = bundle.frames.frames[bundle.frames.frames.find(entry.offset)]
    target.write_bytes(raw[: offset + length - 10] + b"?" + raw[offset + length - 9 :])
    assert verify(target, quick=True).whole
    assert not verify(target).whole
    for cut in (1, 100, 1000):
        target.write_bytes(raw[:-cut])
        assert not verify(target, quick=True).whole


def test_what_can_not_be_verified_at_all(tmp_path: Path, forge: Forge) -> None:
    with pytest.raises(CannotWrite):
        verify(tmp_path / "none")
    (tmp_path / "text").write_bytes(b"just a text")
    with pytest.raises(NotABundle):
        verify(tmp_path / "text")
    forge.info["format"] = "2.0"
    with pytest.raises(NewerFormat):
        verify(forge.write(tmp_path / "newer.tar.zst"))


def test_of_very_many_findings_and_losses_the_first_are_kept_and_all_are_counted() -> None:
    def ledger(lines: list[Any]) -> list[Any]:
        return [*({**lines[-1], "id": f"a{n:05}"} for n in range(1500)), *lines]

    damaged = lie(ledger=ledger, info=lambda info: {**info, "counts": {}, "rungs": {}})
    with NamedTemporaryFile(suffix=".tar.zst") as file:
        file.write(damaged)
        file.flush()
        found = verify(file.name)
    assert len(found.losses) == 1000
    assert found.losses.total >= 1501
    assert found.findings.total == len(found.findings) > 0
    with NamedTemporaryFile(suffix=".tar.zst") as file:
        file.write(lie(memberships=lambda lines: [*lines, *({**lines[0], "id": f"b{n:05}"} for n in range(1500))]))
        file.flush()
        found = verify(file.name)
    assert len(found.findings) == 1000
    assert found.findings.total >= 1500
