"""The faults that one sandbox was told to commit: which request suffers which."""

from __future__ import annotations

import random
import threading
from collections import Counter

import msgspec

from holdall.sandbox.behaviour import (
    CutBody,
    Doubled,
    Fail,
    Fault,
    FaultRule,
    Gone,
    RateLimit,
    Reset,
    Slow,
    Stall,
    Storm,
    StormKind,
    WrongLength,
)

# How much of a body a cut lets pass at most, as a power of two: bodies of all sizes are cut in all places.
_FURTHEST = 18


class Faults:
    """The rules in force, counted down as requests use them up. Safe to change from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[FaultRule] = []
        self._met: Counter[str] = Counter()
        self.cleared = threading.Event()
        """Set by the next ``clear``, for what a fault holds back."""

    def add(self, rule: FaultRule) -> None:
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._met.clear()
            self.cleared.set()
            self.cleared = threading.Event()

    def take(self, method: str, path: str, project: str | None) -> Fault | None:
        """The fault for this request: of the first rule that matches and has passed its ``skip``."""
        if not self._rules:
            return None
        with self._lock:
            for place, rule in enumerate(self._rules):
                if not rule.matches(method, path, project):
                    continue
                if rule.skip > 0:
                    self._rules[place] = msgspec.structs.replace(rule, skip=rule.skip - 1)
                    continue
                if isinstance(rule.fault, Storm):
                    return self._fate(rule.fault, method, path)
                if rule.times > 1:
                    self._rules[place] = msgspec.structs.replace(rule, times=rule.times - 1)
                else:
                    del self._rules[place]
                return rule.fault
        return None

    def _fate(self, storm: Storm, method: str, path: str) -> Fault | None:
        parts = path.strip("/").split("/")
        endpoint = f"{method} /{'/'.join('*' if place % 2 else part for place, part in enumerate(parts))}"
        self._met[endpoint] += 1
        chance = random.Random(f"{storm.seed} {endpoint} {self._met[endpoint]}")
        if chance.random() >= storm.rate:
            return None
        is_list = method == "GET" and len(parts) % 2 == 1 and parts[-1] != "content"
        unfit = {"doubled": not is_list, "gone": method != "GET" or is_list}
        kinds = [kind for kind in storm.kinds if not unfit.get(kind)]
        return _drawn(storm, chance.choice(kinds), chance) if kinds else None


def _drawn(storm: Storm, kind: StormKind, chance: random.Random) -> Fault:
    match kind:
        case "rate_limit":
            seconds = chance.choice((None, chance.uniform(0, storm.wait)))
            return RateLimit(
                retry_after=seconds, header=chance.choice(("retry-after", "retry-after-ms", "x-ratelimit-reset"))
            )
        case "fail":
            status, html, executed = chance.choice((500, 502, 503)), chance.random() < 0.5, chance.random() < 0.5
            return Fail(status=status, html=html, executed=executed)
        case "reset":
            return Reset(executed=chance.random() < 0.5)
        case "cut_body":
            return CutBody(after=int(2 ** chance.uniform(0, _FURTHEST)))
        case "stall":
            return Stall(after=int(2 ** chance.uniform(0, _FURTHEST)), seconds=storm.silence)
        case "slow":
            return Slow(seconds=chance.uniform(0, storm.wait))
        case "wrong_length":
            return WrongLength(missing=chance.randint(1, 100))
        case "doubled":
            return Doubled()
        case "gone":
            return Gone()
