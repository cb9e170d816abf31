"""Secrets in records: fields of a definition that seem to hold a credential, found and told; and the environment
variables of Foundry's hosted agents, whose values are never kept. Pure: no value comes out.

A key in an instruction goes wherever the bundle goes. Only keys of a known form are found, whether or not they work.
File contents are not searched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.errors import UsageFault
from holdall.kinds import noun
from holdall.legible import Capped
from holdall.model import Kind, Record
from holdall.untrusted import read_json

# The kinds of keys: what stands right before a literal, the literal, and what follows. Most records have none of the
# literals, and looking for one is quick. Every pattern begins with its literal, and what follows is bounded or
# possessive, so that a search is linear whatever the text. Where a try fails far behind its literal, it takes the text
# with it, and counts only with the group.
_KNOWN = (
    ("an Anthropic key", r"\b", "sk-ant-", "[a-z0-9]{2,12}-[A-Za-z0-9_-]{24,}+"),
    ("an OpenAI key", r"\b", "sk-", "(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{24,}+|[A-Za-z0-9]{32,}+)"),
    ("an AWS access key", r"\b", "AKIA", r"[A-Z2-7]{16}\b"),
    ("an AWS access key", r"\b", "ASIA", r"[A-Z2-7]{16}\b"),
    ("a GitHub token", r"\b", "gh", "[pousr]_[A-Za-z0-9]{36,}+"),
    ("a GitHub token", r"\b", "github_pat_", "[A-Za-z0-9_]{40,}+"),
    ("a GitLab token", r"\b", "glpat-", "[A-Za-z0-9_-]{20,}+"),
    ("a Google key", r"\b", "AIza", r"[A-Za-z0-9_-]{35}\b"),
    ("a Slack token", r"\b", "xox", "[abeoprs]-[A-Za-z0-9-]{16,}+"),
    ("a Slack webhook", r"\b", "hooks.slack.com/", "services/T[A-Z0-9]++/B[A-Z0-9]++/[A-Za-z0-9]{16,}+"),
    ("a Stripe key", r"\b[rs]", "k_live_", "[A-Za-z0-9]{16,}+"),
    ("a Hugging Face token", r"\b", "hf_", "[A-Za-z0-9]{30,}+"),
    ("an npm token", r"\b", "npm_", r"[A-Za-z0-9]{36}\b"),
    ("a SendGrid key", r"\b", "SG.", r"[A-Za-z0-9_-]{20,}+\.[A-Za-z0-9_-]{30,}+"),
    ("an Azure OpenAI key", r"\b[A-Za-z0-9]{52}", "JQQJ99", r"[A-Za-z0-9]{26}\b"),
    ("an Azure connection string", r"\b", "AccountKey=", "[A-Za-z0-9+/]{43,86}="),
    ("an Azure connection string", r"\b", "SharedAccessKey=", "[A-Za-z0-9+/]{43,86}="),
    ("an Azure client secret", r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}", "8Q~", r"[A-Za-z0-9_~.-]{31,34}(?![\w~-])"),
    ("an Azure signature", "[?&]", "sig=", "[A-Za-z0-9%+/]{43,}+"),
    (
        "a JSON web token",
        r"\b",
        "eyJ",
        r"[A-Za-z0-9_-]*+(?P<found>(?<=[A-Za-z0-9_-]{16})\.eyJ[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+)?",
    ),
    ("a private key", "", "-----BEGIN ", "(?:[A-Z0-9]++ )*PRIVATE KEY-----"),
    ("a bearer token", r"\b[Bb]", "earer ", " *+[A-Za-z0-9._~+/-]{24,}+"),
    ("a bearer token", r"\bB", "EARER ", " *+[A-Za-z0-9._~+/-]{24,}+"),
    (
        "a URL with a password",
        "[a-z][a-z0-9+.-]",
        "://",
        r"[^\s/:@<>{}\[\]$]{1,100}+:[^\s/:@<>{}\[\]$*]{6,200}+@[\w.-]++",
    ),
)
_Pattern = tuple[str, str, str]
# Compiled by re where its literal is there, and then kept: compiling all takes longer than most commands' options.
_IN_TEXT: list[_Pattern] = [
    (what, literal, f"{re.escape(literal)}(?<={before}{re.escape(literal)}){after}")
    for what, before, literal, after in _KNOWN
]
_IN_RAW = [(what, literal.encode(), pattern.encode()) for what, literal, pattern in _IN_TEXT]
# What JSON writes for characters that stand in or beside a key.
_ESCAPES = (
    (rb"\\", b"  "),
    (rb"\/", b"/"),
    (rb"\n", b" "),
    (rb"\r", b" "),
    (rb"\t", b" "),
    (rb"\"", b" "),
    (rb"\u0026", b"&"),
    (rb"\u002b", b"+"),
    (rb"\u002B", b"+"),
    (rb"\u003d", b"="),
    (rb"\u003D", b"="),
    (rb"\u0027", b"'"),
)
# Stands in for a key in what people write about keys.
_PLACEHOLDER = r"(?i)example|your|dummy|placeholder|password|passwd|secret|changeme|redacted|xxxx|1234567890ab"
_FEWEST = 8  # different characters that a real one has, at the least
_SHORTEST = 14  # no text with fewer characters has one
# Bytes of records in which the field is located; of later records only the record is named.
_LOCATED = 8 << 20
# Fields of one record that are named, and characters of each.
_FIELDS = 20
_LONGEST = 200

_VARIABLES = "environment_variables"
_NULL = msgspec.Raw(b"null")
# By the kind of record, where its definition is.
_EVERY = "*"
_DEFINITION = {Kind.FOUNDRY_AGENT: ("versions", _EVERY, "definition"), Kind.AGENT_VERSION: ("definition",)}


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """One field that seems to hold a credential. ``field`` is where it is in the record, ``looks_like`` of what kind;
    for a membership ``id`` is its file's."""

    kind: Kind
    id: str
    field: str
    looks_like: str

    def __str__(self) -> str:
        return f"{noun(self.kind)} {self.id}, {self.field}: looks like {self.looks_like}"


class Scan:
    """Looks through records for fields that seem to hold a credential: up to 20 a record, once for each kind of it.
    ``found`` has the first of them.

    >>> from holdall.model import SourceId
    >>> raw = b'{"id": "asst_1", "metadata": {"aws": "use AKIAQ3EGRZ5JX2LMTN7A"}}'
    >>> scan = Scan()
    >>> scan.look(Record(kind=Kind.ASSISTANT, id=SourceId("asst_1"), raw=raw))
    >>> [str(one) for one in scan.found]
    ['assistant asst_1, metadata.aws: looks like an AWS access key']
    """

    def __init__(self) -> None:
        self.found: Capped[Suspect] = Capped()
        self._left = _LOCATED

    def look(self, record: Record) -> None:
        kinds = _kinds(record.raw)
        if not kinds:
            return
        found = sorted(("", what) for what in kinds)
        if len(record.raw) <= self._left:
            self._left -= len(record.raw)
            try:
                value = read_json(record.raw)
            except ValueError:
                return  # nothing that anybody could read
            places = _places(value, [one for one in _IN_TEXT if one[0] in kinds])
            found = sorted({(_shown(path), what) for path, what in islice(places, _FIELDS)})
        for field, what in found:
            self.found.append(Suspect(kind=record.kind, id=record.id, field=field or "the record", looks_like=what))


def looks_like(text: str) -> str | None:
    """What kind of credential ``text`` seems to hold, if any.

    >>> looks_like("acme"), looks_like("s3://AKIAQ3EGRZ5JX2LMTN7A/acme")
    (None, 'an AWS access key')
    """
    return next(_looks_like(text, _IN_TEXT), None)


def refuse_key(value: str, name: str, keys: Collection[str], where: str = "") -> None:
    """Raises UsageFault where a setting that isn't for keys holds one of ``keys``, or what looks like a key.

    It would go into file names, reports and bundles. The error names the setting and doesn't show it. A base URL's
    query may hold one: it goes to the server alone.
    """
    if name.lower().replace("_", "-").endswith("base-url"):
        value = value.partition("?")[0]
    looks = looks_like(value)
    if looks or (keys and _holds_key(value, keys)):
        raise UsageFault(
            f"can't use {name}{where}: it contains {f'what looks like {looks}' if looks else 'a key'}, and "
            f"this setting is not kept secret",
            hint="put keys into OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY; replace a key that others may have seen",
        )


def _holds_key(value: str, keys: Collection[str]) -> bool:
    from holdall.redaction import redactor  # most commands know no key

    return redactor(tuple(sorted(keys))).finds(value)


def _looks_like(text: str, patterns: Iterable[_Pattern]) -> Iterator[str]:
    if len(text) >= _SHORTEST:
        for what, hint, pattern in patterns:
            if hint in text and any(map(_is_real, re.finditer(pattern, text))):
                yield what


def _kinds(raw: bytes) -> set[str]:
    """The kinds of credentials that a record's JSON seems to have; may include one that its texts don't have."""
    hinted = [(what, pattern) for what, hint, pattern in _IN_RAW if hint in raw]
    if hinted and b"\\" in raw:
        for escape, stands_for in _ESCAPES:
            raw = raw.replace(escape, stands_for)
    return {what for what, pattern in hinted if any(map(_is_real, re.finditer(pattern, raw)))}


def _places(value: Any, patterns: Collection[_Pattern]) -> Iterator[tuple[str, str]]:
    """Each field with a suspect, and its kind; a key that is itself a suspect is not named."""
    match value:
        case str():
            yield from (("", what) for what in _looks_like(value, patterns))
        case dict():
            for key, inner in value.items():
                whats = list(_looks_like(key, patterns))
                step = ".(a key)" if whats else f".{key[:_LONGEST]}"
                yield from ((step, what) for what in whats)
                # A path is put together on the way back, so only where something is found.
                yield from ((step + path, what) for path, what in _places(inner, patterns))
        case list():
            for number, inner in enumerate(value):
                yield from ((f"[{number}]{path}", what) for path, what in _places(inner, patterns))


def _shown(path: str) -> str:
    path = path.removeprefix(".")
    return path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"


def _is_real(found: re.Match[str] | re.Match[bytes]) -> bool:
    """Whether it is more than an example."""
    text = found[0] if isinstance(found[0], str) else found[0].decode("latin-1")
    if found.re.groups and not found.group("found"):
        return False
    return text.startswith("-----") or (not re.search(_PLACEHOLDER, text) and len(set(text)) >= _FEWEST)


class CannotWithhold(ValueError):
    """A record whose variables can't be told from the rest, so that it must not be written."""


def without_values(record: Record) -> Record:
    """The record with null for the value of each environment variable; of the rest every byte that isn't white space
    around that place is as it came. Raises CannotWithhold.

    >>> raw = b'{"id": "a", "x": 1.0, "definition": {"environment_variables": {"TOKEN": "secret"}}}'
    >>> without_values(Record(kind=Kind.AGENT_VERSION, id="a:1", raw=raw)).raw
    b'{"id":"a","x":1.0,"definition":{"environment_variables":{"TOKEN":null}}}'
    """
    if record.kind not in _DEFINITION or not _variables(record):
        return record
    try:
        return replace(record, raw=_emptied(record.raw, (*_DEFINITION[record.kind], _VARIABLES)))
    except (ValueError, RecursionError) as error:
        raise CannotWithhold(f"its environment variables can't be read ({error})") from None


def variable_names(record: Record) -> list[str]:
    """The names of the variables, each once."""
    if record.kind not in _DEFINITION:
        return []
    return list(dict.fromkeys(name for one in _variables(record) for name in _listed_names(one)))


def _variables(record: Record) -> list[Any]:
    """The environment variables in a record, of each of its definitions that has any such field."""
    found: list[Any] = [read_json(record.raw, lenient=True)]
    for key in (*_DEFINITION[record.kind], _VARIABLES):
        objects = [one for one in found if isinstance(one, dict)]
        found = [value for one in objects for name, value in one.items() if key in (name, _EVERY)]
    return found


def _listed_names(variables: Any) -> list[str]:
    if isinstance(variables, dict):
        return list(variables)
    listed = variables if isinstance(variables, list) else []
    return [str(one.get("name")) for one in listed if isinstance(one, dict)]


def _emptied(raw: bytes, path: tuple[str, ...]) -> bytes:
    """The JSON object ``raw`` where what is at ``path`` has no values; anything else as it is."""
    if not path:
        return msgspec.json.encode(_without(msgspec.json.decode(raw)))
    if not raw.lstrip().startswith(b"{"):
        return raw
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    for name in fields:
        if path[0] in (name, _EVERY):
            fields[name] = msgspec.Raw(_emptied(bytes(fields[name]), path[1:]))
    return msgspec.json.encode(fields)


def _without(variables: Any) -> Any:
    """The names alone: of an object its keys, of a list the ``name`` of each."""
    if isinstance(variables, dict):
        return dict.fromkeys(variables, _NULL)
    listed = variables if isinstance(variables, list) else []
    names = [{key: one[key] if key == "name" else _NULL for key in one} for one in listed if isinstance(one, dict)]
    return names or _NULL
