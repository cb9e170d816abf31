"""The bytes of one download into a sink, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from holdall.errors import RequestRefused, Unreachable
from holdall.progress import Progress
from holdall.remote.client import Download
from holdall.remote.limits import Limits

__all__ = ["Sink", "transfer"]


class Sink(Protocol):
    """Where one content goes while it arrives; nothing of it is kept unless it is committed."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def abort(self) -> None: ...


async def transfer(
    begin: Callable[[], AbstractAsyncContextManager[Download]],
    open_sink: Callable[[], Sink],
    *,
    what: str,
    limits: Limits,
    progress: Progress,
    expected: int | None = None,
) -> int:
    """Put a body into a new sink, commit it, and return its size in bytes; a body that breaks off is begun again.

    Where the size is ``expected`` and another comes, nothing is kept and RequestRefused is raised. ``what`` begins its
    message: ``can't download file x``.
    """
    attempt = 1
    while True:
        sink, size, opened = open_sink(), 0, False
        try:
            async with begin() as download:
                opened = True
                async for chunk in download.chunks():
                    await asyncio.to_thread(sink.write, chunk)
                    size += len(chunk)
                    progress.advance(bytes=len(chunk))
                if download.length is not None and size != download.length:
                    raise Unreachable(f"{what}: {size} of {download.length} bytes came")
            if expected is not None and size != expected:
                said = f"{size} bytes came, and the file has {expected}"
                raise RequestRefused(f"{what}: {said}", detail=said)
            await asyncio.to_thread(sink.commit)
            return size
        except BaseException as error:
            sink.abort()
            progress.advance(bytes=-size)
            # Until the answer begins the client has retried already; what breaks off later is retried here.
            if not isinstance(error, Unreachable) or not opened:
                raise
            wait = limits.wait(error, attempt, repeatable=True)
            if wait is None:
                raise
        attempt += 1
        await limits.sleep(wait)
