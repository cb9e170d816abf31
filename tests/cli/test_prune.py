from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from holdall.backups import pruning
from holdall.backups.retention import RetentionPolicy
from holdall.bundle.layout import Source, source_identity
from holdall.bundle.writer import BundleWriter
from holdall.model import Fidelity
from holdall.progress import Silent
from tests.bundle.packing import CAPTURE, STARTED, File, add_all, rewritten
from tests.cli.terminal import Done, Terminal

DAY = 86400
SAME = [File(id="file-1")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def make(folder: Path) -> Callable[..., Path]:
    folder.mkdir()

    def make(name: str, day: int, files: Sequence[File] = SAME, source: Source | None = None) -> Path:
        capture = msgspec.structs.replace(CAPTURE, source=source or CAPTURE.source)
        with BundleWriter(folder / f"{name}.tar.zst", capture, started=STARTED + day * DAY, threads=1) as writer:
            add_all(writer, files)
            writer.finish(ended=STARTED + day * DAY + 5)
        return folder / f"{name}.tar.zst"

    return make


@pytest.fixture
def prune(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[..., Done]:
    holdall = Terminal(monkeypatch, {})
    return lambda *words: holdall("prune", str(folder), *words)


def there(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix(".tar.zst") for path in folder.glob("*.tar.zst"))


def reasons(done: Done) -> dict[str, list[str]]:
    return {
        Path(one["path"]).name.removesuffix(".tar.zst"): one["reasons"] for one in done.document["result"]["bundles"]
    }


def test_a_dry_run_says_what_delete_then_does(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done]
) -> None:
    for day in range(4):
        make(f"b{day}", day)
    done = prune("--keep-last", "2")
    assert done.code == 3
    lines = [line.split(maxsplit=2 if line.startswith("-") else 1) for line in done.out.splitlines()[:-1]]
    assert lines == [
        ["b3.tar.zst", "last snapshot"],
        ["b2.tar.zst", "last snapshot"],
        ["-", "b1.tar.zst", "not kept by the policy"],
        ["-", "b0.tar.zst", "not kept by the policy"],
    ]
    assert done.out.splitlines()[-1].startswith("2 bundles to remove (")
    assert f"Next: holdall prune {folder} --keep-last 2 --delete" in done.err
    assert there(folder) == ["b0", "b1", "b2", "b3"]
    done = prune("--keep-last", "2", "--delete", "--json")
    assert (done.code, done.document["result"]["removed"]) == (0, 2)
    assert [one["fate"] for one in done.document["result"]["bundles"]] == ["keep", "keep", "removed", "removed"]
    assert there(folder) == ["b2", "b3"]
    done = prune("--keep-last", "2", "--delete")
    assert (done.code, done.out.splitlines()[-1]) == (0, "Nothing to remove, 2 kept")


def test_without_a_policy_nothing_is_done(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    make("b", 0)
    done = prune("--delete", "--keep-last", "0")
    assert done.code == 2
    assert "no policy given" in done.err
    assert "--keep-daily 7" in done.err
    assert prune("--keep-within", "7w").code == prune("--keep-last", "-2").code == 2
    assert there(folder) == ["b"]


def test_each_source_has_its_own_bundles(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    other = Source(base_url=CAPTURE.source.base_url, project="proj_2")
    labelled = Source(base_url="http://elsewhere/v1", project="proj_3", label="acme")
    for day in range(2):
        make(f"one{day}", day)
        make(f"two{day}", day + 10, source=other)
        # The same label is the same source, on whatever host.
        make(f"three{day}", day + 20, source=msgspec.structs.replace(labelled, base_url=f"http://host{day}/v1"))
    assert prune("--keep-last", "1", "--delete").code == 0
    assert there(folder) == ["one1", "three1", "two1"]


def test_one_source_can_be_pruned_alone(folder: Path, make: Callable[..., Path]) -> None:
    other = Source(base_url=CAPTURE.source.base_url, project="proj_2")
    for day in range(2):
        make(f"one{day}", day)
        make(f"two{day}", day, source=other)
    options = pruning.PruneOptions(
        folder=folder, policy=RetentionPolicy(last=1), now=STARTED + 9 * DAY, delete=True, source=source_identity(other)
    )
    assert [one.fate for one in pruning.prune(options, Silent())] == [pruning.Fate.KEEP, pruning.Fate.REMOVED]
    assert there(folder) == ["one0", "one1", "two1"]


def test_the_newest_whole_bundle_stays_and_a_damaged_one_counts_for_nothing(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done]
) -> None:
    for day in range(3):
        path = make(f"b{day}", day)
    # In the middle, where only a proof of all of it looks.
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 3
    assert there(folder) == ["b1", "b2"]
    assert reasons(done)["b2"][0].startswith("damaged: ")
    assert reasons(done)["b1"] == ["last snapshot"]


def test_a_damaged_bundle_is_not_removed(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    paths = [make(f"b{day}", day) for day in range(3)]
    data = bytearray(paths[0].read_bytes())
    data[len(data) // 3] ^= 1
    paths[0].write_bytes(data)
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 3
    assert there(folder) == ["b0", "b2"]


def test_the_last_holder_of_a_better_fidelity_stays(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done]
) -> None:
    gone = File(id="file-9", filename="gone.txt")
    good, poor = File(id="file-1", filename="report.pdf"), File(id="file-1", filename="report.pdf", data=None)
    make("b0", 0, [good, gone])
    make("b1", 1, [good, gone])
    make("b2", 2, [poor])
    make("b3", 3, [poor])
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 0
    # The newest of those that have it; what the project no longer has keeps none.
    assert there(folder) == ["b1", "b3"]
    assert reasons(done)["b1"] == ["best copy of report.pdf as original"]


def test_bytes_are_better_than_a_text(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    make("b0", 0, [File(id="file-1", fidelity=Fidelity.CONTAINER), File(id="file-2")])
    make("b1", 1, [File(id="file-1", data=None), File(id="file-2", data=None)])
    done = prune("--keep-last", "1", "--json")
    assert reasons(done)["b0"] == ["best copy of notes.txt as container and 1 more"]


def test_what_is_no_bundle_of_ours_stays(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    make("b0", 0)
    make("b1", 1)
    (folder / "foreign.tar.zst").write_bytes(b"somebody's")
    (folder / "cut.tar.zst").write_bytes((folder / "b0.tar.zst").read_bytes()[:-40])
    (folder / "notes.txt").write_text("mine")
    (folder / "link.tar.zst").symlink_to(folder / "b0.tar.zst")
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 3
    assert there(folder) == ["b1", "cut", "foreign", "link"]
    assert (folder / "notes.txt").exists()
    assert reasons(done)["foreign"] == ["not a holdall bundle"]
    assert reasons(done)["link"] == ["a link, not a file"]


def test_a_bundle_of_a_newer_format_stays_and_counts_for_nothing(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done]
) -> None:
    for day in range(3):
        newest = make(f"b{day}", day)
    newest.write_bytes(rewritten(newest, b'"format": "1.0"', b'"format": "2.0"'))
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 0, "it isn't damaged"
    assert there(folder) == ["b1", "b2"]
    assert reasons(done)["b1"] == ["last snapshot"]
    assert "format is 2.0" in reasons(done)["b2"][0]


def test_what_is_being_written_stays(folder: Path, make: Callable[..., Path], prune: Callable[..., Done]) -> None:
    make("b0", 0)
    make("b1", 1)
    (folder / "b0.tar.zst.partial").mkdir()
    (folder / "new.tar.zst.partial").mkdir()
    done = prune("--keep-last", "1", "--delete", "--json")
    assert reasons(done)["b0"] == ["being written: b0.tar.zst.partial"]
    assert there(folder) == ["b0", "b1"]
    assert (folder / "new.tar.zst.partial").exists()


def test_a_refusal_of_the_system_stops_nothing_else(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        make(f"b{day}", day)
    unlink = os.unlink

    def refuse(path: Path) -> None:
        if Path(path).name == "b1.tar.zst":
            raise PermissionError(1, "Operation not permitted")
        unlink(path)

    monkeypatch.setattr(pruning.os, "unlink", refuse)
    done = prune("--keep-last", "1", "--delete", "--json")
    assert done.code == 3
    assert reasons(done)["b1"] == ["kept, locked: Operation not permitted"]
    assert there(folder) == ["b1", "b2"]


def test_a_bundle_that_was_replaced_meanwhile_stays(
    folder: Path, make: Callable[..., Path], prune: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(2):
        make(f"b{day}", day)
    other = make("other", 5, source=Source(base_url="http://other/v1", project="proj_9"))
    decide = pruning._decide

    def decide_and_replace(group: list[pruning.JudgedBundle], *more: object) -> None:
        decide(group, *more)  # type: ignore[arg-type]
        if other.exists():
            os.replace(other, folder / "b0.tar.zst")

    monkeypatch.setattr(pruning, "_decide", decide_and_replace)
    done = prune("--keep-last", "1", "--delete", "--json")
    assert reasons(done)["b0"] == ["changed meanwhile"]
    assert there(folder) == ["b0", "b1"]
