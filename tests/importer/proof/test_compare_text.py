"""What a destination reads in a file: equal words in equal order, or what can be said instead."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle.reader import BundleReader
from holdall.bundle.texts import Document, document
from holdall.errors import NotFound
from holdall.importer.plan.bundle_summary import summarize
from holdall.importer.proof.compare_text import TextComparer, TextComparison, TextMatch, covered
from holdall.model import SourceId, TargetId
from holdall.redaction import Redactor
from holdall.remote.client import Account
from holdall.remote.wire import Answer
from tests.importer.shelf import Shelf
from tests.sweep import examples

LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 30


class Server:
    """Hands out one text, in its parts."""

    def __init__(self, parts: list[str] | None, *, more: bool = False) -> None:
        self.parts, self.more, self.asked = parts, more, 0
        self.redactor = Redactor(())

    async def get(self, where: str, params: Mapping[str, Any] | None = None, **_: Any) -> Answer:
        self.asked += 1
        if self.parts is None:
            raise NotFound("no content", detail="no content")
        page = {"data": [{"type": "text", "text": part} for part in self.parts], "has_more": self.more}
        return Answer(raw=json.dumps(page).encode(), status=200)


def read(name: str, content: bytes, parts: list[str] | None, *, overlap: int = 0, more: bool = False) -> TextComparison:
    shelf = Shelf()
    shelf.file("f", name, content)
    return compared(shelf, Server(parts, more=more), overlap)


def compared(shelf: Shelf, server: Server, overlap: int = 0) -> TextComparison:
    reader = cast(BundleReader, shelf)
    comparer = TextComparer(cast(Account, server), reader)
    content = summarize(reader).files[SourceId("f")]
    return asyncio.run(comparer.compare(TargetId("vs"), TargetId("file"), content, overlap=overlap))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"# One\n\ntwo  three\r\n", ["# One\n\ntwo three"]),
        (b"cut anywh\nere", ["cut an", "ywh\n", "ere"]),
        (b"one two three", ["one two", "three"]),
        ("\ufeffÄpfel und Birnen".encode(), ["A\u0308pfel und", " Birnen"]),
        ("\ufeffzwölf".encode("utf-16"), ["zwölf"]),
        ("緑茶の淹れ方".encode(), ["緑茶の", "淹れ方"]),
    ],
)
def test_the_same_words_are_equal_however_they_are_cut_and_spaced(content: bytes, parts: list[str]) -> None:
    assert read("a.md", content, parts).verdict is TextMatch.EQUAL


def test_parts_that_overlap_are_equal_too() -> None:
    parts = [LOREM[:900], LOREM[700:1500], LOREM[1300:]]
    assert read("a.txt", LOREM.encode(), parts, overlap=400).verdict is TextMatch.EQUAL


@examples(80)
@given(
    st.text(st.sampled_from("ab \n"), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 8)), max_size=12),
    st.data(),
)
def test_every_way_to_cut_a_text_covers_it_and_a_changed_part_does_not(
    text: str, cuts: list[tuple[int, int]], data: st.DataObject
) -> None:
    parts, place = [], 0
    for length, back in cuts:
        parts.append(text[max(0, place - back) : place + length])
        place += length
    parts.append(text[place:])
    assert covered(text, parts)
    changed = data.draw(st.integers(0, len(parts) - 1))
    assert not covered(text, [*parts[:changed], parts[changed] + "c", *parts[changed + 1 :]])
    assert not covered(text + "c", parts)


@examples(300)
@given(
    st.sampled_from(
        ["ab", "äöü", "緑茶の", "😀👍🏽", "ab é緑😀\r\n", "\ufffdaé", "e\u0301o\u0308", "한글", "각"]
    ).flatmap(lambda letters: st.text(alphabet=letters, min_size=1, max_size=120)),
    st.lists(st.tuples(st.integers(8, 40), st.integers(0, 8)), max_size=12),
)
def test_a_text_covered_by_parts_that_begin_and_end_inside_characters(text: str, cuts: list[tuple[int, int]]) -> None:
    data, parts, place = text.encode(), [], 0
    for length, back in cuts:
        parts.append(data[max(0, place - back) : place + length].decode("utf-8", "replace"))
        place += length
    parts.append(data[place:].decode("utf-8", "replace"))
    assert covered(text, parts)
    assert not covered(f"{text}c", parts)
    assert not covered(f"c{text}", parts)


def test_letters_on_either_side_of_a_cut_are_no_pieces_of_it() -> None:
    assert covered("Käse", ["K\ufffd", "\ufffdse"])
    assert not covered("Kxäse", ["K\ufffd", "\ufffdse"])
    assert not covered("Kääse", ["K\ufffd", "se"])


def test_a_text_that_was_joined_wrongly_is_found_though_the_destination_has_just_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf()
    shelf.text("f", "a.txt", ["the river runs past ", "an old stone"], size=32)

    def wrongly(stored: bytes, **more: Any) -> Document:
        data = b"the river runs past stone"
        parts = document(stored, **more).parts
        return Document(data=data, size=len(data), exact=False, truncated=False, parts=parts)

    assert compared(shelf, Server(["the river runs past an old stone"])).verdict is TextMatch.EQUAL
    monkeypatch.setattr("holdall.importer.proof.compare_text.document", wrongly)
    found = compared(shelf, Server(["the river runs past stone"]))
    assert (found.verdict, found.there) == (TextMatch.DIFFERS, "different text: joined wrongly")


def test_a_text_joined_doubtfully_is_neither_equal_nor_different() -> None:
    shelf = Shelf()
    shelf.text("f", "a.txt", ["the river runs past an old stone"], size=90)
    found = compared(shelf, Server(["the river runs past an old stone"]))
    assert (found.verdict, found.why) == (
        TextMatch.DOUBTFUL,
        "uncertain text: the joined parts have 32 bytes, the file has 90",
    )


def test_a_difference_is_shown_where_it_begins() -> None:
    found = read("a.txt", b"one two three four five", ["one two THREE four five"])
    assert found.verdict is TextMatch.DIFFERS
    assert (found.here, found.there) == (
        "one two three four five (5 words)",
        "one two THREE four five (5 words)",
    )
    assert read("a.txt", b"one two three", ["one two"]).verdict is TextMatch.DIFFERS
    assert read("a.txt", b"one two", ["two one"]).verdict is TextMatch.DIFFERS
    far = read("a.txt", b"w " * 100 + b"here", ["w " * 100 + "there"])
    assert (far.here, far.there) == ("… w w w w w w w w here (101 words)", "… w w w w w w w w there (101 words)")


def test_text_that_stands_in_for_a_file_is_compared_as_it_was_uploaded() -> None:
    shelf = Shelf()
    shelf.text("f", "a.pdf", ["text of ", "the pdf"], size=9999)
    assert compared(shelf, Server(["text of the pdf"])).verdict is TextMatch.EQUAL
    assert compared(shelf, Server(["text of a pdf"])).verdict is TextMatch.DIFFERS


def docx(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", f"<w:document><w:p><w:t>{text}</w:t></w:p></w:document>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", b"<h1>Tea</h1><p>green &amp; black leaves, steeped for three minutes</p>"),
        ("a.docx", docx("Tea green &amp; black leaves, steeped for three minutes")),
    ],
)
def test_of_html_and_office_documents_the_words_must_stand_in_the_file(name: str, content: bytes) -> None:
    said = "Tea\ngreen & black leaves, steeped for three minutes"
    assert read(name, content, [said]).verdict is TextMatch.EQUAL
    assert read(name, content, ["coffee is roasted at two hundred degrees"]).verdict is TextMatch.DIFFERS


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pdf", b"%PDF", "text of this type (pdf) can't be read here"),
        ("a.txt", b"\xe9t\xe9", "unknown encoding"),
        ("a.docx", b"no zip", "text of this type (docx) can't be read here"),
        ("name", b"x", "text of this type (none) can't be read here"),
    ],
)
def test_what_can_not_be_compared_is_said_with_its_reason(name: str, content: bytes, why: str) -> None:
    found = read(name, content, ["the text there"])
    assert (found.verdict, found.why, found.text) == (TextMatch.NOT_CHECKED, why, "the text there")


def test_a_text_that_comes_in_part_or_not_at_all_is_not_checked() -> None:
    assert read("a.txt", b"one two", ["one"], more=True).why == "the destination returned only part of its text"
    found = read("a.txt", b"one two", None)
    assert (found.verdict, found.why) == (
        TextMatch.NOT_CHECKED,
        "the destination does not return its text (no content)",
    )
