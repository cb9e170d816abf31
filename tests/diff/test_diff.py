"""``holdall diff``: what changed is found and named, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    environ = {f"OPENAI_{side}_BASE_URL": box.url for side in ("SRC", "DST")}
    return Terminal(
        monkeypatch,
        environ | {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION, "HOLDALL_SETTLE": "0.2"},
    )


@pytest.fixture
def project(box: Running) -> Iterator[tuple[Hand, dict[str, str]]]:
    """A source project, and the ids of what is in it."""
    with Hand(box.url, SOURCE) as hand:
        pdf = hand.file("guide.pdf", b"%PDF-1.4 not really")
        text, data = hand.file("notes.md", b"# Notes\n\nSome words."), hand.file("data.csv", b"a,b\n1,2\n")
        store = hand.store("books", [text, pdf], {text: {"attributes": {"lang": "en"}}})
        lookup = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
        desk = hand.assistant(
            "Desk", instructions="Be kind.\nBe brief.\nBe right.", stores=[store], files=[data], tools=[lookup]
        )
        other = hand.assistant("Other", instructions="x", metadata={"team": "a"})
        yield hand, {"text": text, "data": data, "pdf": pdf, "store": store, "desk": desk, "other": other}


def compared(holdall: Terminal, *sides: str) -> tuple[int, list[Any]]:
    done = holdall("diff", *sides, "--json", "--env-file", "none")
    assert done.code in (0, 3), done.out + done.err
    result = done.document["result"]
    assert result["differences"] == len(result["changes"])
    return done.code, result["changes"]


def exported(holdall: Terminal, name: str, **environ: str) -> str:
    done = holdall("export", "-o", name, "--env-file", "none", **environ)
    assert done.code in (0, 3, 4), done.err
    return name


def test_nothing_differs_between_exports_of_an_unchanged_project_and_it(
    holdall: Terminal, project: tuple[Hand, dict[str, str]]
) -> None:
    one, two = exported(holdall, "one.tar.zst"), exported(holdall, "two.tar.zst")
    for sides in ((one, two), (one, one), (one, "src:"), ("src:", one), ("src:", "src:")):
        assert compared(holdall, *sides) == (0, []), sides
    done: Done = holdall("diff", one, two, "--env-file", "none")
    assert (done.code, done.out) == (0, "NO DIFFERENCES\n")


def test_nothing_differs_between_a_project_and_its_copy(
    box: Running, holdall: Terminal, project: tuple[Hand, dict[str, str]]
) -> None:
    box.behave(serve_assistants_files=True)
    one = exported(holdall, "one.tar.zst")
    done = holdall("import", one, "--prefix", "Copy of ", "--env-file", "none")
    assert done.code in (0, 3), done.err
    copy = exported(holdall, "copy.tar.zst", OPENAI_SRC_API_KEY=DESTINATION)
    for sides in ((one, "dst:"), ("src:", "dst:"), ("dst:", "src:"), (one, copy), (copy, one)):
        assert compared(holdall, *sides) == (0, []), sides
    # Without the mapping the metadata says what is a copy; of the prefix it knows nothing.
    done = holdall("diff", one, "dst:", "--output-dir", "nowhere", "--json", "--env-file", "none")
    assert [[f["path"] for f in each["fields"]] for each in done.document["result"]["changes"]] == [["name"], ["name"]]
    with Hand(box.url, DESTINATION) as hand:
        target = next(each["id"] for each in hand.everything("/assistants") if "Desk" in each["name"])
        hand.post(f"/assistants/{target}", instructions="Be kind.\nBe long.\nBe right.")
    code, (change,) = compared(holdall, "src:", "dst:")
    assert (code, change["to"], change["how"]) == (3, target, "changed")
    (field,) = change["fields"]
    assert (field["path"], field["added"], field["removed"]) == ("instructions", 1, 1)
    assert [line for line in field["diff"] if line[0] in "+-"] == ["-Be brief.", "+Be long."]


def test_a_text_that_was_uploaded_in_place_of_a_file_is_its_copy(box: Running, holdall: Terminal) -> None:
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file("page.html", b"<p>Only <b>this</b></p>"), hand.file("long.md", b"# Words\n\n" * 300)]
        hand.assistant("Reader", stores=[hand.store("books", files)])
    one = exported(holdall, "one.tar.zst")
    assert holdall("import", one, "--env-file", "none").code in (0, 3)
    copy = exported(holdall, "copy.tar.zst", OPENAI_SRC_API_KEY=DESTINATION)
    for sides in ((one, "dst:"), ("src:", "dst:"), (one, copy), ("dst:", one)):
        assert compared(holdall, *sides) == (0, []), sides


def test_what_is_added_removed_and_renamed(holdall: Terminal, project: tuple[Hand, dict[str, str]]) -> None:
    hand, ids = project
    exported(holdall, "one.tar.zst")
    new = hand.file("new.txt", b"new")
    hand.post(f"/vector_stores/{ids['store']}/files", file_id=new)
    hand.delete(f"/vector_stores/{ids['store']}/files/{ids['pdf']}")
    hand.delete(f"/files/{ids['pdf']}")
    hand.delete(f"/assistants/{ids['other']}")
    again = hand.assistant("Other", instructions="x", metadata={"team": "a"})
    third = hand.assistant("Third")
    code, changes = compared(holdall, "one.tar.zst", "src:")
    assert code == 3
    found = {(each["how"], each["kind"], each["id"], each["to"]) for each in changes}
    assert found == {
        ("added", "file", new, None),
        ("removed", "file", ids["pdf"], None),
        ("renamed", "assistant", ids["other"], again),
        ("added", "assistant", third, None),
    }
    owners = {each["id"]: each["owner"]["name"] for each in changes}
    assert (owners[new], owners[ids["pdf"]]) == ("Desk", "Desk")


def test_a_letter_that_was_changed_in_a_folder_is_the_only_difference(
    holdall: Terminal, project: tuple[Hand, dict[str, str]]
) -> None:
    _, ids = project
    one = exported(holdall, "one.tar.zst")
    assert holdall("unpack", one, "folder").code == 0
    assert compared(holdall, one, "folder") == (0, [])
    text = Path("folder", "data", "assistants", f"{ids['desk']}.md")
    text.write_text(text.read_text().replace("kind", "kinx"))
    code, (change,) = compared(holdall, one, "folder")
    assert (code, change["id"], [field["path"] for field in change["fields"]]) == (3, ids["desk"], ["instructions"])


def test_hostile_text_is_escaped_and_the_screen_is_short(
    holdall: Terminal, project: tuple[Hand, dict[str, str]]
) -> None:
    hand, ids = project
    exported(holdall, "one.tar.zst")
    hand.post(
        f"/assistants/{ids['desk']}", instructions="Be kind.\n\x1b[31mBe red.\u202e\nBe right.", name="D\nesk\x07"
    )
    for n in range(5):
        hand.assistant(f"More {n}", instructions="y" * 3000)
    done = holdall.screen("diff", "one.tar.zst", "src:", "--env-file", "none")
    lines = done.out.splitlines()
    assert (done.code, len(lines) <= 20) == (3, True), done.out
    assert "6 DIFFERENCES" in lines
    assert any("name, instructions +1 -1" in line for line in lines), done.out
    full = holdall("diff", "one.tar.zst", "src:", "-v", "--env-file", "none")
    assert "+\\x1b[31mBe red.\\u202e" in full.out
    assert "\x1b" not in full.out + done.out
