"""Uploads and downloads: any name, any bytes, in whatever pieces they arrive."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.server import Running
from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.transfers import UploadForm
from tests.sandbox.wire import ask, form, upload
from tests.sweep import examples

NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\'), min_size=1, max_size=40)


@examples(100)
@given(name=NAMES, data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 700), max_size=6))
def test_a_form_in_any_pieces(name: str, data: bytes, cuts: list[int]) -> None:
    body, headers = form(name, data, purpose="vision")
    taken = UploadForm(headers["Content-Type"])
    places = [0, *sorted(cuts), len(body)]
    found = [piece for start, end in itertools.pairwise(places) for piece in taken.feed(body[start:end])]
    assert b"".join(found) == data
    assert (taken.filename, taken.fields, taken.is_complete) == (name, {"purpose": "vision"}, True)


def test_quotes_and_backslashes_of_a_filename() -> None:
    body, headers = form(r"a\"b\\c%22.txt", b"")
    taken = UploadForm(headers["Content-Type"])
    taken.feed(body)
    assert taken.filename == r'a"b\c%22.txt'


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data", "application/json; boundary=x"])
def test_what_is_no_form(content_type: str) -> None:
    with pytest.raises(ApiError):
        UploadForm(content_type)


def test_a_form_that_breaks_its_own_rules() -> None:
    body, headers = form("a.txt", b"x")
    with pytest.raises(ApiError):
        UploadForm(headers["Content-Type"]).feed(b"nonsense" + body)
    with pytest.raises(ApiError):
        UploadForm(headers["Content-Type"]).feed(form("a.txt", b"", purpose="x" * 70_000)[0])


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 5_000_001])
def test_bytes_come_back_as_they_went(box: Running, size: int) -> None:
    data = os.urandom(size)
    made = upload(box.url, "a.png", data, purpose="vision").json()
    answer = ask(box.url, "GET", f"/files/{made['id']}/content")
    assert answer.body == data
    assert answer.headers["content-length"] == str(size) == str(made["bytes"])
    assert answer.headers["content-type"] == "application/octet-stream"


def test_a_deleted_file_leaves_no_bytes(box: Running) -> None:
    made = upload(box.url, "a.html", b"<p>text</p>").json()
    folder = box.data / "blobs"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    ask(box.url, "DELETE", f"/files/{made['id']}")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_refused_upload_leaves_no_bytes(box: Running) -> None:
    assert upload(box.url, "a.exe", b"x" * 3_000_000).status == 400
    assert [path for path in box.data.rglob("*") if path.parent.name in ("incoming", "blobs")] == []


@pytest.mark.parametrize("size", [100, 2_500_000])
def test_a_part_of_a_file(box: Running, size: int) -> None:
    data = os.urandom(size)
    place = f"/files/{upload(box.url, 'a.png', data, purpose='vision').json()['id']}/content"
    whole = ask(box.url, "GET", place)
    etag = whole.headers["etag"]
    for same in ({}, {"If-Range": etag}):
        part = ask(box.url, "GET", place, headers={"Range": "bytes=40-", **same})
        assert (part.status, part.body) == (206, data[40:])
        assert part.headers["content-range"] == f"bytes 40-{size - 1}/{size}"
    for other in ({"Range": "bytes=40-", "If-Range": '"other"'}, {"Range": "bytes=5-9"}, {"Range": "nonsense"}):
        answer = ask(box.url, "GET", place, headers=other)
        assert (answer.status, answer.body) == (200, data)
    refused = ask(box.url, "GET", place, headers={"Range": f"bytes={size}-"})
    assert (refused.status, refused.headers["content-range"]) == (416, f"bytes */{size}")
    box.behave(serve_ranges=False)
    answer = ask(box.url, "GET", place, headers={"Range": "bytes=40-"})
    assert (answer.status, answer.body, "etag" in answer.headers) == (200, data, False)
