"""Everything that is printed passes here: to which stream, escaped, as lines or as a JSON document.

Results go to stdout, everything else to stderr. With ``--json`` stdout holds exactly one JSON document, also on
failure. Names and messages come from servers and bundles, so every line passes ``printable`` on its way out.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from holdall.cli.progress_meter import ProgressLines
from holdall.errors import EXIT_DONE, EXIT_LOOK, HoldallError, Interrupted
from holdall.legible import counted, flat, human_size, json_printable, printable, wrapped
from holdall.progress import Progress, Silent

if TYPE_CHECKING:
    from holdall.cli.progress_bar import ProgressBar

__all__ = ["JSON_SCHEMA", "Console", "Outcome", "counted", "fitting", "flat", "human_size", "printable"]

JSON_SCHEMA = "holdall/1"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ends. ``--json`` prints ``result`` and ``losses``; both must be JSON-able."""

    exit_code: int = 0
    result: dict[str, Any] = {}
    losses: list[Any] = []


# Pieces of a document, a value or less each, that are written at once.
_AT_ONCE = 10_000
# Characters of a line on stderr: a name may have megabytes.
_LONGEST = 4000
# Columns of a line where no terminal says how many it has.
_COLUMNS = 100
_GREEN, _YELLOW, _RED, _PLAIN = "\x1b[1;32m", "\x1b[1;33m", "\x1b[1;31m", "\x1b[0m"
# Of lines that begin with the sign of a change; not bold as the verdict is.
_SIGNS = {"+": "\x1b[32m", "~": "\x1b[33m", "-": "\x1b[31m", "!": "\x1b[31m"}
# How many losses, or differences, --json lists.
_LISTED = 2000


def fitting(text: str, stream: TextIO) -> str:
    """``text`` in the stream's encoding: a terminal that isn't UTF-8 must not turn a file name into a traceback."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _described(error: HoldallError) -> dict[str, Any]:
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def _listed(name: str, values: list[Any]) -> dict[str, Any]:
    """The first of a list, and its length where that isn't all: a reader of the document must be able to hold it."""
    more = {f"{name}_total": len(values)} if len(values) > _LISTED else {}
    return {name: values[:_LISTED], **more}


class Console:
    """stdout, stderr and the output mode of one run of the program."""

    def __init__(
        self, *, stdout: TextIO | None = None, stderr: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.json = False
        self.quiet = False
        self.verbose = False
        # auto, always or never, as --color takes it.
        self.color = "auto"
        self.command: str | None = None
        # The words of the command line, for the commands that may follow it.
        self.typed: list[str] = []
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self._clock = clock
        self._warned: set[str] = set()
        # A bar needs a terminal that can move its cursor.
        self._draws = self.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: ProgressBar | None = None
        self._is_written = False

    def result(self, text: str = "") -> None:
        """A line of the result, on stdout; nothing under ``--json``, where the document is the result."""
        if not self.json:
            self._write(self.stdout, text)

    def path(self, text: str) -> None:
        """As ``result``, on one line however long: a path or a command is copied, or read by a program."""
        if not self.json:
            self._write(self.stdout, text, wrap=False)

    def help(self, text: str) -> None:
        """How the program is called, on stdout, also under ``--json``."""
        self._put(self.stdout, text)

    def say(self, text: str = "") -> None:
        """A line about the progress, on stderr; not with ``--quiet``."""
        if not self.quiet:
            self.warn(text)

    def detail(self, text: str) -> None:
        """A line that only ``--verbose`` prints, on stderr."""
        if self.verbose:
            self.say(text)

    def verdict(self, text: str, exit_code: int, *, result: bool = False) -> None:
        """The verdict in the colour of its exit code: on stdout where it is the command's result, else on stderr."""
        color = _GREEN if exit_code == EXIT_DONE else _YELLOW if exit_code == EXIT_LOOK else _RED
        if not (result and self.json):
            self._write(self.stdout if result else self.stderr, text, color=color)

    def change(self, text: str, *, result: bool = False) -> None:
        """A line that begins with the sign of a change, in its colour: on stdout as a result, else as ``warn``."""
        color = _SIGNS.get(text.lstrip()[:1], "")
        if not result:
            self.warn(text, color=color)
        elif not self.json:
            self._write(self.stdout, text, color=color)

    def type_next(self, command: str) -> None:
        """A command to type next, on stderr, on one line so that it can be pasted; not with ``--quiet``."""
        self.verbatim(f"Next: {command}")

    def verbatim(self, text: str) -> None:
        """As ``say``, on one line however long."""
        if not self.quiet:
            self._write(self.stderr, text, wrap=False)

    @property
    def columns(self) -> int:
        """Columns of a line on stderr."""
        return self._width(self.stderr) or _COLUMNS

    @property
    def result_columns(self) -> int | None:
        """Columns of a line on stdout; None where lines aren't broken."""
        return self._width(self.stdout)

    def warn(self, text: str, *, color: str = "") -> None:
        """A line that must be seen, on stderr, also with ``--quiet``. A name in it may be of any length."""
        rest = len(text) - _LONGEST
        self._write(self.stderr, text if rest <= 0 else f"{text[:_LONGEST]}… ({rest} more characters)", color=color)

    def warn_once(self, text: str) -> None:
        """As ``warn``, but each line only once."""
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    def progress(self) -> Progress:
        """What the engines report to: a bar on a terminal, sparse lines elsewhere, nothing with ``--quiet``."""
        if self.quiet:
            return Silent()
        if self._draws:
            from holdall.cli.progress_bar import ProgressBar  # tqdm takes longer to import than --help may take

            self._bar = self._bar or ProgressBar(self.stderr, self.say, self._clock)
            return self._bar
        return ProgressLines(self.say, self._clock)

    def close_progress(self) -> None:
        """Take the bar off the screen; called before the last lines are printed."""
        if self._bar:
            self._bar.close()

    def confirm(self, question: str) -> bool:
        """Ask on stderr; no where nothing is typed. Raises click.Abort for Ctrl-C, also out of a running event loop."""
        with on_signal(signal.SIGINT, signal.default_int_handler):
            return click.confirm(question, default=False, err=True)

    def fresh_line(self) -> None:
        """After Ctrl-C: blank the ^C that a terminal has printed where the next line begins."""
        if self._draws:
            self._put(self.stderr, f"\r{' ' * 8}\r", end="")

    def finish(self, outcome: Outcome) -> int:
        """Print the document if ``--json`` asks for it, and return the exit code.

        Only the first call prints. A command that serves until it is stopped calls it when it begins."""
        self.close_progress()
        if self.json:
            self._document(outcome.exit_code, outcome.result, outcome.losses, None)
        return outcome.exit_code

    def fail(self, error: HoldallError, exit_code: int | None = None) -> int:
        """Print one error with its hint, and return its exit code."""
        self.close_progress()
        if isinstance(error, Interrupted):
            self.fresh_line()
        code = error.exit_code if exit_code is None else exit_code
        errors = error.mistakes or [error]
        for each, following in zip(errors, [*(other.hint for other in errors[1:]), ""], strict=True):
            self._write(self.stderr, f"Error: {each.message}")
            # One hint that is about several stands below the last of them.
            for line in f"hint: {each.hint}".split("\n") if each.hint and each.hint != following else ():
                self._write(self.stderr, line)
        if self.json:
            described = _described(error)
            if error.mistakes:
                described["mistakes"] = [_described(each) for each in error.mistakes]
            # Fields that only some errors have.
            for field in ("status", "code", "request_id", "entry", "differences", "losses"):
                value = getattr(error, field, None)
                if value is not None:
                    described |= _listed(field, value) if isinstance(value, list) else {field: value}
            self._document(code, None, [], described)
        return code

    def _document(self, exit_code: int, result: object, losses: list[Any], error: Mapping[str, Any] | None) -> None:
        if self._is_written:
            return
        self._is_written = True
        document = {
            "schema": JSON_SCHEMA,
            "command": self.command,
            "ok": exit_code == 0,
            "exit_code": exit_code,
            "result": result,
            **_listed("losses", losses),
            "error": error,
        }
        # In pieces, as it may be long. What can't be printed or encoded has an escape of JSON's own inside its strings.
        is_plain = not codecs.lookup(self.stdout.encoding or "utf-8").name.startswith("utf")
        import json

        pieces = json.JSONEncoder(indent=2, ensure_ascii=is_plain, default=msgspec.to_builtins).iterencode(document)
        while some := "".join(islice(pieces, _AT_ONCE)):
            self._put(self.stdout, json_printable(some), end="")
        self._put(self.stdout, "")

    def _write(self, stream: TextIO, text: str, *, wrap: bool = True, color: str = "") -> None:
        # A name with a line end in it must not look like two lines.
        safe = printable(text).replace("\n", "\\n")
        lines = wrapped(safe, self._width(stream)) if wrap else [safe]
        if color and self._colors(stream):
            lines = [f"{color}{line}{_PLAIN}" for line in lines]
        with self._bar.aside() if self._bar else nullcontext():
            self._put(stream, "\n".join(lines))

    def _width(self, stream: TextIO) -> int | None:
        """Columns of a line; None where nothing is broken: results that a program may read."""
        if stream.isatty():
            import shutil

            return shutil.get_terminal_size().columns
        try:
            # Only a stream of the process has a reader that can be asked to take a hundred columns.
            stream.fileno()
        except (OSError, AttributeError, ValueError):
            return None
        columns = os.environ.get("COLUMNS", "")
        return None if stream is self.stdout else int(columns) if columns.isdecimal() and int(columns) else _COLUMNS

    def _colors(self, stream: TextIO) -> bool:
        if self.color == "auto":
            return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
        return self.color == "always"

    @staticmethod
    def _put(stream: TextIO, text: str, end: str = "\n") -> None:
        # Flushed, so that a pipe or a log shows each line immediately.
        print(fitting(text, stream), end=end, file=stream, flush=True)


@contextmanager
def on_signal(number: int, handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Handle a signal with ``handler`` while the block runs."""
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
