"""The names of Foundry agents, which are their ids: 1 to 63 letters, digits and inner hyphens, whatever the case. Pure.

Source: the service's own refusal (``invalid_parameters``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from itertools import count

from holdall.kinds import read
from holdall.model import Kind, Record, SourceId

LONGEST = 63

_FITS = re.compile(rf"[a-zA-Z0-9]([a-zA-Z0-9-]{{0,{LONGEST - 2}}}[a-zA-Z0-9])?")
_OTHERS = re.compile(r"[^a-zA-Z0-9]+")
# Letters that Unicode takes for no letter with a mark.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L"}
)
_ANY = "agent"


def agent_name(name: str | None, id: str) -> str:
    """The name of an agent for something called ``name``; where nothing of that can stay, one made of the ``id``.

    >>> agent_name("Café: front desk (2)", "asst_1"), agent_name("受付", "asst_1"), agent_name("fits-as-it-is", "x")
    ('Cafe-front-desk-2', 'asst-1', 'fits-as-it-is')
    """
    if name is not None and _FITS.fullmatch(name):
        return name
    return _plain(name or "") or _plain(id) or _ANY


def agent_names(records: Iterable[Record], prefix: str = "", *, others: Collection[str] = ()) -> dict[SourceId, str]:
    """The agents' names for ``records`` in the order of their bundle, whatever is selected: no two alike.

    An agent of Foundry keeps its own where that fits behind the ``prefix``; others of that name get a number.
    So do those whose name is among the ``others``, which are without case.
    """
    wanted = {record.id: _wanted(record, prefix) for record in records}
    taken = dict.fromkeys(others, SourceId(""))
    for id, (name, own) in wanted.items():
        if own:
            taken.setdefault(name.casefold(), id)
    numbers: dict[str, int] = {}
    found: dict[SourceId, str] = {}
    for id, (name, _) in wanted.items():
        is_free = taken.setdefault(name.casefold(), id) == id
        found[id] = name if is_free else _numbered(name, id, taken, numbers)
    return found


def _numbered(name: str, id: SourceId, taken: dict[str, SourceId], numbers: dict[str, int]) -> str:
    """The first that is free of ``name-2``, ``name-3``, …; ``numbers`` are the last ones tried."""
    # Names that only differ where a number may cut them share one, or each would try all numbers of the others.
    stem = name[: LONGEST - 8].casefold()
    for number in count(numbers.get(stem, 1) + 1):
        ending = f"-{number}"
        made = name[: LONGEST - len(ending)].rstrip("-") + ending
        if taken.setdefault(made.casefold(), id) == id:
            numbers[stem] = number
            return made
    raise AssertionError("numbers end")


def _wanted(record: Record, prefix: str) -> tuple[str, bool]:
    """The name that a record asks for, and whether it is one that an agent has already."""
    if record.kind is Kind.FOUNDRY_AGENT:
        name = f"{prefix}{record.id}"
        return agent_name(name, record.id), _FITS.fullmatch(name) is not None
    own = read(record).name
    return agent_name(f"{prefix}{own}" if own else None, record.id), False


def _plain(text: str) -> str:
    """``text`` in letters, digits and single hyphens, cut to the limit; empty where nothing is left."""
    # Not more than can matter: a name may have any length.
    spelled = unicodedata.normalize("NFKD", text[: 16 * LONGEST].translate(_LETTERS))
    bare = "".join(char for char in spelled if not unicodedata.combining(char))
    return _OTHERS.sub("-", bare).strip("-")[:LONGEST].rstrip("-")
