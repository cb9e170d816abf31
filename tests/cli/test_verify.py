from __future__ import annotations

import io
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from holdall.cli.console import Console
from holdall.cli.main import run
from tests.bundle.packing import File, pack
from tests.hostile.forge import forge, jsonl
from tests.hostile.lies import losses


def holdall(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = run(argv, Console(stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "acme.tar.zst"
    files = [
        File(id="file-1"),
        File(id="file-2", filename="asked.pdf", data=b'{"pages":[],"truncated":false}', text=True),
        File(id="file-3", filename="gone.pdf", data=None),
    ]
    pack(target, files)
    return target


def test_a_whole_bundle_and_what_it_declares_as_lost(path: Path) -> None:
    code, out, err = holdall("verify", str(path))
    assert code == 0
    assert out == "INCOMPLETE: 1 file missing (undamaged, as exported)\n"
    assert err.startswith(f"Verifying {path.name}\n{path}: 7 entries, ")
    for line in ("  1 file missing: gone.pdf", "  1 file as text only", f"Next: holdall supply {path} --originals DIR"):
        assert line in err.splitlines() or os.name == "nt"
    _, _, err = holdall("verify", "-v", str(path))
    assert err.splitlines()[1:3] == [
        "known at export: 1 file as text only",
        "known at export: file-3 (gone.pdf): missing",
    ]
    code, out, err = holdall("verify", "--quick", "--quiet", str(path))
    assert (code, err) == (0, "")
    assert out == "INCOMPLETE: 1 file missing (index checked, no content read, as exported)\n"
    assert holdall("verify", "--complete", str(path))[0] == 4
    assert holdall("verify", "--complete", "--quick", str(path))[0] == 4


def test_what_a_server_said_of_a_loss_stands_behind_what_is_lost(path: Path) -> None:
    lines = [
        {"reason": "records", "kind": "file", "id": "file-8", "message": "No such thing"},
        {"reason": "files", "kind": "file", "id": "file-9", "message": "No such thing"},
        {"reason": "lists", "id": "/files", "message": "No such thing"},
        {"reason": "records", "kind": "vector_store", "id": "vs_9"},
        {"reason": "keys", "kind": "file", "id": "file-1", "message": "the key was in the record of file-1"},
        {"reason": "unheard-of", "message": ""},
    ]
    counts = {"records": 2, "files": 2, "lists": 1, "keys": 1, "unheard-of": 1}  # one file is the ledger's
    path.write_bytes(forge(**losses(*sorted(lines, key=lambda line: jsonl([line])), declared=counts)))
    _, _, err = holdall("verify", "-v", str(path))
    for said in (
        "known at export: file file-8 missing: No such thing",
        "known at export: file file-9 missing: No such thing",
        "known at export: /files: No such thing",
        "known at export: vector store vs_9 missing",
        "known at export: the key was in the record of file-1",
        "known at export: unheard-of",
    ):
        assert said in err.splitlines(), err


def test_a_damaged_one(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 4
    path.write_bytes(bytes(raw))
    code, out, err = holdall("verify", str(path))
    assert code == 10
    assert re.fullmatch(r"DAMAGED: \d+ findings", out.splitlines()[0])
    assert out.splitlines()[-1].endswith(" more (-v lists them)")
    assert len(out.splitlines()) == 5
    assert "--salvage" in err
    code, out, _ = holdall("verify", "-v", str(path))
    assert any(line.startswith("  seal: ") for line in out.splitlines())
    code, out, _ = holdall("verify", "--json", str(path))
    document = json.loads(out)
    assert (document["ok"], document["exit_code"], document["result"]["whole"]) == (False, 10, False)
    assert {finding["code"] for finding in document["result"]["findings"]} >= {"frame", "seal"}


def test_the_document_of_a_whole_one(path: Path) -> None:
    code, out, _ = holdall("verify", "--json", str(path))
    document = json.loads(out)
    assert code == 0
    assert document["result"]["findings"] == []
    assert [loss["code"] for loss in document["losses"]] == ["unavailable"]
    assert (document["result"]["whole"], document["result"]["complete"]) == (True, False)
    assert document["result"]["verdict"]["missing"] == {"files": 1}
    sha256 = document["result"]["sha256"]
    assert holdall("verify", "--sha256", sha256, str(path))[0] == 0
    code, out, err = holdall("verify", "--sha256", "0" * 64, str(path))
    # It is another file, and nothing of it is lost.
    assert code == 3
    assert out == f"WRONG FILE: sha256 is {sha256}, expected {'0' * 64}\n"
    assert "  1 file missing: gone.pdf" in err
    assert "--salvage" not in err
    code, out, _ = holdall("verify", "--json", "--sha256", "0" * 64, str(path))
    result = json.loads(out)["result"]
    assert (result["whole"], result["sha256"], result["expected_sha256"]) == (True, sha256, "0" * 64)
    assert holdall("verify", "--sha256", "abc", str(path))[0] == 2


def test_errors(tmp_path: Path) -> None:
    assert holdall("verify", str(tmp_path / "none"))[0] == 15
    (tmp_path / "text").write_bytes(b"text")
    assert holdall("verify", str(tmp_path / "text"))[0] == 12


def test_a_hint_can_be_pasted_whatever_the_bundle_is_called(path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "Jane's bundle.tar.zst"
    odd.write_bytes(path.read_bytes()[:-1])
    (hint,) = (line for line in holdall("verify", str(odd))[2].splitlines() if line.startswith("Next: "))
    assert os.name == "nt" or shlex.split(hint)[3] == str(odd)


def test_quiet_prints_the_verdict_of_a_damaged_one_and_no_finding(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    code, out, err = holdall("verify", "-q", str(path))
    assert code == 10
    assert re.fullmatch(r"DAMAGED: \d+ findings?\n", out)
    assert err == ""


def test_the_document_of_inspect_is_all_that_it_prints(path: Path) -> None:
    code, out, err = holdall("inspect", "--json", str(path))
    assert (code, err) == (0, "")
    assert json.loads(out)["command"] == "inspect"
