"""The bytes of files, in and out, in pieces: nothing of a file is held longer than it takes to pass it on."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from holdall.sandbox.service import container_files, serve_files
from holdall.sandbox.service.api_errors import ApiError, invalid, missing_parameter
from holdall.sandbox.service.blobs import Incoming
from holdall.sandbox.service.document_check import CheckedDocument, examine
from holdall.sandbox.service.documents import EXTRACTED, extension
from holdall.sandbox.service.service import Call

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


# Bytes that are handed to the disk at once.
_PIECE = 1024 * 1024

# The longest form field other than the file, and all that a form has besides it.
_FIELD = 64 * 1024
_BESIDES = 1024 * 1024


class UploadForm:
    """A multipart form with one file or several, taken apart as it arrives.

    ``feed`` gives back the files' bytes of that piece, one after the other; all other fields are collected.
    """

    def __init__(self, content_type: str, files: tuple[str, ...] = ("file",)) -> None:
        """``files`` are the names of the fields that are files."""
        kind, options = parse_options_header(content_type.encode("latin-1"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise invalid(f"Invalid '{files[0]}': expected a multipart/form-data upload.", files[0])
        self.fields: dict[str, str] = {}
        self.parts: list[tuple[str, int]] = []
        """Filename and size of each file, in the order in which they came."""
        self.files = files
        self._name = ""
        self._is_file = False
        self._header_name = b""
        self._header_value = b""
        self._value = bytearray()
        self._found: list[bytes] = []
        self.is_complete = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_text,
            "on_header_end": self._header_end,
            "on_end": self._end,
        }
        self._besides = 0
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise invalid("Could not parse multipart form", None) from None

    @property
    def filename(self) -> str | None:
        """The name of the file; of several, of the last."""
        return self.parts[-1][0] if self.parts else None

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the files that are in ``data``. Raises the refusal of a form that can't be read."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise invalid("Could not parse multipart form", None) from None
        found, self._found = self._found, []
        self._besides += len(data) - sum(map(len, found))
        if self._besides > _BESIDES:
            raise invalid("Could not parse multipart form", None)
        return found

    def _part_begin(self) -> None:
        self._name, self._is_file = "", False
        self._value.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            value = self._header_value.decode("utf-8", "replace")
            self._name = _parameter(value, "name") or ""
            filename = _parameter(value, "filename")
            if self._name in self.files and filename is not None:
                self._is_file = True
                self.parts.append((filename, 0))
        self._header_name = self._header_value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._found.append(data[start:end])
            filename, size = self.parts[-1]
            self.parts[-1] = filename, size + end - start
            return
        self._value += data[start:end]
        if len(self._value) > _FIELD:
            raise invalid(f"Invalid '{self._name}': string too long.", self._name, "string_above_max_length")

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.is_complete = True


def _parameter(header: str, name: str) -> str | None:
    """A quoted parameter of a header, its backslashes undone; percent signs are part of it."""
    found = re.search(rf'(?:^|;)\s*{name}="((?:[^"\\]|\\.)*)"', header)
    if found:
        return re.sub(r"\\(.)", r"\1", found[1])
    found = re.search(rf"(?:^|;)\s*{name}=([^;\s]+)", header)
    return found[1] if found else None


async def upload(request: Request, call: Call) -> dict[str, Any]:
    """Receive one file. Its blob is in place before its record is made; either of them alone is invisible."""
    service = call.service
    form = UploadForm(request.headers.get("content-type", ""))
    incoming = service.blobs.incoming()
    try:
        rest = await receive(request, call, form, incoming, limit=call.service.behaviour.max_file_bytes)
        checked = serve_files.check_upload(form.fields, form.filename, call.service.behaviour.oddities)
        run = service.extracting if extension(checked.filename) in EXTRACTED else service.reading
        blob, examined = await run(_kept, call, incoming, rest, checked.filename)
    except BaseException:
        incoming.drop()
        raise
    return await service.writing(serve_files.add, call, checked, blob, incoming.size, examined)


async def upload_to_container(request: Request, call: Call) -> dict[str, Any]:
    """Receive one file that belongs to a container and to nothing else."""
    service = call.service
    form = UploadForm(request.headers.get("content-type", ""))
    incoming = service.blobs.incoming()
    try:
        incoming.write(await receive(request, call, form, incoming, limit=call.service.behaviour.max_file_bytes))
        if form.filename is None:
            raise missing_parameter("file")
        blob = await service.reading(service.blobs.keep, incoming)
    except BaseException:
        incoming.drop()
        raise
    try:
        return await service.writing(container_files.add, call, blob, form.filename, incoming.size)
    except ApiError:
        service.blobs.remove(blob)
        raise


async def receive(request: Request, call: Call, form: UploadForm, incoming: Incoming, *, limit: int) -> bytes:
    """Write what arrives but for the last piece, which is given back; refuse files of more than ``limit`` bytes."""
    service = call.service
    waiting = bytearray()
    received = 0
    async for piece in request.stream():
        for data in form.feed(piece):
            received += len(data)
            waiting += data
        if received > limit:
            raise ApiError(
                413,
                f"File is too large. Maximum file size is {limit // (1024 * 1024)} MB.",
                param=form.files[0],
                code="file_too_large",
            )
        if len(waiting) >= _PIECE:
            await service.reading(incoming.write, bytes(waiting))
            waiting.clear()
    if not form.is_complete:
        raise invalid("Could not parse multipart form", None)
    return bytes(waiting)


def _kept(call: Call, incoming: Incoming, rest: bytes, filename: str) -> tuple[str, CheckedDocument]:
    blobs = call.service.blobs
    incoming.write(rest)
    name = blobs.keep(incoming)
    return name, examine(blobs, name, filename, call.service.extractor)


async def download(request: Request, call: Call) -> Response:
    """The bytes of a file as they were uploaded."""
    row = await call.service.reading(serve_files.downloadable, call)
    return await bytes_of(request, call, call.service.blobs.path(row["blob"]), row["filename"])


async def download_from_container(request: Request, call: Call) -> Response:
    """The bytes of a container's file."""
    row = await call.service.writing(container_files.downloadable, call)
    return await bytes_of(request, call, call.service.blobs.path(row["blob"]), row["path"].rpartition("/")[2])


async def bytes_of(
    request: Request, call: Call, path: Path, filename: str, *, media_type: str = "application/octet-stream"
) -> Response:
    """The bytes of a blob, or from where they were asked for; ``filename`` is what the client may call them."""
    service = call.service
    headers = {"content-disposition": f'attachment; filename="{_plain(filename)}"'}
    source: BinaryIO = await service.reading(open, path, "rb")
    size, start, status = os.fstat(source.fileno()).st_size, 0, 200
    if service.behaviour.serve_ranges:
        headers |= {"accept-ranges": "bytes", "etag": f'"{path.name}"'}
        start = _start(request, headers["etag"])
        if start >= size > 0 or start > size:
            source.close()
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        if start:
            status, headers["content-range"] = 206, f"bytes {start}-{size - 1}/{size}"
    source.seek(start)
    if size - start <= _PIECE:
        with source:
            return Response(await service.reading(source.read), status, headers=headers, media_type=media_type)

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while piece := await service.reading(source.read, _PIECE):
                yield piece
        finally:
            source.close()

    headers["content-length"] = str(size - start)
    return StreamingResponse(pieces(), status, headers=headers, media_type=media_type)


def _start(request: Request, etag: str) -> int:
    """Where the part begins that was asked for, of the one form that goes on to the end; 0 for the whole."""
    found = re.fullmatch(r"bytes=(\d{1,18})-", request.headers.get("range", ""))
    return int(found[1]) if found and request.headers.get("if-range", etag) == etag else 0


def _plain(filename: str) -> str:
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "_" for char in filename)
