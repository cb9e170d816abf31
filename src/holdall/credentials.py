"""Fields of a definition that seem to hold a credential. Pure: records in, places out, never a value.

An instruction that has a key in it goes wherever the bundle goes. Only keys that are known by their own form are
looked for; whether one is real, or still works, is nobody's business here. What files hold is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec

from holdall.errors import UsageFault
from holdall.model import Kind, Record
from holdall.redaction import redactor

__all__ = ["Suspect", "looks_like", "refuse_key", "suspects"]

_KNOWN: dict[str, str] = {
    "an Anthropic key": r"\bsk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{24,}",
    "an OpenAI key": r"\bsk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{24,}|[A-Za-z0-9]{32,})",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{16,}",
    "a Slack webhook": r"\bhooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{16,}",
    "a Stripe key": r"\b[rs]k_live_[A-Za-z0-9]{16,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}",
    "an Azure OpenAI key": r"\b[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}\b",
    "an Azure connection string": r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43,86}=",
    "an Azure client secret": r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}(?![\w~-])",
    "an Azure signature": r"[?&]sig=[A-Za-z0-9%+/]{43,}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----",
    "a bearer token": r"(?i:\bbearer) +[A-Za-z0-9._~+/-]{24,}",
    "a URL with a password": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@<>{}\[\]$]{1,100}:[^\s/:@<>{}\[\]$*]{6,200}@[\w.-]+",
}
_PATTERNS = [(what, re.compile(pattern)) for what, pattern in _KNOWN.items()]
# One of these is in every record that has one: looking for them takes a microsecond, and most records have none.
_HINTS = (
    *(
        b"sk-",
        b"AKIA",
        b"ASIA",
        b"ghp_",
        b"gho_",
        b"ghu_",
        b"ghs_",
        b"ghr_",
        b"github_pat_",
        b"glpat-",
        b"AIza",
        b"xox",
    ),
    *(b"hooks.slack", b"k_live_", b"hf_", b"npm_", b"SG.", b"JQQJ99", b"AccountKey=", b"SharedAccessKey=", b"8Q~"),
    *(b"sig=", b"eyJ", b"PRIVATE KEY", b"earer ", b"EARER "),
)
# Stands in for a key in what people write about keys.
_PLACEHOLDER = re.compile(
    r"(?i)example|your|dummy|placeholder|password|passwd|secret|changeme|redacted|xxxx|1234567890ab"
)
_FEWEST = 8  # different characters that a real one has, at the least


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One field that seems to hold a credential. ``field`` is where it is in the record, ``looks_like`` of what kind;
    for a membership ``id`` is its file's."""

    kind: Kind
    id: str
    field: str
    looks_like: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.id}, {self.field}: what looks like {self.looks_like}"


def suspects(records: Iterable[Record]) -> Iterator[Suspect]:
    """Every field of these records that seems to hold a credential, once for each kind of it.

    >>> from holdall.model import SourceId
    >>> raw = b'{"id": "asst_1", "metadata": {"aws": "use AKIAQ3EGRZ5JX2LMTN7A"}}'
    >>> [str(one) for one in suspects([Record(kind=Kind.ASSISTANT, id=SourceId("asst_1"), raw=raw)])]
    ['assistant asst_1, metadata.aws: what looks like an AWS access key']
    """
    for record in records:
        raw = record.raw
        if not any(hint in raw for hint in _HINTS) and not (b"@" in raw and b":" in raw and b"/" in raw):
            continue
        try:
            value = msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            continue  # nothing that anybody could read
        found = {(field, what) for field, text in _texts(value, "") for what in _looks_like(text)}
        for field, what in sorted(found):
            yield Suspect(kind=record.kind, id=record.id, field=field or "the record", looks_like=what)


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """Every text in ``value`` and the field that it is in; a key that is itself a suspect is not named."""
    match value:
        case str():
            yield field, value
        case dict():
            for key, inner in value.items():
                secret = next(_looks_like(key), None) is not None
                name = "(a key)" if secret else key
                inside = f"{field}.{name}" if field else name
                if secret:
                    yield inside, key
                yield from _texts(inner, inside)
        case list():
            for number, inner in enumerate(value):
                yield from _texts(inner, f"{field}[{number}]")


def looks_like(text: str) -> str | None:
    """What kind of credential ``text`` seems to hold, if any.

    >>> looks_like("acme"), looks_like("s3://AKIAQ3EGRZ5JX2LMTN7A/acme")
    (None, 'an AWS access key')
    """
    return next(_looks_like(text), None)


def refuse_key(value: str, name: str, keys: Collection[str], where: str = "") -> None:
    """Raises UsageFault where a setting that isn't for keys holds one of ``keys``, or what looks like a key.

    It would go into file names, reports and bundles. The error names the setting and doesn't show it. A base URL's
    query may hold one: it goes to the server alone.
    """
    if name.lower().replace("_", "-").endswith("base-url"):
        value = value.partition("?")[0]
    looks = looks_like(value)
    if looks or redactor(tuple(sorted(keys))).finds(value):
        raise UsageFault(
            f"can't use {name}{where}: it holds {f'what looks like {looks}' if looks else 'a key'}, and would be shown",
            hint="keys belong in OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY; one that was shown is better replaced",
        )


def _looks_like(text: str) -> Iterator[str]:
    for what, pattern in _PATTERNS:
        if any(_is_real(found[0]) for found in pattern.finditer(text)):
            yield what


def _is_real(text: str) -> bool:
    """Is it more than an example of its kind?"""
    return text.startswith("-----") or (not _PLACEHOLDER.search(text) and len(set(text)) >= _FEWEST)
