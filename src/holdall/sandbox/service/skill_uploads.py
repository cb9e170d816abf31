"""Skills on their way in and out: a zip, or the files of a folder one by one, in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdall.sandbox.service import serve_skills
from holdall.sandbox.service.api_errors import invalid, missing_parameter
from holdall.sandbox.service.blobs import Incoming
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.skill_archives import (
    MAX_ZIP,
    SkillFile,
    SkillText,
    check_files,
    pack,
    packed_anew,
    read_zip,
)
from holdall.sandbox.service.transfers import UploadForm, bytes_of, receive

# One zip or file comes as the first, a list of them as the second.
_FILES = ("files", "files[]")


async def create(request: Request, call: Call) -> dict[str, Any]:
    """Receive a skill with its first version."""
    blob, text, _ = await _received(request, call, ())
    return await _recorded(call, blob, serve_skills.add, text)


async def create_version(request: Request, call: Call) -> dict[str, Any]:
    """Receive one more version of a skill."""
    blob, text, fields = await _received(request, call, ("default",))
    return await _recorded(call, blob, serve_skills.add_version, text, _is_default(fields))


async def _recorded(call: Call, blob: str, add: Any, *args: object) -> dict[str, Any]:
    made: dict[str, Any]
    try:
        made = await call.service.writing(add, call, blob, *args)
    except BaseException:
        call.service.blobs.remove(blob)
        raise
    return made


def _is_default(fields: dict[str, str]) -> bool | None:
    given = fields.get("default")
    if given not in (None, "true", "false"):
        raise invalid(
            "Invalid type for 'default': expected a boolean, but got a string instead.", "default", "invalid_type"
        )
    return None if given is None else given == "true"


async def _received(request: Request, call: Call, allowed: tuple[str, ...]) -> tuple[str, SkillText, dict[str, str]]:
    """The blob of a zip, what its SKILL.md says, and the form's other fields."""
    service = call.service
    form = UploadForm(request.headers.get("content-type", ""), _FILES)
    incoming = service.blobs.incoming()
    try:
        rest = await receive(request, call, form, incoming, limit=MAX_ZIP)
        for name in form.fields:
            if name not in allowed:
                raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        if not form.parts:
            raise missing_parameter("files")
        _is_default(form.fields)
        blob, text = await service.reading(_kept, call, incoming, rest, form.parts)
    except BaseException:
        incoming.drop()
        raise
    return blob, text, form.fields


def _kept(call: Call, incoming: Incoming, rest: bytes, parts: list[tuple[str, int]]) -> tuple[str, SkillText]:
    """Keep what came as one zip: as it is, or packed here. What is kept besides is removed by whoever called."""
    incoming.write(rest)
    incoming.close()
    blobs = call.service.blobs
    with incoming.path.open("rb") as source:
        if len(parts) == 1 and (parts[0][0].lower().endswith(".zip") or source.read(2) == b"PK"):
            text = read_zip(incoming.path)
            return blobs.keep(incoming), text
        source.seek(0)
        files = [SkillFile(path=path, size=size) for path, size in parts]
        check_files(files)
        packed = blobs.incoming()
        try:
            pack(files, source, packed.path)
            text = read_zip(packed.path)
            blob = blobs.keep(packed)
        except BaseException:
            packed.drop()
            raise
    incoming.drop()
    return blob, text


async def download(request: Request, call: Call) -> Response:
    """A version's zip as it was uploaded, or packed again if the behaviour says so."""
    service = call.service
    row = await service.reading(serve_skills.downloadable, call)
    path = service.blobs.path(row["blob"])
    if service.behaviour.skill_zips_repacked:
        path = await service.reading(_packed_anew, call, row["blob"])
    return await bytes_of(request, call, path, f"{row['name']}.zip", media_type="application/binary")


def _packed_anew(call: Call, blob: str) -> Path:
    blobs = call.service.blobs
    made = blobs.made_path(blob)
    if not made.exists():
        passing = blobs.incoming()
        try:
            packed_anew(blobs.path(blob), passing.path)
            blobs.keep_made(blob, passing.path)
        except BaseException:
            passing.drop()
            raise
    return made
