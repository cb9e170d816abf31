"""A bundle as a folder: unpacked, edited, packed, imported; hostile names, git, interrupted runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from random import Random

import pytest

from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verified
from holdall.errors import HoldallError
from holdall.folder.pack_folder import pack, packed
from holdall.folder.write_folder import unpack
from holdall.sandbox.server import Running
from tests.bundle.packing import File
from tests.bundle.packing import pack as make
from tests.cli.terminal import Terminal
from tests.project import Hand

SAMPLE = Path(__file__).parents[1] / "archives" / "sample.tar.zst"
CHECKED = ["data/assistants/asst_1.md", "data/files/f1/notes.txt"]


def unpacked(bundle: Path, folder: Path, *, force: bool = False) -> dict[str, bytes]:
    """The folder's files after an unpack."""
    with open_bundle(bundle) as reader:
        unpack(reader, folder, force=force)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """An assistant with instructions in two lines, a store, three files."""
    contents = [File(id="f1"), File(id="f2", filename="b.bin", data=bytes(range(256))), File(id="f3", data=None)]
    one = {"name": "Helper", "model": "gpt-4o", "instructions": "Be kind.\nBe «short».", "temperature": 1.0}
    make(tmp_path / "b.tar.zst", contents, assistants={"asst_1": one})
    return tmp_path / "b.tar.zst"


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    unpacked(bundle, tmp_path / "f")
    return tmp_path / "f"


def digests(path: Path) -> object:
    with open_bundle(path) as reader:
        return reader.info.digests


def raw(path: Path) -> dict[str, bytes]:
    """Every entry of a bundle."""
    with open_bundle(path) as reader:
        return {entry.path: reader.read(entry) for entry in reader.entries()}


def test_a_packed_folder_has_the_bytes_and_digests_of_its_bundle(tmp_path: Path) -> None:
    unpacked(SAMPLE, tmp_path / "f")
    found = [pack(tmp_path / "f", tmp_path / f"{n}.tar.zst") for n in (1, 2)]
    assert not found[0].flaws
    assert not found[0].edits.total
    assert digests(tmp_path / "1.tar.zst") == digests(SAMPLE)
    before, after = raw(SAMPLE), raw(tmp_path / "1.tar.zst")
    del before["data/ledger.jsonl"], after["data/ledger.jsonl"]  # written by an older version, which said less
    assert after == before
    assert (tmp_path / "1.tar.zst").read_bytes() == (tmp_path / "2.tar.zst").read_bytes()


def test_the_folder_is_a_bag_with_indented_records_and_instructions_of_their_own(folder: Path) -> None:
    record = json.loads((folder / "data/assistants/asst_1.json").read_bytes())
    assert record["instructions"] == {"$file": "asst_1.md"}
    assert '\n  "temperature": 1.0\n' in (folder / "data/assistants/asst_1.json").read_text()
    assert (folder / "data/assistants/asst_1.md").read_text("utf-8") == "Be kind.\nBe «short».\n"
    assert (folder / ".gitattributes").read_text().endswith("* -text\n")
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        subprocess.run(["sha256sum", "-c", "--quiet", name], cwd=folder, check=True)


def test_unpacking_again_writes_what_changed_removes_what_is_gone_and_keeps_the_rest(
    folder: Path, tmp_path: Path
) -> None:
    assert not unpacked_anew(tmp_path / "b.tar.zst", folder)
    own = {".git/config": b"[core]\n", "notes of mine.txt": b"mine", "data/assistants/.DS_Store": b"x"}
    for name, data in own.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / ".gitattributes").write_bytes(b"# mine\n")
    kept = os.stat(folder / "data/files/f1/notes.txt").st_ino
    one = {"name": "Helper", "model": "gpt-4o", "instructions": "Be brief."}
    make(tmp_path / "c.tar.zst", [File(id="f1"), File(id="f4")], assistants={"asst_1": one})
    after = unpacked(tmp_path / "c.tar.zst", folder)
    assert own.items() <= after.items()
    assert after[".gitattributes"] == b"# mine\n"
    assert after["data/assistants/asst_1.md"] == b"Be brief.\n"
    assert "data/files/f2/b.bin" not in after
    assert not (folder / "data/files/f2").exists()
    assert os.stat(folder / "data/files/f1/notes.txt").st_ino == kept
    assert digests_of_folder(folder) == digests(tmp_path / "c.tar.zst")


def unpacked_anew(bundle: Path, folder: Path) -> int:
    """How many files a second unpack writes."""
    with open_bundle(bundle) as reader:
        return unpack(reader, folder).written


def digests_of_folder(folder: Path) -> object:
    with packed(folder) as found:
        assert found.finished, found.flaws
        return found.finished.info.digests


def test_a_folder_of_something_else_and_edits_by_hand_are_not_overwritten(bundle: Path, folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("ten years")
    with pytest.raises(HoldallError, match=r"not empty.*thesis\.txt"):
        unpacked(bundle, other)
    (folder / CHECKED[0]).write_text("Be rude.\n")
    with pytest.raises(HoldallError, match=r"edited by hand since it was unpacked: data/assistants/asst_1\.md"):
        unpacked(bundle, folder)
    assert (folder / CHECKED[0]).read_text() == "Be rude.\n"
    assert unpacked(bundle, folder, force=True)[CHECKED[0]].startswith(b"Be kind.")


def test_an_interrupted_unpack_is_told_and_repaired(bundle: Path, folder: Path, tmp_path: Path) -> None:
    whole = files(folder)
    make(tmp_path / "c.tar.zst", [File(id="f9")], assistants={"asst_2": {"instructions": "x", "model": "m"}})

    class Stopped(Exception):
        pass

    with open_bundle(tmp_path / "c.tar.zst") as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdall.folder.write_folder._Unpack._write_tags", lambda self: (_ for _ in ()).throw(Stopped()))
        with pytest.raises(Stopped):
            unpack(reader, folder)
    assert "data/files/f9/notes.txt" in files(folder)
    with pytest.raises(HoldallError, match="interrupted"):
        pack(folder, tmp_path / "d.tar.zst")
    assert unpacked(bundle, folder) == whole


def test_an_edited_letter_is_the_only_difference(bundle: Path, folder: Path, tmp_path: Path) -> None:
    (folder / CHECKED[0]).write_bytes("Be kind.\r\nBe «short»!\r\n".encode())  # as an editor on Windows saves it
    found = pack(folder, tmp_path / "c.tar.zst")
    assert list(found.edits.edited) == [CHECKED[0]]
    before, after = raw(bundle), raw(tmp_path / "c.tar.zst")
    assert {path for path in before if before[path] != after[path]} == {"data/assistants/asst_1.json"}
    one = "data/assistants/asst_1.json"
    assert after[one] == before[one].replace(b"short\\u00bb.", b"short\\u00bb!")
    # Then the edits are no longer edits.
    assert unpacked_anew(tmp_path / "c.tar.zst", tmp_path / "g") == len(after) + 1
    assert digests_of_folder(tmp_path / "g") == digests(tmp_path / "c.tar.zst")


@pytest.mark.parametrize(
    ("path", "data", "code", "said"),
    [
        (CHECKED[1], b"other words\n", "damaged", "don't match manifest-sha256.txt"),
        (CHECKED[1], None, "missing", "the file is not there"),
        ("data/assistants/asst_1.json", b'{\n  "id": "asst_1",\n}\n', "record", "in line 3"),
        (CHECKED[0], None, "record", "asst_1.md is not there"),
        (CHECKED[0], b"\xff", "record", "can't decode"),
        ("manifest-sha256.txt", b"", "damaged", "tagmanifest"),
        ("data/vector_stores/vs_1.json", None, "reference", "vector store is not there"),
    ],
)
def test_what_an_import_could_not_take_is_found(
    folder: Path, tmp_path: Path, path: str, data: bytes | None, code: str, said: str
) -> None:
    if data is None:
        (folder / path).unlink()
    else:
        (folder / path).write_bytes(data)
    found = pack(folder, tmp_path / "c.tar.zst")
    assert (code, True) in [(flaw.code, said in flaw.message) for flaw in found.flaws], found.flaws
    assert found.finished is None
    assert not (tmp_path / "c.tar.zst").exists()


def test_nothing_outside_the_folder_is_read_or_written(bundle: Path, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the key")
    (folder / CHECKED[0]).unlink()
    (folder / CHECKED[0]).symlink_to(secret)
    found = pack(folder, tmp_path / "c.tar.zst")
    assert [flaw.code for flaw in found.flaws] == ["record"]
    record = folder / "data/assistants/asst_1.json"
    (folder / CHECKED[0]).unlink()
    record.write_bytes(record.read_bytes().replace(b'"asst_1.md"', b'"../../../secret.txt"'))
    assert [flaw.code for flaw in pack(folder, tmp_path / "c.tar.zst").flaws] == ["record"]
    # A manifest that somebody else wrote names what is to be removed.
    with (folder / "manifest-sha256.txt").open("a") as manifest:
        manifest.write(f"{'0' * 64}  data/../../secret.txt\n{'0' * 64}  ../secret.txt\n")
    shutil.rmtree(folder / "data" / "files")
    (tmp_path / "elsewhere" / "f1").mkdir(parents=True)
    (folder / "data" / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HoldallError):
        unpacked(bundle, folder, force=True)
    assert secret.read_text() == "the key"
    assert not list((tmp_path / "elsewhere" / "f1").iterdir())


def test_a_folder_with_files_of_the_same_names_is_not_taken_for_a_bundle(bundle: Path, tmp_path: Path) -> None:
    for name in ("records.jsonl", "README.txt"):
        other = tmp_path / name[:3]
        other.mkdir()
        (other / name).write_text("mine")
        with pytest.raises(HoldallError, match="not empty"):
            unpacked(bundle, other)
        assert (other / name).read_text() == "mine"


def test_hostile_ids_and_names_become_safe_paths_and_come_back(tmp_path: Path) -> None:
    ids = ["../../etc/passwd", "CON", "con", ".git", "A" * 400, "a/b", "ASST", "asst", "é", "e\u0301", "x.md", "x"]
    names = ["../up", "NUL.txt", ".git", "n" * 300 + ".pdf", "a:b*c?", "trailing. ", "\u202ecod.exe", "-rf"]
    contents = [File(id=f"../{n}/..", filename=name, data=name.encode()) for n, name in enumerate(names)]
    assistants = {id: {"instructions": f"I am {id}.\r\n", "name": id[:20]} for id in ids}
    make(tmp_path / "b.tar.zst", contents, assistants=assistants, stores={"..\\x": {}, "vs:1": {}})
    found = unpacked(tmp_path / "b.tar.zst", tmp_path / "f")
    assert len({path.casefold() for path in found}) == len(found)
    assert sum(path.endswith(".md") for path in found if path.startswith("data/assistants/")) == len(ids)
    assert not {".git", "..", "con.json"} & {part.casefold() for path in found for part in path.split("/")}
    found_again = pack(tmp_path / "f", tmp_path / "c.tar.zst")
    assert (found_again.edits.total, list(found_again.flaws)) == (0, [])
    assert digests(tmp_path / "c.tar.zst") == digests(tmp_path / "b.tar.zst")


def test_line_ends_that_git_converted_are_no_damage_and_no_edit(folder: Path, tmp_path: Path) -> None:
    whole = digests_of_folder(folder)
    for path, data in files(folder).items():
        if b"\0" not in data:  # what git takes for text
            (folder / path).write_bytes(data.replace(b"\n", b"\r\n"))
    found = pack(folder, tmp_path / "c.tar.zst")
    assert (found.edits.total, list(found.flaws)) == (0, [])
    assert found.edits.converted > 4
    assert digests(tmp_path / "c.tar.zst") == whole


def test_a_git_checkout_that_converts_line_ends_is_recognised(folder: Path, tmp_path: Path) -> None:
    whole = digests_of_folder(folder)
    (folder / ".gitattributes").unlink()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=true"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["clone", "-q", ".", "../win"]):
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)
    assert b"\r\n" in (tmp_path / "win" / CHECKED[0]).read_bytes()
    assert digests_of_folder(tmp_path / "win") == whole


def test_an_export_comes_back_byte_for_byte(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": "sk-fold-0002", "OPENAI_SRC_BASE_URL": box.url})
    with Hand(box.url, "sk-fold-0002") as hand:
        ids = [hand.file(f"{n}.md", f"words of {n}".encode()) for n in range(5)]
        stores = [hand.store(name, ids[at : at + 3]) for at, name in enumerate(("one", "two"))]
        for name in ("A", "B"):
            hand.assistant(name, stores=stores[:1], files=ids[4:], instructions=f"I am {name}.")
        hand.assistant("C", stores=stores[1:], instructions="I am C.")
    assert holdall("export", "-o", "a.tar.zst", "--env-file", "none").code in (0, 4)
    assert holdall("unpack", "a.tar.zst", "f").code == 0
    assert holdall("pack", "f").code == 0
    assert Path("f.tar.zst").read_bytes() == Path("a.tar.zst").read_bytes()


def test_from_git_to_a_project_with_one_edit(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    holdall = Terminal(monkeypatch, {"OPENAI_DST_API_KEY": "sk-fold-0001", "OPENAI_DST_BASE_URL": box.url})
    one = {"name": "Helper", "model": "gpt-4o", "instructions": "Be kind.", "tools": []}
    make(tmp_path / "b.tar.zst", [File(id="f1")], assistants={"asst_1": one})
    assert holdall("unpack", "b.tar.zst", "repo").code == 0
    git = ["git", "-C", "repo", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=true"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    Path("repo/data/assistants/asst_1.md").write_text("Be kinder.\n")
    done = holdall("verify", "repo", "--json")
    assert (done.code, done.document["result"]["edited"]) == (0, ["data/assistants/asst_1.md"])
    assert "1 file edited by hand: data/assistants/asst_1.md" in holdall("inspect", "repo").err
    done = holdall("pack", "repo", "-o", "new.tar.zst", "--json")
    assert (done.code, done.document["result"]["edits_total"]) == (0, 1)
    # The folder is imported; the bundle packed of it is what is there then.
    done = holdall("import", "repo", "--env-file", "none")
    assert done.code == 0, done.err
    assert "bundle.tar.zst" not in done.err
    done = holdall("diff", "repo", "dst:", "--mapping", "out/mapping.json", "--env-file", "none")
    assert done.code == 0, done.out + done.err
    done = holdall("diff", "b.tar.zst", "repo", "--json", "--env-file", "none")
    assert (done.code, done.document["result"]["differences"]) == (3, 1)
    assert '"-Be kind.",' in done.out
    assert '"+Be kinder."' in done.out
    done = holdall("verify", "new.tar.zst", "--against", "dst", "--env-file", "none")
    assert done.code == 0, done.err + done.out
    done = holdall("plan", "b.tar.zst", "--env-file", "none", "--json", "--output-dir", "out")
    assert done.code == 33
    assert "instructions" in done.out
    assert "tools" not in done.document["error"]["message"]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(2, 40))])
def test_whatever_is_done_to_a_folder_is_told_and_repaired(
    bundle: Path, folder: Path, tmp_path: Path, seed: int
) -> None:
    """Files are lost, cut, flipped, filled, replaced by links; then an unpack has all of it right again."""
    choose = Random(seed)
    whole = files(folder)
    for name in choose.sample(sorted(whole.keys() - {".gitattributes"}), 4):
        path, data = folder / name, bytearray(whole[name])
        at, to = sorted(choose.choices(range(len(data) + 1), k=2))
        match choose.randrange(6):
            case 0:
                path.unlink()
                continue
            case 1:
                path.unlink()
                path.symlink_to("/etc/passwd")
                continue
            case 2:
                del data[at : min(to, at + 50)]
            case 3:
                data[at:at] = choose.choice([b"\xff", b"{", b"[" * 5000, b'"', b"\n", b"1e999", b"\\ud800", b"\0"])
            case 4:
                del data[at:]
            case _:
                data[at : at + 1] = bytes([choose.randrange(256)])
        path.write_bytes(data)
    # Also where the checksums were made to fit.
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("holdall.json", "manifest-sha256.txt", "records.jsonl")
        if (folder / name).exists() and seed % 2
    ]
    if lines:
        (folder / "tagmanifest-sha256.txt").write_text("".join(lines))
    with suppress(HoldallError), packed(folder) as found:
        if found.file:
            verify_open(folder, found.file)
    for name in ("holdall.json", "records.jsonl", "bagit.txt"):  # what says that it is ours
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(b"")
    assert unpacked(bundle, folder, force=True) == whole
    assert digests_of_folder(folder) == digests(bundle)


def verify_open(folder: Path, file: BufferedReader) -> None:
    with verified(folder, file=file):
        pass


def test_a_damaged_folder_ends_every_command_with_its_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    holdall = Terminal(monkeypatch, {"OPENAI_DST_API_KEY": "sk-x-0001"})
    (folder / CHECKED[1]).write_bytes(b"other")
    for words in (["verify", "f"], ["inspect", "f"], ["pack", "f"], ["import", "f", "--env-file", "none"]):
        done = holdall(*words)
        assert done.code == 10, words
        assert f"damaged: {CHECKED[1]}: its bytes don't match" in " ".join((done.out + done.err).split())
    assert holdall("verify", ".").code == 12
