"""What a look at the accounts found, as values."""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = [
    "Diagnosis",
    "DoctorFinding",
    "DownloadCheck",
    "EndpointCheck",
    "EndpointState",
    "Failure",
    "Holdings",
    "Model",
    "Models",
    "Side",
]


class EndpointState(StrEnum):
    """How an endpoint answers to a read."""

    YES = "answers"
    ABSENT = "absent"
    DENIED = "denied"
    FAILS = "fails"
    UNKNOWN = "unknown"


class EndpointCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint. ``scopes`` are the permissions that the server says the key lacks; ``message`` its own words.

    ``hint`` is the way out, where the kind of refusal is known.
    """

    name: str
    answer: EndpointState
    status: int | None = None
    scopes: list[str] = []
    message: str = ""
    hint: str = ""


class DownloadCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the bytes of the files of one purpose are given back: what came of the newest one.

    ``answer`` is None where no file of the purpose could be tried. ``bytes`` is the sum of what the server says.
    """

    purpose: str
    files: int
    bytes: int
    answer: EndpointState | None = None
    message: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that ends or isn't there. ``shutdown`` is an ISO date, ``days`` are those until then (0: today or past).

    ``used_by`` are the assistants and agents of the project that have it.
    """

    id: str
    there: bool
    shutdown: str | None = None
    days: int | None = None
    used_by: list[str] = []


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models: how many are there, and those that end, the first to end first; then those in use that are gone."""

    there: int
    ending: list[Model] = []
    gone: list[Model] = []


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What an export without flags would take in. None: not known.

    ``memberships`` are those that the stores list, or where these are too many to read, what the stores count.
    ``files`` are different files and ``bytes`` their sizes as the server says them; both are None where finding out
    would take a long time or the lists can't be had.
    """

    assistants: int | None = None
    agents: int | None = None
    vector_stores: int | None = None
    memberships: int | None = None
    files: int | None = None
    bytes: int | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an account could not be looked at, with the exit code that says so."""

    exit_code: int
    message: str
    hint: str = ""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One account. ``key_valid`` is None where no answer tells; ``proxy`` is what requests go through, without its
    password; ``in_clear`` says that they go to another machine unencrypted.

    ``text`` is whether the parsed text of a file in a store can be had, None where there was none to try. ``doubts``
    are the lists that may lack something, with why. ``requests`` counts what was sent, by method and route.
    """

    side: str
    base_url: str
    organization: str | None = None
    project: str | None = None
    proxy: str | None = None
    in_clear: bool = False
    key_valid: bool | None = None
    failure: Failure | None = None
    endpoints: list[EndpointCheck] = []
    downloads: list[DownloadCheck] = []
    text: EndpointState | None = None
    models: Models | None = None
    export: Holdings | None = None
    doubts: dict[str, str] = {}
    requests: dict[str, int] = {}

    def answer(self, name: str) -> EndpointState:
        """How the endpoint answers; one that was not asked is unknown."""
        return next((each.answer for each in self.endpoints if each.name == name), EndpointState.UNKNOWN)


class DoctorFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at. ``side`` is None for what concerns both."""

    side: str | None
    code: str
    message: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. ``same_project`` is None where nothing tells; ``evidence`` says why."""

    sides: list[Side]
    same_project: bool | None
    evidence: str
    findings: list[DoctorFinding]

    @property
    def failure(self) -> Failure | None:
        """The first account that could not be looked at."""
        return next((side.failure for side in self.sides if side.failure), None)
