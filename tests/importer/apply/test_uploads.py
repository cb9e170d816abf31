"""Names of uploads, and a stream that tells its progress once however often it is read."""

from __future__ import annotations

import io

import pytest

from holdall.importer.apply.uploads import _Watched, upload_names
from holdall.importer.plan.bundle_summary import Content
from holdall.model import Fidelity, SourceId


@pytest.mark.parametrize(
    ("name", "fidelity", "exact", "used"),
    [
        ("a.md", Fidelity.ORIGINAL, False, "a.md"),
        ("a.md", Fidelity.TEXT, True, "a.md"),
        ("a.md", Fidelity.TEXT, False, "a.md.txt"),
        ("a.pdf", Fidelity.TEXT, True, "a.pdf.txt"),
        ("a.pdf", Fidelity.SUPPLIED, False, "a.pdf"),
        (None, Fidelity.TEXT, False, "file_1.txt"),
        (None, Fidelity.ORIGINAL, False, "file_1"),
    ],
)
def test_the_name_says_whether_it_is_the_file(name: str | None, fidelity: Fidelity, exact: bool, used: str) -> None:
    assert upload_names(Content(id=SourceId("file_1"), filename=name, fidelity=fidelity), exact=exact)[0] == used


def test_a_stream_that_is_read_again_is_counted_once() -> None:
    told: list[int] = []
    stream = _Watched(io.BytesIO(b"x" * 1000), told.append)
    assert stream.seek(0, io.SEEK_END) == 1000
    assert stream.tell() == 1000
    for _ in range(2):
        stream.seek(0)
        while stream.read(300):
            pass
    assert sum(told) == 1000
    assert stream.seekable()
    assert stream.readable()
