"""Text comes out of every kind of document that a vector store takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docx
import pytest

from holdall.sandbox.service.blobs import Blobs
from holdall.sandbox.service.document_check import CheckedDocument, examine, text_of
from holdall.sandbox.service.documents import RETRIEVABLE, UPLOADABLE, extension
from holdall.sandbox.service.extractor import Extractor


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with closing(Extractor()) as one:
        yield one


def kept(blobs: Blobs, data: bytes) -> str:
    incoming = blobs.incoming()
    incoming.write(data)
    return blobs.keep(incoming)


def read(blobs: Blobs, filename: str, data: bytes, extractor: Extractor) -> str:
    name = kept(blobs, data)
    examined = examine(blobs, name, filename, extractor)
    assert examined.code is None, examined
    text = text_of(blobs, name, filename)
    assert examined.text_bytes == len(text.encode())
    return text


def pdf(*pages: str) -> bytes:
    """A PDF with one line of Latin text a page, as small as the format allows."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for page in pages:
        stream = b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % page.encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources << /Font << /F1 "
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>" % len(objects)
        )
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (
        len(kids),
        b" ".join(b"%d 0 R" % kid for kid in kids),
    )
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


@pytest.mark.parametrize("kind", sorted(RETRIEVABLE - {"pdf", "docx", "pptx", "html", "doc"}))
def test_text_is_its_own_text(blobs: Blobs, extractor: Extractor, kind: str) -> None:
    assert read(blobs, f"file.{kind}", "Grüße, 世界\n".encode(), extractor) == "Grüße, 世界\n"


def test_byte_order_marks(blobs: Blobs, extractor: Extractor) -> None:
    assert read(blobs, "a.txt", "été".encode("utf-8-sig"), extractor) == "été"
    assert read(blobs, "a.txt", "été".encode("utf-16"), extractor) == "été"


def test_pdf(blobs: Blobs, extractor: Extractor) -> None:
    text = read(blobs, "a.PDF", pdf("The first page", "The second page"), extractor)
    assert [line for line in text.split("\n") if line] == ["The first page", "The second page"]


def test_docx(blobs: Blobs, extractor: Extractor) -> None:
    document = docx.Document()
    document.add_heading("A title", 1)
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    document.add_paragraph("The end.")
    data = io.BytesIO()
    document.save(data)
    assert read(blobs, "a.docx", data.getvalue(), extractor) == "A title\nleft\tright\nThe end."


def test_pptx(blobs: Blobs, extractor: Extractor) -> None:
    data = io.BytesIO()
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    with zipfile.ZipFile(data, "w") as package:
        for number in (10, 2):
            run = f'<s xmlns:a="{drawing}"><a:p><a:r><a:t>Slide </a:t></a:r><a:r><a:t>{number}</a:t></a:r></a:p></s>'
            package.writestr(f"ppt/slides/slide{number}.xml", run)
    assert read(blobs, "a.pptx", data.getvalue(), extractor) == "Slide 2\nSlide 10"


def test_html(blobs: Blobs, extractor: Extractor) -> None:
    page = b"<html><head><title>T</title><style>p {}</style></head><body><p>Fish &amp;  chips<br>now</p>"
    assert read(blobs, "a.html", page + b"<script>never()</script><ul><li>one<li>two</ul>", extractor) == (
        "T\nFish & chips\nnow\none\ntwo"
    )


def test_what_no_store_takes_is_not_read(blobs: Blobs, extractor: Extractor) -> None:
    assert examine(blobs, kept(blobs, b"\xff"), "a.png", extractor) == CheckedDocument()
    assert RETRIEVABLE < UPLOADABLE


def test_too_many_tokens(blobs: Blobs, extractor: Extractor) -> None:
    assert examine(blobs, kept(blobs, b"word " * 4_000_001), "a.txt", extractor).message == (
        "The file could not be parsed because it is too large."
    )


def test_extension() -> None:
    assert [extension(name) for name in ("a.TXT", "a.tar.gz", "README", ".env", "a.")] == ["txt", "gz", "", "env", ""]
