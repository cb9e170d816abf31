"""Every error that holdall raises on purpose, and the exit code that each one ends in.

The tree is the documentation: a class per thing that can stop the work. A message reads
``<what failed> <which thing>: <why>``; the hint, if any, names the way out, with the exact flag.
Findings, losses and differences are values, not errors: an error is only what stops the work.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar


def pasteable(word: object) -> str:
    """``word``, usually a path, quoted so that a hint's command can be pasted into a shell."""
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline([str(word)])
    return shlex.quote(str(word))


@contextmanager
def one_error() -> Iterator[None]:
    """The one error of a task group's ExceptionGroup that a caller can act upon."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group.subgroup(HoldallError) or group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[-1]
        raise error from None


# Two errors with the same message are two errors, and an exception must be hashable.
@dataclass(eq=False, repr=False)
class HoldallError(Exception):
    """Base of all. ``message`` is one sentence, ``hint`` the way out or ``""``.

    ``mistakes`` are the errors that this one reports together, each with its own message and hint; mostly none.
    """

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "other failure"

    message: str
    _: KW_ONLY
    hint: str = ""
    mistakes: list[HoldallError] = field(default_factory=list)


class UsageFault(HoldallError):
    """An invalid flag, variable or selection, found after the command line was parsed."""

    exit_code = 2
    meaning = "usage: wrong flag, setting or selection"


class NothingThere(UsageFault):
    """A project or a bundle is empty, or has nothing that fits a pattern of the selection."""


class MissingExtra(UsageFault):
    """A command needs packages of an extra that isn't installed."""


class Mistakes:
    """Collects errors of the user's input, to report them together."""

    def __init__(self) -> None:
        self._found: dict[str, HoldallError] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, error: HoldallError) -> None:
        """Note one; what was said already is not said twice."""
        for each in error.mistakes or [error]:
            self._found.setdefault(each.message, each)

    def usage(self, message: str, *, hint: str = "") -> None:
        """Note a UsageFault."""
        self.add(UsageFault(message, hint=hint))

    def __iter__(self) -> Iterator[HoldallError]:
        return iter(self._found.values())

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the block's error, and continue after the block."""
        try:
            yield
        except HoldallError as error:
            self.add(error)

    def raise_all(self) -> None:
        """Raise what was noted: a single error as it is, several as one of their class or as UsageFault."""
        found = list(self._found.values())
        if not found:
            return
        if len(found) == 1:
            raise found[0] from None
        classes = {type(error) for error in found}
        raise (classes.pop() if len(classes) == 1 else UsageFault)(
            "; ".join(error.message for error in found),
            hint="\n".join(dict.fromkeys(error.hint for error in found if error.hint)),
            mistakes=found,
        ) from None


# -- 10-19: the bundle ---------------------------------------------------------------------------------


class BundleError(HoldallError):
    """Something about a bundle file. Never raised itself."""


@dataclass(eq=False, repr=False, kw_only=True)
class DamagedBundle(BundleError):
    """The bytes are not those that were written. ``entry`` names the damaged entry where that is known."""

    exit_code = 10
    meaning = "the bundle is damaged"
    entry: str | None = None


class NewerFormat(BundleError):
    exit_code = 11
    meaning = "the bundle's format is newer than this version of holdall"


class NotABundle(BundleError):
    exit_code = 12
    meaning = "not a holdall bundle"


class AlreadyExists(BundleError):
    exit_code = 13
    meaning = "the file to write already exists"


class NoSuchEntry(BundleError):
    exit_code = 14
    meaning = "nothing in the bundle matches"


class CannotWrite(BundleError):
    """Disk full, folder missing or read-only. Nothing half-written has its final name."""

    exit_code = 15
    meaning = "can't read or write a file (disk full, permissions, missing), or out of memory, threads or open files"


class CannotRead(CannotWrite):
    """A file on this machine that is missing or can't be read. Also a CannotWrite: both are exit 15."""


class OutOfResources(CannotWrite):
    """The machine, or a limit of this process, is exhausted. See ``exhausted``."""


class BundleInUse(BundleError):
    exit_code = 16
    meaning = "another process is writing the same bundle"


# -- 20-29: the account over the network ---------------------------------------------------------------


@dataclass(eq=False, repr=False, kw_only=True)
class RemoteError(HoldallError):
    """An answer, or the lack of one, from an account.

    ``status`` is the HTTP status or None where none came; ``code`` and ``kind`` are the ``code`` and ``type`` of
    the error body; ``detail`` is the server's own sentence with secrets taken out; ``request_id`` the server's
    name for the request. ``ambiguous`` is True where the request may have been executed all the same. ``retry_after``
    is the wait in seconds that the server asks for, ``should_retry`` what it says of trying again, if anything.
    """

    exit_code = 29
    meaning = "the server's answer is not understood"
    status: int | None = None
    code: str | None = None
    kind: str | None = None
    param: str | None = None
    detail: str = ""
    request_id: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    ambiguous: bool = False


class AuthenticationFailed(RemoteError):
    exit_code = 20
    meaning = "no key, or an invalid one"


class QuotaExhausted(RemoteError):
    """Out of quota, credit or spend limit: waiting doesn't help, so nothing is retried."""

    exit_code = 21
    meaning = "out of quota or credit"


class Unreachable(RemoteError):
    exit_code = 22
    meaning = "the server can't be reached, or stopped answering"


class ConnectionLost(Unreachable):
    """An open connection was lost before an answer, usually one that the server closed while idle."""


class ConnectionMisconfigured(Unreachable):
    """No connection is possible until a setting is changed: a certificate, no TLS, a proxy's login. Not repeated."""


class PermissionDenied(RemoteError):
    exit_code = 23
    meaning = "the key lacks a permission"


class NotFound(RemoteError):
    exit_code = 24
    meaning = "not found on the server"


class RateLimited(RemoteError):
    exit_code = 25
    meaning = "still rate limited after all retries"


class ServerFailed(RemoteError):
    exit_code = 26
    meaning = "the server still failed (5xx) after all retries"


class RequestRefused(RemoteError):
    """A 4xx that isn't one of the above: the request itself is not accepted."""

    exit_code = 27
    meaning = "the server refused the request"


class NoAssistantsApi(RemoteError):
    exit_code = 28
    meaning = "the project has no Assistants API (OpenAI shut it down on 2026-08-26)"


class UnexpectedAnswer(RemoteError):
    """An answer that isn't JSON or has an unknown shape."""


class NotTheApi(UnexpectedAnswer):
    """The answer is a web page or a redirect elsewhere: a login, or a wrong base URL. Not repeated."""


class AnswerTooLong(UnexpectedAnswer):
    """A successful answer that exceeds the size limit of its kind. Not repeated."""


REQUEST_ERRORS = (NotFound, RequestRefused, ServerFailed, UnexpectedAnswer)
"""What a server answers about the one thing that it was asked for; it may do the next one all the same."""


# -- 30-39: import -------------------------------------------------------------------------------------


class ImportFailed(HoldallError):
    exit_code = 30
    meaning = "the import failed"


class DestinationUnfit(HoldallError):
    """The destination can't hold what the plan would create; nothing was written."""

    exit_code = 31
    meaning = "the destination can't take what is in the bundle"


class OutputLocked(HoldallError):
    exit_code = 32
    meaning = "another import uses the same output folder"


class ImportUnderWay(HoldallError):
    """Another import, from another folder or by somebody else, has just made copies of the same sources; nothing was
    written."""

    exit_code = 35
    meaning = "another import created the same objects within the last hour"


@dataclass(eq=False, repr=False, kw_only=True)
class DestinationDiffers(HoldallError):
    """Existing objects differ from the bundle, or several may be the copy; nothing was written.

    ``differences`` has them all, JSON-able.
    """

    exit_code = 33
    meaning = "existing objects at the destination differ from the bundle"
    differences: list[object] | None = None


class PlanOutdated(HoldallError):
    """Bundle or destination have changed since the plan was made; nothing was written."""

    exit_code = 34
    meaning = "the plan is for another bundle, or the destination has changed since"


@dataclass(eq=False, repr=False, kw_only=True)
class LossTooGreat(HoldallError):
    """More would be lost than the user accepts; nothing was written. ``losses`` are JSON-able."""

    exit_code = 36
    meaning = "more would be lost than --max-loss allows"
    losses: list[dict[str, object]] | None = None


class Interrupted(HoldallError):
    """Ctrl-C, after the requests in flight have finished."""

    exit_code = 130
    meaning = "interrupted"


# Codes that no error class carries, so that one list can be printed and tested.
EXIT_DONE = 0
EXIT_LOOK = 3
EXIT_INCOMPLETE = 4
EXIT_BUG = 70

OTHER_EXIT_CODES: dict[int, str] = {
    EXIT_DONE: "done",
    EXIT_LOOK: "finished with warnings: findings, differences or pending changes",
    EXIT_INCOMPLETE: "incomplete: something is missing that the source had",
    EXIT_BUG: "a bug in holdall",
}


def exit_codes() -> dict[int, str]:
    """Every exit code of the program with its meaning, in ascending order."""

    codes = dict(OTHER_EXIT_CODES)
    classes: list[type[HoldallError]] = [HoldallError]
    for each in classes:
        codes.setdefault(each.exit_code, each.meaning)
        classes += each.__subclasses__()
    return dict(sorted(codes.items()))


# Made beforehand: where memory has run out, there is none for a new error.
_MEMORY = OutOfResources(
    "out of memory", hint="free some memory or raise the limit (ulimit -v), then run the command again"
)
_THREADS = OutOfResources(
    "out of threads, processes or memory",
    hint="raise the limits (ulimit -u, ulimit -v), then run the command again",
)
_FILES = OutOfResources(
    "too many open files", hint="raise the limit (ulimit -n) or lower --concurrency, then run the command again"
)


def exhausted(error: BaseException) -> OutOfResources | None:
    """The exhausted resource, by ``error``, its causes and the members of its group; None if there is none."""
    stack = [error]
    for each in stack:
        if isinstance(each, BaseExceptionGroup):
            stack.extend(each.exceptions)
        # Not every library says ``from``: what lost a connection may be known as the context only.
        if (before := each.__cause__ or each.__context__) is not None:
            stack.append(before)
        if isinstance(each, OutOfResources):
            return each
        number = each.errno if isinstance(each, OSError) else None
        said = str(each) if isinstance(each, (ImportError, RuntimeError)) else ""
        # The loader says it in words only.
        if isinstance(each, MemoryError) or number == errno.ENOMEM or "map segment" in said or "allocate mem" in said:
            return _MEMORY
        if "start new thread" in said or isinstance(each, BlockingIOError):
            return _THREADS
        if number in (errno.EMFILE, errno.ENFILE):
            return _FILES
    return None
