"""The front matter of a skill's SKILL.md: its name and description. Pure."""

from __future__ import annotations

import json
import re

_KEY = re.compile(r"(name|description):(?:[ \t]+(.*))?")


def front_matter(raw: bytes) -> dict[str, str]:
    """The name and description at the beginning of a SKILL.md, as far as they can be read without YAML's rarer forms.

    >>> front_matter(b"---\\nname: pdf-forms\\ndescription: >-\\n  Fills\\n  forms.\\n---\\n# PDF")
    {'name': 'pdf-forms', 'description': 'Fills forms.'}
    """
    lines = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return {}
    found: dict[str, str] = {}
    at = 1
    while at < len(lines) and lines[at].rstrip() != "---":
        key = _KEY.fullmatch(lines[at].rstrip())
        at += 1
        more = []
        while at < len(lines) and (not lines[at].strip() or lines[at][0] in " \t"):
            more.append(lines[at].strip())
            at += 1
        if key and (value := _scalar((key[2] or "").strip(), more)) is not None:
            found.setdefault(key[1], value)
    return found


def _scalar(first: str, more: list[str]) -> str | None:
    if first[:1] in ("|", ">"):
        return ("\n" if first[0] == "|" else " ").join(more).strip()
    text = " ".join([first, *more]).strip()
    if text[:1] == '"':
        try:
            value = json.loads(text, strict=False)
        except ValueError:
            return None
        return value if isinstance(value, str) else None
    if text[:1] == "'":
        return text[1:-1].replace("''", "'") if len(text) > 1 and text.endswith("'") else None
    plain = re.split(r"\s#", text)[0].strip()
    return plain if plain and plain[0] not in "[{&*!%@`" else None
