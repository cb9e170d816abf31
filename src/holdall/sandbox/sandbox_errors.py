"""Why a sandbox does not start, or ends by itself. Whoever runs it says what exit code that is."""

from __future__ import annotations

import errno


class SandboxError(Exception):
    """Base of all: its folder can't be used, or it ended. ``hint`` is the way out or ``""``."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CannotStart(SandboxError):
    """It was started with what can't be: a port that is taken, a folder that another one uses."""


class PackageMissing(CannotStart):
    """It needs packages that are not installed."""


class MachineTooSmall(SandboxError):
    """This machine, or what it grants this process, has too little of something; ``__cause__`` says of what."""


def exhausted(error: BaseException) -> MachineTooSmall | None:
    """What ``error``, one that it was raised from or one of its group, says that this machine has too little of."""
    stack = [error]
    for each in stack:
        if isinstance(each, MachineTooSmall):
            return each
        if isinstance(each, BaseExceptionGroup):
            stack.extend(each.exceptions)
        if each.__cause__ is not None:
            stack.append(each.__cause__)
        if isinstance(each, OSError):
            short = each.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE) or isinstance(each, BlockingIOError)
        elif isinstance(each, (ImportError, RuntimeError)):  # they say it in words only
            short = any(words in str(each) for words in ("map segment", "allocate mem", "start new thread"))
        else:
            short = isinstance(each, MemoryError)
        if short:
            told = MachineTooSmall(f"out of memory, threads or open files for the sandbox: {each!r}")
            told.__cause__ = each
            return told
    return None
