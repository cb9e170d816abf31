"""Recognises errors of an exhausted machine (memory, threads, open files), with a hint for each."""

from __future__ import annotations

import errno

from holdall.errors import OutOfResources

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
