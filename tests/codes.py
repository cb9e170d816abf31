"""The codes that a finding of ``verify`` may have, as docs/commands.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = (Path(__file__).parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
_TABLE = _PAGE.split("Each finding has a `code`", 1)[1].split("\n\n", 2)[1]
CODES = frozenset(re.findall(r"^\| `([a-z-]+)` \|", _TABLE, re.MULTILINE))
