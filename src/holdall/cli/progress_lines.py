"""Progress where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable

from holdall.cli.progress_meter import Meter
from holdall.legible import human_size

# Seconds between two lines.
_EVERY = 10.0


class ProgressLines(Meter):
    """A line for each stage, then one every ten seconds at most."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock, _EVERY)

    def stage(self, title: str, *, things: str = "files") -> None:
        is_new = title != self.title
        super().stage(title, things=things)
        if is_new:
            self._say(title)

    def show(self) -> None:
        facts = []
        if self.files_due:
            facts.append(f"{self.files} of {self.files_due} {self.things}")
        if self.bytes_due:
            facts.append(f"{human_size(self.bytes)} of {human_size(self.bytes_due)}")
        if percent := self.percent:
            facts.append(percent)
        if facts:
            self._say(f"{self.title}: {', '.join(facts)}")
