"""The words of a file against the text that a server parsed out of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.service.text_extraction import extracted
from holdall.word_match import read_matcher
from tests.sweep import examples

TEXT = "\n\n".join(
    f"Paragraph {n} of the café's brewing guide says: steep {n * 7} leaves, 茶葉を入れる。" for n in range(80)
)


def agrees(path: Path, parts: list[str]) -> bool | None:
    matcher = read_matcher(path)
    if matcher is None:
        return None
    matcher.compare(parts)
    return matcher.agrees


def cut(text: str, length: int, overlap: int) -> list[str]:
    """Parts as a store cuts them: anywhere, each beginning with the end of the one before."""
    step = length - overlap
    return [text[start : start + length] for start in range(0, max(len(text) - overlap, 1), step)]


def save(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@examples(60)
@given(st.integers(20, 900), st.integers(0, 400), st.booleans())
def test_a_text_agrees_with_itself_however_it_was_cut(
    tmp_path_factory: pytest.TempPathFactory, length: int, overlap: int, blanks: bool
) -> None:
    path = save(tmp_path_factory.mktemp("w"), "a.md", TEXT)
    parts = cut(TEXT, length, min(overlap, length // 2))
    assert agrees(path, [" ".join(part.split()) for part in parts] if blanks else parts)


@examples(60)
@given(st.integers(0, 79), st.integers(60, 900))
def test_one_word_that_differs_is_seen(tmp_path_factory: pytest.TempPathFactory, number: int, length: int) -> None:
    other = TEXT.replace(f"steep {number * 7} leaves", f"steep {number * 7} sheets")
    path = save(tmp_path_factory.mktemp("w"), "a.md", TEXT)
    assert len(other.encode()) == len(TEXT.encode())
    assert not agrees(path, cut(other, length, length // 4))


def test_order_counts_in_plain_text(tmp_path: Path) -> None:
    assert not agrees(save(tmp_path, "a.txt", "one two three four five six"), ["six five four three two one"])


@pytest.mark.parametrize("parts", [["word"], ["two words"], ["nothing of it", "at all"]])
def test_few_words_are_compared_too(tmp_path: Path, parts: list[str]) -> None:
    assert not agrees(save(tmp_path, "a.txt", "something else"), parts)
    assert agrees(save(tmp_path, "b.txt", " ".join(parts)), parts)


def test_a_second_text_is_compared_from_its_start(tmp_path: Path) -> None:
    matcher = read_matcher(save(tmp_path, "a.txt", TEXT))
    assert matcher is not None
    matcher.compare([TEXT[-300:], "something else entirely"])
    assert not matcher.agrees
    matcher.restart()
    matcher.compare(cut(TEXT, 500, 0))
    assert matcher.agrees


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_that_say_so_are_read(tmp_path: Path, encoding: str) -> None:
    assert agrees(save(tmp_path, "a.txt", TEXT.encode(encoding)), cut(TEXT, 400, 50))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pdf", b"%PDF-1.4 words"), ("a.png", b"words"), ("a.dat", b"a\0b"), ("a.txt", "é".encode("latin-1"))],
)
def test_what_cannot_be_read_is_not_compared(tmp_path: Path, name: str, content: bytes) -> None:
    assert agrees(save(tmp_path, name, content), ["words"]) is None


def test_markup_may_be_read_in_more_than_one_way(tmp_path: Path) -> None:
    page = "<html><head><title>Tea &amp; more</title></head><body><p>Steep <b>five</b> minutes, caf&eacute;</p></body>"
    path = save(tmp_path, "a.html", page)
    assert agrees(path, ["Tea & more Steep five minutes, café"])
    assert agrees(path, ["# Tea & more\n\nSteep **five** minutes, café"])
    assert not agrees(path, ["Coffee and less, boiled in ten seconds flat"])


def test_office_documents_are_compared_as_the_sandbox_reads_them(tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    document.add_heading("Brewing")
    paragraph = document.add_paragraph("Steep the le")
    paragraph.add_run("aves").bold = True
    document.add_table(1, 2).rows[0].cells[1].text = "ninety degrees"
    made = io.BytesIO()
    document.save(made)
    path = save(tmp_path, "a.docx", made.getvalue())
    assert agrees(path, [extracted(path, "docx")])
    assert not agrees(path, ["Baking Knead the dough two hundred degrees"])
    assert agrees(save(tmp_path, "b.docx", b"no zip at all"), ["words"]) is None


def test_a_cut_office_document_is_not_compared(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("word/document.xml", "<w:t>words</w:t>")
    assert agrees(save(tmp_path, "a.docx", made.getvalue()[:-30]), ["words"]) is None


def test_a_file_without_blanks_is_read_in_pieces(tmp_path: Path) -> None:
    content = "a,b;" * 2_000_000
    assert agrees(save(tmp_path, "a.csv", content), ["a,b;" * 500])


def test_marks_without_end_take_linear_time(tmp_path: Path) -> None:
    """What Python sorts in quadratic time: this would take an hour."""
    marks = "\u0301\u0323" * 1_000_000
    (tmp_path / "a.txt").write_text(f"cafe\u0301 a{marks} tea", encoding="utf-8")
    matcher = read_matcher(tmp_path / "a.txt")
    assert matcher is not None
    matcher.compare([f"caf\u00e9 a{marks}", "tea"])
    assert matcher.agrees
