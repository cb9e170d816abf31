"""Makes stdin, stdout and stderr usable: they may be closed, unread, on a full disk, or in any encoding.

What can't be written to stderr is dropped, and the work goes on. Stdout has the result: the first failed write raises,
later ones are dropped.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

from holdall.errors import CannotWrite


class _Stderr(io.FileIO):
    """Standard error. Never raises."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


class _Stdout(io.FileIO):
    """Standard output. Raises CannotWrite, and BrokenPipeError where the reader went away."""

    _lost = False

    def write(self, data: Any) -> int:
        if self._lost:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._lost = True
            # A pipe without a reader, in the words of POSIX and of Windows.
            if isinstance(error, BrokenPipeError) or (error.errno == errno.EINVAL and sys.platform == "win32"):
                raise BrokenPipeError from None
            raise CannotWrite(
                f"can't write to standard output: {'it is closed' if error.errno == errno.EBADF else error.strerror}",
                hint="free disk space, then run the same command again" if error.errno == errno.ENOSPC else "",
            ) from None


def repair() -> None:
    """Make ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` usable whatever this process was started with.

    Of those that are closed the numbers are taken, or the next file that is opened would get them, and with it all
    that is meant for the stream.
    """
    # From what is open for reading nothing more can be read than its end; to it nothing can be written.
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _text(sys.stdout, _Stdout, 1)
    sys.stderr = _text(sys.stderr, _Stderr, 2)


def _text(stream: TextIO | None, raw: type[io.FileIO], number: int) -> TextIO:
    if sys.platform == "win32" and stream is not None and stream.isatty():  # a console there isn't a file
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream
    encoding = getattr(stream, "encoding", None) or "utf-8"
    file = io.BufferedWriter(raw(number, "w", closefd=False))
    return io.TextIOWrapper(file, encoding=encoding, errors="backslashreplace", line_buffering=True)
