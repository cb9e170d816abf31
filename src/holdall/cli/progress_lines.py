"""Progress where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable

from holdall.cli.progress_meter import Meter
from holdall.legible import human_size

# Seconds between two lines.
_EVERY = 10.0


class ProgressLines(Meter):
    """A line for each stage, said once, then one every ten seconds at most."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock, _EVERY)
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
