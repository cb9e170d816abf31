"""Joins the parts of a parsed text: finds where they overlap, and whether that is certain.

A server cuts a file's text by tokens. A token may end inside a character, which then is one or more U+FFFD at the edge
of one part and whole in the other, if the two overlap; some servers trim or add white space where they cut. Overlaps
are counted in tokens, and differ between servers, or are missing. If the text is the file, the file's size proves a
reading of the parts. Without proof, a reading is doubtful if the parts contradict each other or fit in several ways.

Parts are processed in order; only the last is kept.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

DEFAULT_OVERLAP = 400
"""Tokens that parts share where the source does not say (the API's ``auto``)."""

# The API allows half of it, whatever a server says.
_MOST = 4096
# The longest tokens of the encodings in use are runs of 128 blanks.
_TOKEN_LENGTH = 128
# Edges equal by chance are short: of parts that do not overlap, every tenth or so shares a letter or a space.
_CHANCE = 8
# What ``str.find`` looks for in linear time is no shorter than the one, in what is no shorter than the other.
_SHORT, _LONG = 100, 2500
# White space that a server may have trimmed off the ends of a text, in bytes.
_TRIMMED = 4

_CUT = "\ufffd"
_CUT_APART = "a character is cut between two parts"
_BLANK = " \t\r\n\v\f\u00a0"
_ASIDE = _CUT + _BLANK


def overlap_of(strategy: Mapping[str, Any] | None) -> int:
    """The tokens that a file's parts share, by its chunking strategy; some servers say 400.0."""
    static = (strategy or {}).get("static")
    overlap = static.get("chunk_overlap_tokens") if isinstance(static, dict) else None
    return int(min(overlap, _MOST)) if isinstance(overlap, (int, float)) and overlap >= 0 else DEFAULT_OVERLAP


class PartsReading(msgspec.Struct, frozen=True, kw_only=True):
    """How to read the parts: of each the characters from its number in ``begins`` to that in ``ends``. ``size`` is that
    of the text in bytes of UTF-8; ``doubt`` says why it may not be the file's text."""

    begins: array[int]
    ends: array[int]
    size: int
    doubt: str | None = None

    def pieces(self, parts: Iterable[str]) -> Iterator[str]:
        """The text in pieces; ``parts`` are those that were read."""
        for part, begin, end in zip(parts, self.begins, self.ends, strict=True):
            if begin < end:
                yield part[begin:end]

    def text(self, parts: Iterable[str]) -> str:
        return "".join(self.pieces(parts))


class _Measure(msgspec.Struct, frozen=True, gc=False):
    """A length as the ways to store a text count it, in bytes: UTF-8, UTF-8 with CRLF for LF, UTF-16."""

    utf8: int = 0
    crlf: int = 0
    utf16: int = 0

    def elsewhere(self) -> tuple[int, ...]:
        """The sizes of files with this text but for plain UTF-8: with a byte order mark, with CRLF, in UTF-16."""
        return self.utf8 + 3, self.crlf, self.crlf + 3, self.utf16, self.utf16 + 2

    def plus(self, other: _Measure, times: int = 1) -> _Measure:
        return _Measure(
            self.utf8 + times * other.utf8, self.crlf + times * other.crlf, self.utf16 + times * other.utf16
        )


class _Edge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a part meets what came before it. It fits ``fits`` times: the longest fit takes ``skip`` characters off its
    beginning and ``drop`` off the end before it, each further one ``step`` fewer off its beginning.

    ``saved`` and ``period`` measure ``drop`` and ``skip``, and ``step``. ``strong``: more fits than does by chance;
    ``likely``: about as much as parts are said to share. ``rival``: the second fit is no less likely than the first.
    ``cut``: a character is cut at the edge; ``blank``: there is white space at it.
    """

    drop: int = 0
    skip: int = 0
    saved: _Measure = _Measure()
    fits: int = 0
    step: int = 0
    period: _Measure = _Measure()
    strong: bool = False
    likely: bool = False
    rival: bool = False
    cut: bool = False
    blank: bool = False

    def saves(self, choice: int | None) -> _Measure:
        """What the fit number ``choice`` from the longest saves."""
        return _Measure() if choice is None else self.saved.plus(self.period, -choice)


# For each edge the number of its fit, None for none.
_Choice = list[int | None]


class PartsJoiner:
    """The parts of one text, as they come; ``overlap`` is in tokens."""

    def __init__(self, overlap: int) -> None:
        self._overlap = overlap
        self._longest = (overlap or DEFAULT_OVERLAP) * _TOKEN_LENGTH
        self._chance = min(_CHANCE, overlap) if overlap else _CHANCE
        # A token is at least a byte. Where parts are said to share nothing, this is too much for chance.
        self._likely = overlap or DEFAULT_OVERLAP // 4
        self._previous = ""
        self._aside = 0  # characters at its end that may be left aside
        self._lengths = array("I")
        # A million parts meet in few ways that differ, so each way is kept once.
        self._known: dict[_Edge, _Edge] = {}
        self._edges: list[_Edge | None] = []
        self._total = _Measure()

    def add(self, parts: Iterable[str]) -> None:
        """The next parts."""
        for part in parts:
            self._total = self._total.plus(_measure(part))
            edge = self._edge(self._previous, part) if self._previous and part else None
            self._edges.append(edge and self._known.setdefault(edge, edge))
            self._lengths.append(len(part))
            # A part that lies in the one before it as a whole says nothing of where the next one begins.
            if part and not (edge and edge.strong and edge.skip == len(part)):
                self._aside = len(part) - len(part.rstrip(_ASIDE))
                self._previous = part[-(self._longest + self._aside) :]

    def reading(self, size: int | None) -> PartsReading:
        """How to read the parts; ``size`` in bytes, where the text of the file must have just that, else None."""
        edges = [edge for edge in self._edges if edge]
        strong: _Choice = [0 if edge.strong else None for edge in edges]
        weak: _Choice = [0 if edge.fits else None for edge in edges]
        plain: _Choice = [None] * len(edges)
        ways = [strong, plain, weak] if self._overlap else [plain, strong, weak]
        if size is not None and (proved := self._proved(edges, ways, size)) is not None:
            return proved
        usual = ways[0]
        if self._overlap and 2 * sum(edge.strong for edge in edges) < len(edges):
            usual = plain
        return self._read(edges, usual, self._doubt(edges, usual, size))

    def _proved(self, edges: list[_Edge], ways: list[_Choice], size: int) -> PartsReading | None:
        """The reading that has the file's size. Of all fits the longest, and none at all, are each the only way to
        come to their size; between them there are several where more than one edge fits in several ways."""
        lengths = [self._length(edges, way) for way in ways]
        proved = [way for way, length in zip(ways, lengths, strict=True) if length.utf8 == size]
        for way in proved:
            # All as they are is the whole text, whatever it has; parts of which some were joined may by chance, with
            # what cuts have left at the others, come to the same size.
            if not _leaves_cuts(edges, way) or all(choice is None for choice in way):
                return self._read(edges, way)
        if proved:
            return self._read(edges, proved[0], _CUT_APART)
        several = [number for number, edge in enumerate(edges) if edge.fits > 1]
        if several:
            way = self._levelled(edges, several, size)
            if self._length(edges, way).utf8 == size:
                why = "its parts overlap in repeated text, so the length of the overlap is unknown"
                return self._read(edges, way, why if len(several) > 1 else None)
        return self._stored_otherwise(edges, ways[:2], lengths, size)

    def _stored_otherwise(
        self, edges: list[_Edge], ways: list[_Choice], lengths: list[_Measure], size: int
    ) -> PartsReading | None:
        # As text is stored in other ways, or by a server that trims it. Between several fits these prove nothing.
        for way, length in zip(ways, lengths, strict=False):
            fits = [choice is not None for choice in way]
            fitted = any(fits)
            if any(edge.rival if fitted else edge.cut for edge in edges):
                continue
            # Where a server trims parts, there is no white space at any edge that does not overlap.
            trimmed = _TRIMMED if all(fits) or any(edge.blank for edge in edges) else 0
            if any(0 <= size - other <= trimmed for other in (length.utf8, *length.elsewhere())):
                return self._read(edges, way)
        return None

    def _levelled(self, edges: list[_Edge], several: list[int], size: int) -> _Choice:
        """All edges that fit in several ways save as nearly the same as can be, so that all comes to ``size``."""
        way: _Choice = [0 if edge.strong else None for edge in edges]
        left = self._total.utf8 - size - sum(edge.saves(choice).utf8 for edge, choice in zip(edges, way, strict=True))
        left += sum(edges[number].saves(way[number]).utf8 for number in several)
        for done, number in enumerate(several):
            edge = edges[number]
            share = left / (len(several) - done)
            choice = round((edge.saved.utf8 - share) / edge.period.utf8)
            way[number] = min(max(choice, 0), edge.fits - 1)
            left -= edge.saves(way[number]).utf8
        return way

    def _doubt(self, edges: list[_Edge], way: _Choice, size: int | None) -> str | None:
        chosen = [choice is not None for choice in way]
        if _leaves_cuts(edges, way):
            return _CUT_APART
        if size is not None:
            return f"the joined parts have {self._length(edges, way).utf8} bytes, the file has {size}"
        if any(edge.rival and taken for edge, taken in zip(edges, chosen, strict=True)):
            return "its parts overlap in repeated text, so the length of the overlap is unknown"
        # Parts that share what chance can share, in few places, don't overlap.
        fitted = any(chosen)
        overlaps = sum(edge.strong if fitted else edge.likely for edge in edges)
        if overlaps and not all(chosen):
            return f"only {overlaps} of {len(edges)} joints between its parts show an overlap"
        return None

    def _length(self, edges: list[_Edge], way: _Choice) -> _Measure:
        # Counted by identity: the hash of an edge, a million times, would take seconds.
        known = {id(edge): edge for edge in self._known}
        length = self._total
        for (key, choice), count in Counter(zip(map(id, edges), way, strict=True)).items():
            length = length.plus(known[key].saves(choice), -count)
        return length

    def _read(self, edges: list[_Edge], way: _Choice, doubt: str | None = None) -> PartsReading:
        begins, ends = array("I"), array("I", self._lengths)
        filled = array("I")  # the parts of which something is left, so far
        choices = iter(zip(edges, way, strict=True))
        for number, found in enumerate(self._edges):
            drop = skip = 0
            if found:
                edge, choice = next(choices)
                if choice is not None:
                    drop, skip = edge.drop, edge.skip - choice * edge.step
            while drop and filled:
                last = filled[-1]
                have = ends[last] - begins[last]
                ends[last] -= min(drop, have)
                drop -= min(drop, have)
                if ends[last] == begins[last]:
                    filled.pop()
            begins.append(min(skip, ends[number]))
            if begins[number] < ends[number]:
                filled.append(number)
        return PartsReading(begins=begins, ends=ends, size=self._length(edges, way).utf8, doubt=doubt)

    def _edge(self, before: str, part: str) -> _Edge:
        """Where ``part`` meets ``before``."""
        cut = before.endswith(_CUT) or part.startswith(_CUT)
        blank = before[-1].isspace() or part[0].isspace()
        if (found := self._fit(before, part, cut=cut)) is None:
            return _Edge(cut=cut, blank=blank)
        end, start, fit, second = found
        skip = start + fit
        if skip == len(part):
            end = 0  # it adds nothing, so nothing of what is before it is in it once more
        step = fit - second if second else 0
        # A text that begins and ends with the same is one that repeats itself in steps of what lies between.
        fits = 1 + ((fit - self._chance) // step if step else 0)
        saved = _measure(part[:skip]).plus(_measure(before[len(before) - end :] if end else ""))
        period = _measure(part[skip - step : skip]) if step else _Measure()
        least = self._likely if saved.utf8 >= self._likely else 0
        strong = fit >= self._chance
        return _Edge(
            drop=end,
            skip=skip,
            saved=saved,
            fits=fits,
            step=step,
            period=period,
            strong=strong,
            likely=strong and saved.utf8 >= self._likely,
            rival=fits > 1 and saved.utf8 - period.utf8 >= least,
            cut=cut,
            blank=blank,
        )

    def _fit(self, before: str, part: str, *, cut: bool) -> tuple[int, int, int, int] | None:
        """How ``part`` fits behind ``before``, as they are, or without what a cut has left at the edge: how much to
        leave aside at the end of the one and at the beginning of the other, the longest fit and the second."""
        borders = self._borders(before, part)
        for end, start in borders:
            longest = min(len(before) - end, len(part) - start, self._longest)
            left, right = before[len(before) - end - longest : len(before) - end], part[start : start + longest]
            fit, second = _fits(left, right, self._chance)
            if fit and right[:fit].strip(_CUT):
                return end, start, fit, second
        # Nothing fits that is longer than what fits by chance.
        for end, start in borders:
            left, right = before[-self._chance - end : len(before) - end], part[start : start + self._chance]
            fit = next((n for n in range(min(self._chance - 1, len(right)), 0, -1) if left.endswith(right[:n])), 0)
            # Taken by chance for a part that adds nothing, it would leave the piece of a character before it.
            if fit and right[:fit].strip(_CUT) and not (cut and start + fit == len(part)):
                return end, start, fit, 0
        if part.strip(_CUT) and cut:
            # Nothing but a piece of a character may be what the two share.
            return len(before) - len(before.rstrip(_CUT)), len(part) - len(part.lstrip(_CUT)), 0, 0
        return None

    def _borders(self, before: str, part: str) -> list[tuple[int, int]]:
        """What to leave aside at the end of ``before`` and the beginning of ``part``: nothing; what a cut leaves."""
        end, start = self._aside, len(part) - len(part.lstrip(_ASIDE))
        if (end or start) and end < len(before) and start < len(part):
            return [(0, 0), (end, start)]
        return [(0, 0)]


def _leaves_cuts(edges: list[_Edge], way: _Choice) -> bool:
    """Whether what a cut has left of a character stays in the text."""
    return any(edge.cut and choice is None for edge, choice in zip(edges, way, strict=True))


def joined(parts: list[str], overlap: int, *, size: int | None = None) -> str:
    """``parts`` with their overlaps removed; ``overlap`` in tokens, ``size`` the bytes of the text if known.

    >>> joined(["one two three four", "three four five"], 400), joined(["a long caf\\ufffd", " long café au lait"], 400)
    ('one two three four five', 'a long café au lait')
    """
    joiner = PartsJoiner(overlap)
    joiner.add(parts)
    return joiner.reading(size).text(parts)


def _fits(left: str, right: str, least: int) -> tuple[int, int]:
    """The longest two ends of ``left`` that ``right`` begins with; 0 for those of less than ``least`` characters.

    In linear time, whatever the text. Those of ``length`` characters or more, but fewer than twice as many, begin where
    the first ``length`` of ``right`` stand. Three such places or more are a row of equal steps, in text that repeats
    itself: of these fit those from which on ``left`` repeats itself as far as ``right`` does.
    """
    length, most = least, min(len(left), len(right))
    while 2 * length <= most:
        length *= 2
    found: list[int] = []
    while least <= length <= most and len(found) < 2:
        window = left[-min(2 * length - 1, most) :]
        places = _places(window, right[:length])
        if len(places) > 2:
            first, step, size = places[0], places[1] - places[0], len(window)
            end = first + step + _common(window[first:], window[first + step :])
            run = step + _common(right[:size], right[step:size])
            if end == size:
                first += -(-max(size - run - first, 0) // step) * step
                places = [place for place in (first, first + step) if place <= size - length]
            else:
                places = [place for place in (end - run,) if 0 <= place <= size - length]
        found += [len(window) - place for place in places if right.startswith(window[place:])]
        length //= 2
    longest, second = [*found, 0, 0][:2]
    return longest, second


def _places(text: str, sought: str) -> list[int]:
    """The first three places of ``sought`` in ``text``, at the most."""
    # Of three searches that Python has, the one that is linear serves what is long, in what is several times as long.
    haystack = text + "\0" * (_LONG + 4 * len(sought)) if len(sought) >= _SHORT else text
    found: list[int] = []
    place = haystack.find(sought)
    while 0 <= place <= len(text) - len(sought) and len(found) < 3:
        found.append(place)
        place = haystack.find(sought, place + 1)
    return found


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    same, most, step = 0, min(len(one), len(other)), 64
    while same < most and one[same : same + step] == other[same : same + step]:
        same, step = same + step, 2 * step
    end = min(same + step, most)
    while same < end:
        middle = (same + end + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            end = middle - 1
    return min(same, most)


def _measure(text: str) -> _Measure:
    utf8 = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    crlf = utf8 + text.count("\n") - text.count("\r\n")
    return _Measure(utf8, crlf, 2 * len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")))
