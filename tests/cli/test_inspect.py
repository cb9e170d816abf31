from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdall.bundle import reader
from holdall.cli.console import Console
from holdall.cli.main import run
from tests.bundle.packing import File, pack

FILES = [
    File(id="file-1", filename="a\u202eb\x1b[31m.pdf", data=b"x" * 1500),
    File(id="file-2", filename=None, data=None),
    *(File(id=f"file-more-{number:02}", data=b"words") for number in range(15)),
]


def holdall(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = run(argv, Console(stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("inspect") / "acme.tar.zst"
    interpreter = {"code_interpreter": {"file_ids": ["file-1"]}, "file_search": {"vector_store_ids": ["vs_gone"]}}
    assistants = {
        "asst_1": {"name": "Helper", "model": "gpt-4o"},
        "asst_2": {"name": None, "tool_resources": interpreter},
    }
    pack(target, FILES, assistants=assistants)
    return target


def test_a_few_lines_for_people(path: Path) -> None:
    code, out, err = holdall("inspect", str(path))
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert lines[0].endswith(", exported 2023-11-14 22:14:20 UTC")
    assert lines[1:] == [
        "Source:  http://127.0.0.1/v1, proj_1",
        "Holds:   2 assistants, 1 vector store, 17 files (16 original, 1 missing)",
        "  Helper     asst_1  gpt-4o  17 files",
        "  (no name)  asst_2          1 file",
        "INCOMPLETE: 1 file missing (as exported)",
    ]
    assert err.splitlines()[0] == "  1 file missing: file-2"


def test_the_tree_for_people(path: Path) -> None:
    code, out, err = holdall("inspect", "-v", str(path))
    assert code == 0
    lines = out.splitlines()
    assert lines[3] == "Format:  1.0, written by holdall 0"
    assert lines[4] == "Began:   2023-11-14 22:13:20 UTC"
    assert lines[5].startswith("Digest:  definitions h1:")
    tree = lines[8:]
    assert tree[:5] == [
        "Helper  asst_1  gpt-4o",
        "  store Knowledge  vs_1: 17 files",
        "    a\\u202eb\\x1b[31m.pdf  file-1  original, 1.5 kB",
        "    (no name)  file-2  unavailable, -",
        "    notes.txt  file-more-00  original, 5 B",
    ]
    assert tree[12:] == [
        "    … and 7 more (--all shows them)",
        "",
        "(no name)  asst_2",
        "  store vs_gone: not in the bundle",
        "  code interpreter: 1 file",
        "    a\\u202eb\\x1b[31m.pdf  file-1  original, 1.5 kB",
        "INCOMPLETE: 1 file missing (as exported)",
    ]
    assert err.splitlines()[:2] == [
        "1. (no name), size unknown, file-2: missing; used by Helper (asst_1)",
        "not included (hosted elsewhere): vector store vs_gone (deleted at the source); used by asst_2",
    ]


def test_all_of_it(path: Path) -> None:
    code, out, _ = holdall("inspect", "--all", str(path))
    assert code == 0
    assert "file-more-14" in out
    assert "--all" not in out


def test_the_document(path: Path) -> None:
    code, out, _ = holdall("inspect", "--json", str(path))
    document = json.loads(out)
    assert (code, document["ok"], document["command"]) == (0, True, "inspect")
    result = document["result"]
    assert result["counts"]["assistants"] == 2
    assert result["fidelities"]["original"] == {"files": 16, "bytes": 1575}
    assert result["min_fidelity"] == "text"
    assert "rung" not in out
    assert result["digests"]["contents"].startswith("h1:")
    store = result["assistants"][0]["stores"][0]
    assert (store["id"], store["file_count"], len(store["files"])) == ("vs_1", 17, 10)
    first = {"id": "file-1", "filename": FILES[0].filename, "fidelity": "original", "size": 1500, "doubt": None}
    assert store["files"][0] == first


def test_no_content_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "large.tar.zst"
    pack(target, [File(id=f"file-{number}", data=bytes([number]) * 3_000_000) for number in range(5)])
    decoded: list[int] = []
    original = reader.FrameFile.raw

    def raw(self: reader.FrameFile, number: int) -> tuple[bytes, int]:
        frame, size = original(self, number)
        decoded.append(size)
        return frame, size

    monkeypatch.setattr(reader.FrameFile, "raw", raw)
    assert holdall("inspect", str(target))[0] == 0
    assert sum(decoded) < 200_000


def test_errors(tmp_path: Path) -> None:
    assert holdall("inspect", str(tmp_path / "none"))[0] == 15
    (tmp_path / "text").write_bytes(b"text")
    code, _, err = holdall("inspect", str(tmp_path / "text"))
    assert code == 12
    assert "not a holdall bundle" in err


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_a_small_bundle_does_not_need_is_not_imported(path: Path, command: str) -> None:
    others = ["openai", "asyncio", "concurrent", "logging", "tempfile", "difflib", "dotenv"]
    others += [f"holdall.{name}" for name in ("settings", "selection", "redaction", "sandbox")]
    program = (
        "import sys; from holdall.cli.main import run; from holdall.cli.console import Console; "
        f"code = run([{command!r}, {str(path)!r}], Console()); "
        f"sys.exit(code or ', '.join(name for name in {others!r} if name in sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_field_that_seems_to_hold_a_credential_is_named_and_not_shown(tmp_path: Path) -> None:
    secret = "AKIA" + "Q3EGRZ5JX2LMTN7A"
    helper = {"instructions": f"Use {secret}.", "tools": [{"function": {"name": "f", "description": secret}}]}
    target = tmp_path / "acme.tar.zst"
    pack(target, FILES, assistants={"asst_1": helper}, stores={"vs_1": {"metadata": {"aws": secret}}})
    code, out, err = holdall("inspect", str(target))
    assert code == 0
    assert "  Warning: the bundle seems to hold credentials: asst_1 instructions, asst_1 tools" in err
    assert secret not in out + err
    code, out, err = holdall("inspect", str(target), "-v")
    assert "assistant asst_1, instructions: looks like an AWS access key" in err
    assert "tools[0].function.description" in err
    assert "vector store vs_1, metadata.aws" in err
    code, document, _ = holdall("inspect", str(target), "--json")
    assert {(one["id"], one["field"]) for one in json.loads(document)["result"]["credentials"]} == {
        ("asst_1", "instructions"),
        ("asst_1", "tools[0].function.description"),
        ("vs_1", "metadata.aws"),
    }
    assert secret not in out + err + document
