"""Which backups of a series a policy keeps, and why, with the meanings of ``restic forget`` since 0.16.

Pure: times come in, reasons come out. Hours, days, weeks (ISO 8601), months and years are those of UTC, so that two
machines choose alike; restic uses its own time zone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

UNLIMITED = -1
"""In place of a number: all of them."""

_UNITS = {"y": "years", "m": "months", "d": "days", "h": "hours"}
_DURATION = re.compile(r"[0-9]{1,9}[ymdh]")

# What is equal for two times of one hour, day, week, month or year.
_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: (time.year,),
}


class Duration(msgspec.Struct, frozen=True, kw_only=True):
    """A time span of the calendar, as ``1y5m7d2h``; false if it is none."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError for what is no duration."""
        parts = _DURATION.findall(text)
        named = {_UNITS[part[-1]]: int(part[:-1]) for part in parts}
        if not parts or "".join(parts) != text or len(named) < len(parts):
            raise ValueError("not a duration such as 36h, 14d, 6m or 1y5m7d2h (m: months)")
        return cls(**named)

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        return "".join(f"{number}{unit}" for unit, name in _UNITS.items() if (number := getattr(self, name)))

    def before(self, seconds: float) -> float:
        """The time that is so much earlier, both in Unix seconds; minus infinity for one before the year 1.

        A day that the month doesn't have is counted on into the next month: one month before March 31 is March 3, or
        March 2 in a leap year.
        """
        if not math.isfinite(seconds):
            return seconds
        time = datetime.fromtimestamp(seconds, UTC)
        year, month = divmod(12 * (time.year - self.years) + time.month - 1 - self.months, 12)
        try:
            first = time.replace(year=year, month=month + 1, day=1)
            return (first + timedelta(days=time.day - 1 - self.days, hours=-self.hours)).timestamp()
        except (ValueError, OverflowError):
            return -math.inf


NEVER = Duration()


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep; false if it keeps nothing.

    The newest backup of each of so many hours, days … that have one (0: none, -1: of all), and within a duration of
    the newest backup all (``within``) or the newest of each hour, day …
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Duration = NEVER
    within_hourly: Duration = NEVER
    within_daily: Duration = NEVER
    within_weekly: Duration = NEVER
    within_monthly: Duration = NEVER
    within_yearly: Duration = NEVER

    def __bool__(self) -> bool:
        return any(map(bool, msgspec.structs.astuple(self)))


def parse_count(text: str) -> int:
    """How many to keep: 0 or more, ``unlimited`` or ``-1``. Raises ValueError."""
    if text in ("unlimited", str(UNLIMITED)):
        return UNLIMITED
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("not a number of bundles, nor unlimited")
    return int(text)


def reasons_to_keep(times: Sequence[float], policy: RetentionPolicy, now: float) -> list[list[str]]:
    """For each of ``times`` (Unix seconds, in any order) why it is kept, in restic's words; an empty list: it isn't.

    Of equal times the first counts as the newer one.
    """
    order = sorted(range(len(times)), key=lambda number: -times[number])
    # Without one that isn't in the future, nothing is too old.
    newest = max((time for time in times if time < now), default=-math.inf)
    rules = list(_rules(policy, newest))
    found: list[list[str]] = [[] for _ in times]
    for place, number in enumerate(order):
        is_oldest = place == len(order) - 1
        found[number] = [reason for rule in rules if (reason := rule(times[number], is_oldest))]
    return found


_Rule = Callable[[float, bool], str]
"""Takes the times one by one, the newest first, and whether it is the last one; gives the reason to keep it or ""."""


def _rules(policy: RetentionPolicy, newest: float) -> Iterator[_Rule]:
    """The rules that the policy has, in the order in which restic names them."""
    if policy.within:
        yield _within("within", policy.within, newest, None)
    if policy.last:
        yield _counted("last snapshot", policy.last, None)
    for name, period in _PERIODS.items():
        if count := getattr(policy, name):
            yield _counted(f"{name} snapshot", count, period)
    for name, period in _PERIODS.items():
        if span := getattr(policy, f"within_{name}"):
            yield _within(f"{name} within", span, newest, period)


def _counted(reason: str, left: int, period: Callable[[datetime], tuple[int, ...]] | None) -> _Rule:
    seen: tuple[int, ...] | None = None

    def rule(time: float, is_oldest: bool) -> str:
        nonlocal left, seen
        this = period(datetime.fromtimestamp(time, UTC)) if period else None
        is_new = this is None or this != seen
        # The oldest too, if some are left: so there is something as old as the policy reaches.
        if not left or not (is_new or is_oldest):
            return ""
        seen = this
        left -= left > 0
        return reason if is_new else f"oldest {reason}"

    return rule


def _within(reason: str, span: Duration, newest: float, period: Callable[[datetime], tuple[int, ...]] | None) -> _Rule:
    start, seen = span.before(newest), None

    def rule(time: float, is_oldest: bool) -> str:
        nonlocal seen
        this = period(datetime.fromtimestamp(time, UTC)) if period else None
        if time <= start or (this is not None and this == seen):
            return ""
        seen = this
        return f"{reason} {span}"

    return rule
