"""How one sandbox behaves: its switches, and the faults that it was told to commit.

Everything here is a value. ``Behaviour`` says what kind of server this is; a ``FaultRule`` is a matcher and an action
for the next so many requests that match. Both are changed while the server runs, by tests and by the control endpoint.
"""

from __future__ import annotations

import fnmatch
from typing import Literal

import msgspec

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.service.switches import Switches


class Behaviour(Switches, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches of a sandbox. The defaults are OpenAI as it was the day before it ended the Assistants API."""

    oddities: frozenset[Oddity] = frozenset()
    """What this server does as only servers do that call themselves compatible."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, tag="rate_limit", forbid_unknown_fields=True):
    """429 ``rate_limit_exceeded`` before anything is executed; seconds for a header that says when, or no such header.

    ``x-ratelimit-reset`` stands for the pair of headers that say that no request remains until then.
    """

    retry_after: float | None = None
    header: Literal["retry-after", "retry-after-ms", "x-ratelimit-reset"] = "retry-after"


class NoQuota(msgspec.Struct, frozen=True, kw_only=True, tag="no_quota", forbid_unknown_fields=True):
    """429 ``insufficient_quota``: waiting doesn't help."""


class Fail(msgspec.Struct, frozen=True, kw_only=True, tag="fail", forbid_unknown_fields=True):
    """A 5xx, as JSON or as a proxy's HTML page; with ``executed`` only the answer is lost."""

    status: int = 500
    html: bool = False
    executed: bool = False


class Reset(msgspec.Struct, frozen=True, kw_only=True, tag="reset", forbid_unknown_fields=True):
    """The connection is reset, before the request is executed or after (a lost reply)."""

    executed: bool = False


class Late(msgspec.Struct, frozen=True, kw_only=True, tag="late", forbid_unknown_fields=True):
    """The connection is reset at once, and the request is executed all the same, so many seconds later."""

    seconds: float


class CutBody(msgspec.Struct, frozen=True, kw_only=True, tag="cut_body", forbid_unknown_fields=True):
    """The answer's head is true, but the connection ends after so many bytes of the body, or before its last one."""

    after: int = 0


class Stall(msgspec.Struct, frozen=True, kw_only=True, tag="stall", forbid_unknown_fields=True):
    """As ``CutBody``, but the connection stays open and silent for so many seconds before it ends."""

    after: int = 0
    seconds: float = 600.0


class Slow(msgspec.Struct, frozen=True, kw_only=True, tag="slow", forbid_unknown_fields=True):
    """The request is executed, and its answer begins so many seconds later, or when the faults are cleared."""

    seconds: float


class WrongLength(msgspec.Struct, frozen=True, kw_only=True, tag="wrong_length", forbid_unknown_fields=True):
    """The body is cut by ``missing`` bytes and ``content-length`` agrees with the cut: a well-formed lie."""

    missing: int = 1


class Doubled(msgspec.Struct, frozen=True, kw_only=True, tag="doubled", forbid_unknown_fields=True):
    """Every item of a list comes twice."""


class Gone(msgspec.Struct, frozen=True, kw_only=True, tag="gone", forbid_unknown_fields=True):
    """404, as for what was deleted since a list had it."""


BombKind = Literal[
    "endless_body", "packed", "page", "deep", "endless_list", "long_pages", "one_page", "long_content", "long_head"
]


class Bomb(msgspec.Struct, frozen=True, kw_only=True, tag="bomb", forbid_unknown_fields=True):
    """In place of the answer comes one that is more than anybody can hold; nothing is executed."""

    kind: BombKind


StormKind = Literal["rate_limit", "fail", "reset", "cut_body", "stall", "slow", "wrong_length", "doubled", "gone"]


class Storm(msgspec.Struct, frozen=True, kw_only=True, tag="storm", forbid_unknown_fields=True):
    """Of the requests that match, the share ``rate`` suffers one of ``kinds``, chosen by ``seed``.

    The nth request to an endpoint (method and path, whatever the ids) has the same fate under the same seed.
    """

    seed: int = 0
    rate: float = 0.3
    kinds: tuple[StormKind, ...] = (
        "rate_limit",
        "fail",
        "reset",
        "cut_body",
        "stall",
        "slow",
        "wrong_length",
        "doubled",
    )
    """Without ``gone``: what a storm takes away comes back."""

    wait: float = 1.0
    """The most seconds that its rate limits ask for, and that its slow answers take."""

    silence: float = 600.0
    """The seconds for which its stalled answers are silent."""


Fault = RateLimit | NoQuota | Fail | Reset | Late | CutBody | Stall | Slow | WrongLength | Doubled | Gone | Bomb | Storm


class FaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to happen to which requests: of those that match, ``skip`` pass, then ``times`` get the fault.

    ``method`` and ``path`` are globs; the path is the one below ``/v1``, such as ``/vector_stores/*/files``. A storm is
    not used up.
    """

    fault: Fault
    method: str = "*"
    path: str = "*"
    project: str | None = None
    skip: int = 0
    times: int = 1

    def matches(self, method: str, path: str, project: str | None) -> bool:
        return (
            fnmatch.fnmatchcase(method, self.method)
            and fnmatch.fnmatchcase(path, self.path)
            and (self.project is None or self.project == project)
        )
