from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from holdall import open_bundle
from holdall.bundle.texts import document
from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.importer.plan.bundle_summary import summarize
from holdall.model import Fidelity
from tests.bundle.packing import File, pack


def holdall(*argv: str) -> tuple[int, bytes, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n"), io.StringIO()
    code = run(argv, Console(stdout=out, stderr=err))
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return code, buffer.getvalue(), err.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "acme.tar.zst"
    pack(target, [File(id="file-1", data=b"\r\n\x00\xff"), File(id="file-2", filename="b.txt", data=b"b" * 5000)])
    return target


def test_files_into_a_folder(path: Path, tmp_path: Path) -> None:
    code, out, err = holdall("extract", str(path), "*.txt", "--to", str(tmp_path / "out"))
    assert code == 0
    assert out.decode().splitlines() == [str(tmp_path / "out" / "notes.txt"), str(tmp_path / "out" / "b.txt")]
    assert "2 files, 5.0 kB" in err
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"))[0] == 0
    (tmp_path / "out" / "notes.txt").write_bytes(b"mine")
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"))[0] == 13
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"), "--force")[0] == 0


def test_one_entry_to_stdout_is_its_bytes_and_nothing_else(path: Path) -> None:
    assert holdall("extract", str(path), "file-1", "-o", "-") == (0, b"\r\n\x00\xff", "")


def test_one_entry_to_a_file(path: Path, tmp_path: Path) -> None:
    code, out, _ = holdall("extract", str(path), "b.txt", "-o", str(tmp_path / "mine"), "--json")
    assert code == 0
    (written,) = json.loads(out)["result"]["files"]
    assert written == {"entry": "data/files/file-2/b.txt", "path": str(tmp_path / "mine"), "size": 5000}
    assert (tmp_path / "mine").read_bytes() == b"b" * 5000


def parsed(*parts: str, truncated: bool = False) -> bytes:
    page = {"data": [{"type": "text", "text": part} for part in parts]}
    return json.dumps({"pages": [page], "truncated": truncated}).encode()


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Parsed texts beside an original: one in overlapping parts, one that is a .txt, one cut short, one in doubt."""
    words = " ".join(str(number) for number in range(400))
    target = tmp_path / "texts.tar.zst"
    odd = parsed("one and two", "three and four")
    pack(
        target,
        [
            File(id="file-1", filename="a.pdf", data=parsed(words[:900], words[500:]), text=True),
            File(id="file-2", filename="b.txt", data=parsed("b b b"), text=True, expected=5),
            File(id="file-3", filename="c.pdf", data=parsed("the beginning", truncated=True), text=True),
            File(id="file-4", filename="d.txt", data=odd, text=True, expected=4),
            File(id="file-5", filename="e.pdf", data=b"%PDF"),
        ],
    )
    return target


def test_parsed_texts_as_plain_text(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert holdall("extract", str(texts), "file-1", "b.txt", "e.pdf", "--text", "--to", str(out))[0] == 0
    assert {path.name for path in out.iterdir()} == {"a.pdf.txt", "b.txt", "e.pdf"}
    assert (out / "a.pdf.txt").read_text() == " ".join(str(number) for number in range(400))
    assert (out / "b.txt").read_text() == "b b b"
    # As before without it, and the same again where it is there already.
    assert holdall("extract", str(texts), "file-1", "--text", "--to", str(out))[0] == 0
    assert holdall("extract", str(texts), "file-1", "--to", str(out))[0] == 0
    assert (out / "a.pdf.text.json").exists()
    (out / "b.txt").write_bytes(b"mine")
    assert holdall("extract", str(texts), "b.txt", "--text", "--to", str(out))[0] == 13


def test_a_plain_text_that_may_not_be_the_files_own_says_so(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, document, err = holdall("extract", str(texts), "data/text/*", "--text", "--to", str(out), "--json")
    files = {Path(one["path"]).name: one for one in json.loads(document)["result"]["files"]}
    assert code == 3
    assert set(files) == {"a.pdf.txt", "b.txt", "c.pdf.txt", "d.txt"}
    assert (files["c.pdf.txt"]["truncated"], "doubt" in files["c.pdf.txt"]) == (True, False)
    assert files["d.txt"]["doubt"]
    assert "truncated" not in files["a.pdf.txt"]
    assert "  1 text cut short: c.pdf.txt (truncated by the server)" in err
    assert "  1 uncertain text: d.txt (" in err
    assert (out / "c.pdf.txt").read_text() == "the beginning"


def test_one_parsed_text_to_stdout(texts: Path, tmp_path: Path) -> None:
    assert holdall("extract", str(texts), "file-2", "--text", "-o", "-") == (0, b"b b b", "")
    code, out, err = holdall("extract", str(texts), "file-3", "--text", "-o", "-")
    assert (code, out, "c.pdf: truncated" in err) == (3, b"the beginning", True)
    assert holdall("extract", str(texts), "file-3", "--text", "-o", str(tmp_path / "c"))[0] == 3
    assert (tmp_path / "c").read_bytes() == b"the beginning"
    assert holdall("extract", str(texts), "--text", "--salvage", "--to", str(tmp_path / "x"))[0] == 2


def test_it_is_the_text_that_an_import_uploads(texts: Path, tmp_path: Path) -> None:
    with open_bundle(texts) as bundle:
        summary = summarize(bundle)
        for id, content in summary.files.items():
            if content.fidelity is not Fidelity.TEXT or (entry := bundle.content(id)) is None:
                continue
            found = document(bundle.read(entry), overlap=content.overlap, filename=content.filename, size=content.size)
            assert holdall("extract", str(texts), id, "--text", "-o", "-")[1] == found.data


def test_salvage(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    assert holdall("extract", str(path), "--to", str(tmp_path / "out"))[0] == 10
    code, out, _ = holdall("extract", str(path), "--salvage", "--to", str(tmp_path / "out"), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["result"]["lost"] == []
    assert len(document["result"]["files"]) == 7
    path.write_bytes(path.read_bytes()[:-2000])
    code, _, err = holdall("extract", str(path), "--salvage", "--to", str(tmp_path / "out2"))
    assert code in (3, 14)
    assert re.search(r"DAMAGED: \d+ lost", err) or "no intact entry" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["file-1"],
        ["file-1", "--to", "x", "-o", "-"],
        ["-o", "-"],
        ["file-1", "b.txt", "-o", "-"],
        ["file-1", "-o", "-", "--salvage"],
        ["file-1", "-o", "-", "--json"],
    ],
)
def test_what_makes_no_sense(path: Path, argv: list[str]) -> None:
    assert holdall("extract", str(path), *argv)[0] == 2


def test_a_pattern_without_a_match(path: Path, tmp_path: Path) -> None:
    code, _, err = holdall("extract", str(path), "none", "--to", str(tmp_path / "out"))
    assert code == 14
    assert "holdall inspect" in err


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ([], "run the same command again"),
        (["--salvage"], "run the same command again with --force"),
        (["--salvage", "--force"], "run the same command again"),
    ],
)
def test_ctrl_c_says_how_the_same_command_works_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], hint: str
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdall.extraction.extract", stopped)
    monkeypatch.setattr("holdall.extraction.salvage", stopped)
    code, _, err = holdall("extract", str(path), "--to", str(tmp_path / "to"), *flags)
    assert code == 130
    assert "files extracted so far are in" in err
    assert err.splitlines()[-1].endswith(hint)
