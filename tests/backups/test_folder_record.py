"""What is remembered of a folder: it saves reading, it knows of verifications, and it is never in the way."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest

from holdall.backups import listing
from holdall.backups.folder_record import NAME, note_verification, stamp_at
from holdall.backups.listing import BundleState, ListedBundle, summaries
from holdall.safe_files import open_regular
from tests.bundle.packing import File, pack

VERIFIED = 1_800_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two bundles."""
    folder = tmp_path_factory.mktemp("made")
    for name, data in (("a", b"some words\n"), ("b", b"more words\n")):
        pack(folder / f"{name}.tar.zst", [File(id="file-1", data=data)])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "folder"))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the bundles that are read from now on."""
    opened: list[str] = []
    before = listing.open_bundle

    def noted(path: Path) -> object:
        opened.append(path.name)
        return before(path)

    monkeypatch.setattr(listing, "open_bundle", noted)
    return opened


def by_name(found: list[ListedBundle]) -> dict[str, ListedBundle]:
    return {one.path.name: one for one in found}


def test_only_what_is_new_or_changed_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = reads(monkeypatch)
    first = summaries([folder])
    assert sorted(opened) == ["a.tar.zst", "b.tar.zst"]
    opened.clear()
    assert (summaries([folder]), opened) == (first, [])
    # Another file of that size and time: its seal states another sha256.
    one, other = folder / "a.tar.zst", folder / "b.tar.zst"
    before, seal = one.stat(), bytes.fromhex(by_name(first)["a.tar.zst"].seal or "")
    (folder / "new").write_bytes(one.read_bytes().replace(seal, seal[::-1]))
    os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "new").replace(one)
    assert by_name(summaries([folder]))["a.tar.zst"].seal == seal[::-1].hex()
    assert opened == ["a.tar.zst"]
    other.unlink()
    (folder / "c.tar.zst").write_bytes(one.read_bytes())
    summaries([folder])
    assert sorted(json.loads((folder / NAME).read_bytes())["bundles"]) == ["a.tar.zst", "c.tar.zst"]


def test_a_verification_is_known_for_as_long_as_the_file_is_the_same(folder: Path) -> None:
    one, other = folder / "a.tar.zst", folder / "b.tar.zst"
    note_verification(one, stamp_at(one), ok=True, now=VERIFIED + 0.5)
    note_verification(other, stamp_at(other), ok=False, now=VERIFIED)
    found = by_name(summaries([folder]))
    good, bad = found["a.tar.zst"], found["b.tar.zst"]
    assert (good.state, good.verified_at, good.verified_ok) == (BundleState.WHOLE, VERIFIED, True)
    assert (bad.state, bad.verified_at, bad.problem) == (BundleState.DAMAGED, VERIFIED, "verify found damage")
    before = stamp_at(one)
    os.utime(one, ns=(1, 1))
    assert by_name(summaries([folder]))["a.tar.zst"].verified_at is None
    # It changed while it was verified.
    note_verification(one, before, ok=True, now=VERIFIED)
    assert by_name(summaries([folder]))["a.tar.zst"].verified_at is None


def test_a_folder_with_one_bundle_gets_no_record(folder: Path) -> None:
    (folder / "b.tar.zst").unlink()
    one = folder / "a.tar.zst"
    note_verification(one, stamp_at(one), ok=True, now=VERIFIED)
    summaries([folder])
    assert [path.name for path in folder.iterdir()] == ["a.tar.zst"]


BROKEN: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: path.write_bytes(b"\x00{"),
    "a list": lambda path: path.write_bytes(b"[]"),
    "no version": lambda path: path.write_bytes(b'{"bundles": {}}'),
    "deep": lambda path: path.write_bytes(b'{"version": 1, "bundles": ' + b"[" * 100_000),
    "other types": lambda path: path.write_bytes(b'{"version": 1, "bundles": {"a.tar.zst": {"stamp": 1}}}'),
    "a time that is none": lambda path: path.write_bytes(
        b'{"version": 1, "bundles": {"a.tar.zst": {"stamp": "", "verified_at": 1e300}}}'
    ),
    "gone": lambda path: path.unlink(missing_ok=True),
    "too rich": lambda path: path.write_bytes(b'{"version": 1, "x": [' + b"[]," * 600_000 + b"[]]}"),
    "a dead link": lambda path: path.symlink_to("nowhere"),
}
KEPT: dict[str, Callable[[Path], object]] = {
    "a later version": lambda path: path.write_bytes(b'{"version": 2, "bundles": [1]}'),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("broken", [*BROKEN, *KEPT])
def test_a_record_of_no_use_is_as_none(folder: Path, broken: str) -> None:
    expected = summaries([folder])
    path = folder / NAME
    path.unlink()
    {**BROKEN, **KEPT}[broken](path)
    before = None if path.is_dir() or not path.exists() else path.read_bytes()
    assert summaries([folder]) == expected
    if broken in KEPT:
        assert path.is_dir() if before is None else path.read_bytes() == before
    else:
        assert json.loads(path.read_bytes())["version"] == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is refused to root")
def test_a_folder_that_is_read_only_is_listed(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        assert {one.state.value for one in summaries([folder])} == {"whole"}
        note_verification(folder / "a.tar.zst", stamp_at(folder / "a.tar.zst"), ok=True, now=VERIFIED)
        assert not (folder / NAME).exists()
    finally:
        folder.chmod(0o700)


def test_a_record_that_cannot_be_written_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*words: object, **more: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("holdall.safe_files.os.fdopen", refused)
    assert {one.state.value for one in summaries([folder])} == {"whole"}
    assert sorted(path.name for path in folder.iterdir()) == ["a.tar.zst", "b.tar.zst"]


def test_what_says_too_much_of_itself_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_FACTS", 100)
    monkeypatch.setattr(listing, "_TOO_MUCH", "too much")
    assert [(one.state.value, one.problem) for one in summaries([folder])] == [("unreadable", "too much")] * 2


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="a name there is Unicode")
def test_a_name_that_is_no_text_is_listed_and_not_remembered(folder: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.tar.zst"))
    shutil.copy(folder / "a.tar.zst", odd)
    assert [one.state.value for one in summaries([folder])] == ["whole"] * 3
    note_verification(odd, stamp_at(odd), ok=True, now=VERIFIED)
    assert sorted(json.loads((folder / NAME).read_bytes())["bundles"]) == ["a.tar.zst", "b.tar.zst"]


def test_a_thousand_bundles_cost_little_more_than_to_look_at_each(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1000):
        os.link(made / "a.tar.zst", tmp_path / f"{number:04}.tar.zst")
    assert len(summaries([tmp_path])) == 1000
    opened = reads(monkeypatch)

    def look() -> None:
        for path in tmp_path.iterdir():
            path.stat()

    def cost(work: Callable[[], object]) -> float:
        start = process_time()
        work()
        return process_time() - start

    floor = min(cost(look) for _ in range(5))
    listed = min(cost(lambda: summaries([tmp_path])) for _ in range(3))
    assert opened == []
    assert listed < 30 * floor, f"{listed:.3f} s of the processor to list them, {floor:.3f} s to look at each"


def test_the_first_reading_takes_kilobytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "large.tar.zst", [File(id="file-1", data=os.urandom(5_000_000))])
    read = 0

    def counting(path: Path) -> object:
        file = open_regular(path)

        class Counted:
            def read(self, size: int) -> bytes:
                nonlocal read
                read += size
                return file.read(size)

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        return Counted()

    monkeypatch.setattr("holdall.bundle.reader.open_regular", counting)
    found = summaries([tmp_path])
    assert (found[0].state, found[0].counts["bytes"] > 5_000_000) == (BundleState.WHOLE, True)
    assert 0 < read < 20_000
