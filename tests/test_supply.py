"""A bundle again, with the owner's originals in it, without any network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import open_bundle
from holdall.errors import EXIT_INCOMPLETE, EXIT_LOOK
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.oracle import entries
from tests.project import Hand
from tests.sweep import sweep

KEY = "sk-source-0001"
TEXT = "\n".join(f"Line {n} of a guide that says how {n} leaves are steeped." for n in range(200)).encode()
PDF = b"%PDF-1.4 \x00\x01\x02 no text at all" * 40_000


@pytest.fixture
def made(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """A bundle ``b.tar.zst`` of a project with files of every fidelity that needs no originals; ids by filename."""
    monkeypatch.chdir(tmp_path)
    with Hand(box.url, KEY) as hand:
        ids = {
            "guide.md": hand.file("guide.md", TEXT),
            "other.md": hand.file("other.md", TEXT.replace(b"Line", b"Chapter")),
            "scan.pdf": hand.file("scan.pdf", PDF),
            "table.csv": hand.file("table.csv", b"a,b\n1,2\n"),
            "photo.png": hand.file("photo.png", b"\x89PNG and so on", purpose="vision"),
        }
        store = hand.store("Knowledge", [ids["guide.md"], ids["other.md"], ids["scan.pdf"]])
        hand.assistant("Front desk", stores=[store], files=[ids["table.csv"], ids["photo.png"]])
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url})
    assert holdall("export", "-o", "b.tar.zst", "--env-file", "none").code == 4
    (tmp_path / "mine").mkdir()
    return ids


@pytest.fixture
def holdall(made: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The command line on a machine without keys, on which every connection is refused."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    return Terminal(monkeypatch, {})


def supply(holdall: Terminal, *argv: str) -> Done:
    return holdall("supply", "b.tar.zst", "--originals", "mine", "--json", *argv)


def ledger(bundle: str) -> dict[str, dict[str, Any]]:
    return {line["filename"]: line for line in map(json.loads, entries(Path(bundle))["data/ledger.jsonl"].splitlines())}


def test_originals_take_the_place_of_texts_and_of_what_is_missing(holdall: Terminal, made: dict[str, str]) -> None:
    for name, content in {"guide.md": TEXT, "scan.pdf": PDF, "table.csv": b"a,b\n1,2\n"}.items():
        Path("mine", name).write_bytes(content)
    done = supply(holdall)
    assert done.code == 0, done.err
    result = done.document["result"]
    assert (result["bundle"], result["supplied"], result["wanted"]) == ("b_supplied.tar.zst", 3, 4)
    assert [one["filename"] for one in result["please_supply"]] == ["other.md"]
    before, after = ledger("b.tar.zst"), ledger("b_supplied.tar.zst")
    assert {name: line["rung"] for name, line in after.items()} == {
        "guide.md": "supplied",
        "other.md": "text",
        "scan.pdf": "supplied",
        "table.csv": "supplied",
        "photo.png": "original",
    }
    for kept in ("other.md", "photo.png"):
        assert after[kept] == before[kept]
    assert (after["guide.md"]["route"], after["guide.md"]["status"]) == ("guide.md", 400)
    found, old = entries(Path("b_supplied.tar.zst")), entries(Path("b.tar.zst"))
    assert found[after["scan.pdf"]["path"]] == PDF
    assert found[after["guide.md"]["path"]] == TEXT
    assert not any(made["guide.md"] in path and "data/text" in path for path in found)
    same = {path for path in old if path.startswith("data/") and "ledger" not in path and "data/text/" not in path}
    assert {path: found[path] for path in same} == {path: old[path] for path in same}
    assert holdall("verify", "b_supplied.tar.zst").code == 0
    with open_bundle("b.tar.zst") as one, open_bundle("b_supplied.tar.zst") as two:
        assert one.info.digests.definitions == two.info.digests.definitions
        assert one.info.digests.contents != two.info.digests.contents
        assert (one.info.started, one.info.ended, one.info.source) == (
            two.info.started,
            two.info.ended,
            two.info.source,
        )


def test_what_comes_near_is_listed_and_nothing_is_written(holdall: Terminal) -> None:
    Path("mine", "guide.md").write_bytes(TEXT.replace(b"7 leaves", b"7 sheets"))
    Path("mine", "table.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    done = supply(holdall)
    assert done.code == 4
    reasons = {loss["filename"]: loss["reason"] for loss in done.document["losses"]}
    assert "its words don't match the parsed text" in reasons["guide.md"]
    assert "(8 bytes): table.csv (12 bytes)" in reasons["table.csv"]
    assert done.document["result"]["bundle"] is None
    assert not list(Path().glob("*supplied*"))


def test_supplying_twice_gets_the_rest(holdall: Terminal) -> None:
    Path("mine", "guide.md").write_bytes(TEXT)
    assert supply(holdall).code == 4
    for path in Path("mine").iterdir():
        path.unlink()
    for name, content in {"scan.pdf": PDF, "table.csv": b"a,b\n1,2\n"}.items():
        Path("mine", name).write_bytes(content)
    done = holdall("supply", "b_supplied.tar.zst", "--originals", "mine", "-o", "c.tar.zst")
    assert (done.code, done.out) == (0, "c.tar.zst\n")
    assert ledger("c.tar.zst")["guide.md"] == ledger("b_supplied.tar.zst")["guide.md"]
    assert [name for name, line in ledger("c.tar.zst").items() if line["rung"] == "text"] == ["other.md"]
    Path("mine", "other.md").write_bytes(TEXT.replace(b"Line", b"Chapter"))
    assert holdall("supply", "c.tar.zst", "--originals", "mine", "-o", "d.tar.zst").code == 0
    done = holdall("supply", "d.tar.zst", "--originals", "mine", "-o", "e.tar.zst")
    assert (done.code, done.out) == (0, "")
    assert "Nothing to supply: the bundle has the original of every file" in done.err


def test_the_same_originals_give_the_same_digests_on_either_way(
    box: Running, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine", "guide.md").write_bytes(TEXT)
    Path("mine", "scan.pdf").write_bytes(PDF)
    supply(holdall)
    monkeypatch.undo()
    online = {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url}
    with monkeypatch.context() as patch:
        patch.chdir(box.data.parent)
        Terminal(patch, online)(
            "export", "-o", "x.tar.zst", "--originals", "mine", "--parent", "none", "--env-file", "none"
        )
        with open_bundle("x.tar.zst") as one, open_bundle("b_supplied.tar.zst") as two:
            assert one.info.digests == two.info.digests


def test_a_damaged_bundle_is_refused_and_leaves_nothing(holdall: Terminal) -> None:
    Path("mine", "guide.md").write_bytes(TEXT)
    data = bytearray(Path("b.tar.zst").read_bytes())
    refused = 0
    for place in range(40, len(data) - 40, len(data) // 40):
        data[place] ^= 1
        Path("b.tar.zst").write_bytes(data)
        done = supply(holdall, "-o", "c.tar.zst", "--force")
        if done.code not in (0, EXIT_LOOK, EXIT_INCOMPLETE):
            assert 10 <= done.code < 20, done.err
            assert not list(Path().glob("c.tar.zst*"))
            refused += 1
        Path("c.tar.zst").unlink(missing_ok=True)
        data[place] ^= 1
    assert refused > 10


@sweep(
    ("argv", "code"),
    [
        (["supply", "b.tar.zst"], 2),
        (["supply", "b.tar.zst", "--originals", "none"], 2),
        (["supply", "b.tar.zst", "--originals", "mine", "-o", "b.tar.zst", "--force"], 2),
        (["supply", "b.tar.zst", "--originals", "mine", "-o", "none/b.tar.zst"], 2),
        (["supply", "b.tar.zst", "--originals", "mine", "-o", "taken.tar.zst"], 13),
        (["supply", "none.tar.zst", "--originals", "mine"], 15),
        (["supply", ".", "--originals", "mine"], 15),
    ],
)
def test_what_cannot_be_is_one_sentence_and_its_code(holdall: Terminal, argv: list[str], code: int) -> None:
    Path("mine", "guide.md").write_bytes(TEXT)
    Path("taken.tar.zst").write_bytes(b"mine")
    before = Path("b.tar.zst").read_bytes()
    done = holdall(*argv)
    assert done.code == code, done.err
    assert done.err.count("Error: ") == 1
    assert Path("b.tar.zst").read_bytes() == before
    assert Path("taken.tar.zst").read_bytes() == b"mine"


def test_it_never_imports_the_sdk(holdall: Terminal) -> None:
    import subprocess
    import sys

    code = (
        "import sys, holdall.cli.main as m, holdall.cli.console as c;"
        "m.run(['supply', 'b.tar.zst', '--originals', 'mine'], c.Console());"
        "sys.exit('openai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_words_decide_and_what_is_passed_over_is_said(
    box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same by an export with originals and by a supply later."""
    monkeypatch.chdir(tmp_path)
    words = ["heron", "river", "stone", "lantern", "paper", "copper", "winter", "garden", "signal", "orchard"]
    texts = [
        "".join(" ".join(words[(n * i + k) % 10] for k in range(9)) + "\n" for i in range(12)).encode()
        for n in (3, 7, 9)
    ]
    with Hand(box.url, KEY) as hand:
        files = [hand.file(name, text) for name, text in zip(("shared.txt", "Tide.txt", "two.txt"), texts, strict=True)]
        hand.assistant("Clerk", stores=[hand.store("Papers", files)])
    for path, content in {
        "elsewhere/shared.txt": texts[0],
        "mine/a/tide.TXT": texts[1],
        "mine/a/two.txt": texts[2],
        "mine/b/two.txt": texts[2][:-2] + b"y\n",
    }.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    try:
        Path("mine/share").symlink_to("../elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no links on this system")
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url})
    assert holdall("export", "-o", "plain.tar.zst").code == 0
    done = {
        "with.tar.zst": holdall("export", "-o", "with.tar.zst", "--originals", "mine", "--parent", "none"),
        "plain_supplied.tar.zst": holdall("supply", "plain.tar.zst", "--originals", "mine"),
    }
    for bundle, said in done.items():
        assert said.code == 0, said.err
        lines = ledger(bundle)
        assert {
            name: (line["rung"], line["route"].rpartition("/files/")[0] or line["route"])
            for name, line in lines.items()
        } == {
            "shared.txt": ("text", lines["shared.txt"]["route"].rpartition("/files/")[0]),
            "Tide.txt": ("supplied", "a/tide.TXT"),
            "two.txt": ("supplied", "a/two.txt"),
        }
        assert "size and words match, the name differs only in case" in lines["Tide.txt"]["message"]
        assert "links to folders are not followed; not searched: share" in said.err
        assert "under another name" not in str(lines["shared.txt"]["message"]) + said.err
