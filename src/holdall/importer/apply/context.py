"""What all that carries a plan out needs, in one value."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdall.importer.runs.pace import Pace
from holdall.importer.runs.runfolder import RunFolder
from holdall.progress import Progress
from holdall.remote.client import Account

__all__ = ["Context"]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one destination. ``operation`` gives each attempt a name that is fresh, ``now`` is in Unix seconds."""

    account: Account
    folder: RunFolder
    pace: Pace
    progress: Progress
    operation: Callable[[], str]
    now: Callable[[], float]
