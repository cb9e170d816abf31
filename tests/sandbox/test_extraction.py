"""Documents made to take all there is: each ends within its bounds, and the next one is read."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdall.sandbox.sandbox_errors import MachineTooSmall
from holdall.sandbox.server import Running
from holdall.sandbox.service.documents import ReadOutcome
from holdall.sandbox.service.extractor import Extractor
from tests.sandbox.test_documents import pdf
from tests.sandbox.wire import ask, upload
from tests.sweep import sweep
from tests.waiting import Child, until

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
LONG = 1_000_000


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    # What counts is processor time: no wait for a busy machine ends a document.
    with closing(Extractor(patience=3600)) as one:
        yield one


def read(extractor: Extractor, folder: Path, kind: str, data: bytes) -> tuple[ReadOutcome, str]:
    source, target = folder / f"document.{kind}", folder / "text"
    source.write_bytes(data)
    answered = extractor.extract(source, kind, target)
    assert target.exists() is (answered.outcome is ReadOutcome.READ)
    text = target.read_bytes() if target.exists() else b""
    assert len(text) == answered.text_bytes
    target.unlink(missing_ok=True)
    return answered.outcome, text.decode()


def package(part: str, *markup: str | bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for number, each in enumerate(markup, 1):
            made.writestr(part.format(number), each)
    return data.getvalue()


def word(body: str) -> bytes:
    return package("word/document.xml", f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>')


def pdf_of(stream: bytes, filters: bytes) -> bytes:
    """A PDF of one page that shows what is in the stream once it is unpacked."""
    made = pdf("x")
    start, end = made.index(b"<< /Length"), made.index(b"\nendstream")
    return made[:start] + b"<< /Length %d /Filter %b >>\nstream\n%b" % (len(stream), filters, stream) + made[end:]


def slow() -> bytes:
    """A PDF of 30 kB that takes a minute."""
    return pdf_of(zlib.compress(b"BT /F1 12 Tf " + b"(x) Tj " * 3_000_000, 9), b"/FlateDecode")


def lied_size(data: bytes) -> bytes:
    """A package whose directory says that its one member unpacks to ten bytes."""
    place = data.index(b"PK\x01\x02") + 24
    return data[:place] + (10).to_bytes(4, "little") + data[place + 4 :]


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zeros": ("docx", lambda: package("word/document.xml", bytes(64 << 20))),
    "paragraphs": ("docx", lambda: word("<w:p/>" * 5 * LONG)),
    "deep": ("docx", lambda: word("<w:x>" * LONG + "</w:x>" * LONG)),
    "a size that lies": ("docx", lambda: lied_size(package("word/document.xml", bytes(64 << 20)))),
    "many slides": ("pptx", lambda: package("ppt/slides/slide{}.xml", *[f"<a>{' ' * LONG}</a>"] * 100)),
    "entities": ("docx", lambda: package("word/document.xml", '<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>')),
    "stream in a stream": (
        "pdf",
        lambda: pdf_of(zlib.compress(zlib.compress(bytes(1 << 28), 9), 9), b"[/FlateDecode /FlateDecode]"),
    ),
    "nested lists": ("pdf", lambda: b"%PDF-1.4\n1 0 obj\n" + b"[" * LONG + b"\nendobj\nstartxref\n9\n%%EOF"),
    "long text": ("html", lambda: b"<p>" + b"x" * 21_000_000),
    "a number": ("html", lambda: b"<p>&#" + b"1" * LONG),
}


@sweep("bomb", BOMBS)
def test_what_unpacks_to_too_much_is_refused_and_the_next_is_read(
    extractor: Extractor, tmp_path: Path, bomb: str
) -> None:
    kind, data = BOMBS[bomb]
    assert read(extractor, tmp_path, kind, data())[0] in (ReadOutcome.TOO_LARGE, ReadOutcome.BROKEN)
    assert read(extractor, tmp_path, "docx", word("<w:p><w:r><w:t>Next.</w:t></w:r></w:p>")) == (
        ReadOutcome.READ,
        "Next.",
    )


PIECES = """
< <a </ <! <!-- <a¬b=' <a¬b='>=" <a¬= <script> <script></scripx <style/> <p> <template> </template> <a¬b=c> ]]> <?
<![CDATA[ & &abcdefghijklmnopqrstuvwxyz &#
"""


@sweep("piece", PIECES.split())
def test_any_page_is_read_in_linear_time(extractor: Extractor, tmp_path: Path, piece: str) -> None:
    # What took time by the square would run into its processor seconds, and be too large.
    outcome, _ = read(extractor, tmp_path, "html", piece.replace("¬", " ").encode() * (LONG // len(piece)))
    assert outcome in (ReadOutcome.READ, ReadOutcome.EMPTY)


def test_pages_as_people_write_them(extractor: Extractor, tmp_path: Path) -> None:
    page = """<!DOCTYPE html><!-- <p>no --><title>Tea &amp; more</title><SCRIPT>if (a < b) "</p>"</SCRIPT >
        <p title="a > b" class=it's>1 < 2 and a<b>c</b><br/>new <template><p>no</p></template>line
        <p data-x='>'>caf&eacute; &#x4e16;<style>p > a {}</style><a href=x>link"""
    assert read(extractor, tmp_path, "html", page.encode()) == (
        ReadOutcome.READ,
        "Tea & more\n1 < 2 and ac\nnew line\ncafé 世link",
    )


def test_office_documents_by_what_is_in_their_lines(extractor: Extractor, tmp_path: Path) -> None:
    def run(text: str) -> str:
        return f"<w:r><w:t>{text}</w:t></w:r>"

    cell = f"<w:tc><w:p>{run('one')}</w:p><w:p>{run('two')}</w:p></w:tc>"
    body = (
        f"<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr>{run('a')}<w:r><w:tab/><w:t>b</w:t><w:br/></w:r>{run('c')}</w:p>"
        f"<w:tbl><w:tr>{cell}<w:tc><w:tbl><w:tr>{cell}</w:tr></w:tbl></w:tc></w:tr></w:tbl>"
        f"<w:p>{run('end')}<w:r><w:drawing><w:p>{run('floating')}</w:p></w:drawing></w:r></w:p>"
    )
    assert read(extractor, tmp_path, "docx", word(body)) == (ReadOutcome.READ, "a\tb\nc\none\ntwo\tone\ntwo\nend")


def test_a_document_ends_with_its_processor_time(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no processor time is counted there")
    with closing(Extractor(seconds=1, patience=3600)) as extractor:
        assert read(extractor, tmp_path, "pdf", slow()) == (ReadOutcome.TOO_LARGE, "")
        assert read(extractor, tmp_path, "html", b"<p>Next.") == (ReadOutcome.READ, "Next.")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_document_ends_on_the_clock_where_no_processor_time_passes(tmp_path: Path) -> None:
    with closing(Extractor(patience=3600)) as extractor:
        assert read(extractor, tmp_path, "html", b"<p>First.") == (ReadOutcome.READ, "First.")
        assert extractor.pid is not None
        os.kill(extractor.pid, signal.SIGSTOP)
        extractor.patience = 0.01
        assert read(extractor, tmp_path, "html", b"<p>Second.") == (ReadOutcome.TOO_LARGE, "")
        extractor.patience = 3600
        assert read(extractor, tmp_path, "html", b"<p>Third.") == (ReadOutcome.READ, "Third.")


@pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")
def test_one_that_was_ended_by_others_is_started_again(tmp_path: Path) -> None:
    with closing(Extractor(patience=3600)) as extractor:
        assert read(extractor, tmp_path, "html", b"<p>First.") == (ReadOutcome.READ, "First.")
        pid = extractor.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        # All of its threads, and not only the first: before that, nobody is told that it has ended.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert read(extractor, tmp_path, "html", b"<p>Second.") == (ReadOutcome.READ, "Second.")


def test_one_that_can_not_start_is_no_fault_of_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "executable", shutil.which("false") or sys.executable)
    with closing(Extractor()) as extractor, pytest.raises(MachineTooSmall, match="does not start"):
        read(extractor, tmp_path, "html", b"<p>First.")


def test_it_sees_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-parsers")
    with closing(Extractor(patience=3600)) as extractor:
        read(extractor, tmp_path, "html", b"<p>First.")
        assert b"sk-not-for-parsers" not in Path(f"/proc/{extractor.pid}/environ").read_bytes()


def has_ended(pid: int) -> bool:
    """Whether there is no such process, or nothing of it but its exit code, which nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return Path("/proc/self/stat").exists()


BUSY = """
import sys, threading, time
from pathlib import Path
from holdall.sandbox.service.extractor import Extractor
extractor = Extractor(seconds=100_000, patience=1000)
arguments = (Path(sys.argv[1]), "pdf", Path(sys.argv[2]))
threading.Thread(target=extractor.extract, args=arguments, daemon=True).start()
while extractor.pid is None:
    time.sleep(0.01)
print(extractor.pid, flush=True)
time.sleep(100_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")
def test_it_ends_with_the_process_that_started_it_also_in_the_middle_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(slow())
    with Child([sys.executable, "-c", BUSY, tmp_path / "a.pdf", tmp_path / "text"]) as child:
        pid = int(child.until(lambda: child.out.strip()))
        child.process.kill()
        until(lambda: has_ended(pid))


def test_a_bomb_fails_in_its_store_and_the_sandbox_goes_on(box: Running) -> None:
    bomb = upload(box.url, "bomb.docx", package("word/document.xml", bytes(64 << 20))).json()
    page = upload(box.url, "page.html", b"<p>words").json()
    assert (bomb["status"], page["status"]) == ("processed", "processed")
    store = ask(box.url, "POST", "/vector_stores", {"file_ids": [bomb["id"], page["id"]]}).json()["id"]
    membership = ask(box.url, "GET", f"/vector_stores/{store}/files/{bomb['id']}").json()
    assert (membership["status"], membership["last_error"]["code"]) == ("failed", "invalid_file")
    content = ask(box.url, "GET", f"/vector_stores/{store}/files/{page['id']}/content").json()
    assert content["data"] == [{"type": "text", "text": "words"}]


def test_a_text_file_is_measured_in_pieces(box: Running) -> None:
    # A character that lies across two pieces, and one that makes the others four times as wide.
    text = "x" * ((1 << 20) - 1) + "é" + "x" * (1 << 20) + "🎉"
    file = upload(box.url, "a.txt", text.encode()).json()["id"]
    store = ask(box.url, "POST", "/vector_stores", {"file_ids": [file]}).json()["id"]
    membership = ask(box.url, "GET", f"/vector_stores/{store}/files/{file}").json()
    assert (membership["status"], membership["usage_bytes"]) == ("completed", len(text.encode()))
