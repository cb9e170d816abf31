"""What is done of what is expected: counts that only grow, however often an attempt is taken back; and lines of them
where there is no terminal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable

from holdall.legible import human_size

# Seconds between two samples of the speed; it is that of so many samples, and not known before so many seconds.
_SAMPLE_EVERY, _SAMPLES, _SPEED_AFTER = 1.0, 30, 5.0
# Seconds between two lines.
_LINE_EVERY = 10.0


class Meter(ABC):
    """A Progress that counts; ``every`` is how many seconds at least lie between two calls of ``show``.

    A stage that begins when all that was expected is done begins a count of its own; else the count goes on.
    ``files`` and ``bytes`` are what is shown as done: the most that ever was.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float], every: float) -> None:
        self._say, self._clock, self._every = say, clock, every
        self._shown = clock()
        self._kinds: Counter[str] = Counter()
        self.title, self.things = "", "files"
        self.is_stale = False
        self._reset()

    def _reset(self) -> None:
        self.files = self.bytes = self.files_due = self.bytes_due = 0
        self._files = self._bytes = 0
        self._is_all_known = self._is_size_open = False
        self._share = 0.0
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    @abstractmethod
    def show(self) -> None:
        """Show the counts."""

    def stage(self, title: str, *, things: str = "files") -> None:
        if self._files >= self.files_due and self._bytes >= self.bytes_due:
            self._reset()
        self.title, self.things = title, things

    def expect(self, *, files: int = 0, bytes: int = 0, last: bool = False) -> None:
        # Sizes that are only found as the files are fetched are no total of what is to come.
        self._is_size_open = self._is_size_open or (bytes > 0 and (self._files > 0 or self._bytes > 0))
        self.files_due += files
        self.bytes_due += bytes
        self._is_all_known = self._is_all_known or last
        self._tick()

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        self._files += files
        self._bytes += bytes
        self.files, self.bytes = max(self.files, self._files), max(self.bytes, self._bytes)
        # What was expected is the server's word, and more may come.
        self.files_due, self.bytes_due = max(self.files_due, self.files), max(self.bytes_due, self.bytes)
        self._tick()

    def note(self, text: str, *, kind: str = "") -> None:
        if kind:
            self._kinds[kind] += 1
            times = self._kinds[kind]
            if times & (times - 1):
                return
            if times > 1:
                text = f"{text} ({_ordinal(times)} time)"
        self._say(text)

    def _tick(self) -> None:
        now = self._clock()
        share = self.share
        if share is not None and (not self._samples or now - self._samples[-1][0] >= _SAMPLE_EVERY):
            self._samples.append((now, share))
        self.is_stale = now - self._shown < self._every
        if not self.is_stale:
            self._shown = now
            self.show()

    @property
    def bytes_total(self) -> int:
        """The bytes of all, 0 where that isn't known."""
        return 0 if self._is_size_open else self.bytes_due

    @property
    def percent(self) -> str | None:
        """How much is done; None while more may be found. Never 100%, for what follows the last file isn't counted."""
        return None if self.share is None else f"{min(int(self.share * 100), 99)}%"

    @property
    def share(self) -> float | None:
        """Of files and bytes the one that lags behind, from 0 to 1: both have to be done."""
        if not self._is_all_known:
            return None
        pairs = ((self.files, self.files_due), (self.bytes, self.bytes_total))
        shares = [done / due for done, due in pairs if due]
        if not shares:
            return None
        self._share = max(self._share, min(shares))
        return self._share

    @property
    def seconds_left(self) -> float | None:
        """At the speed of the last half minute; None where that isn't known."""
        share = self.share
        if share is None or not self._samples:
            return None
        since, before = self._samples[0]
        elapsed = self._clock() - since
        if elapsed < _SPEED_AFTER or share <= before:
            return None
        return (1 - share) * elapsed / (share - before)


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


class ProgressLines(Meter):
    """A line for each stage, said once, then one every ten seconds at most."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock, _LINE_EVERY)
        self._said: set[str] = set()

    def stage(self, title: str, *, things: str = "files") -> None:
        super().stage(title, things=things)
        # Once, also where a stage comes back: a log is read, not watched.
        if title not in self._said:
            self._said.add(title)
            self._say(title)

    def show(self) -> None:
        facts = []
        if self.files_due:
            facts.append(f"{self.files} of {self.files_due} {self.things}")
        if self.bytes_due:
            total = f" of {human_size(self.bytes_total)}" if self.bytes_total else ""
            facts.append(f"{human_size(self.bytes)}{total}")
        if percent := self.percent:
            facts.append(percent)
        if facts:
            self._say(f"{self.title}: {', '.join(facts)}")
