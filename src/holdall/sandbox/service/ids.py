"""Ids as the service makes them: a prefix and a random tail."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

from holdall.sandbox.service.switches import Variation

_LETTERS = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


class Ids:
    """New ids, out of the randomness that was passed in, in the form that the oddities of the moment say."""

    def __init__(self, randomness: random.Random, oddities: Callable[[], frozenset[str]]) -> None:
        self._randomness = randomness
        self._oddities = oddities

    def _tail(self, alphabet: str, length: int) -> str:
        return "".join(self._randomness.choices(alphabet, k=length))

    def _made(self, prefix: str, alphabet: str, length: int) -> str:
        oddities = self._oddities()
        if Variation.ID_HEX in oddities:
            return self._tail(_HEX, 24)
        if Variation.ID_UUID in oddities:
            return str(uuid.UUID(int=self._randomness.getrandbits(128), version=4))
        return prefix + self._tail(alphabet, length)

    def assistant(self) -> str:
        return self._made("asst_", _LETTERS, 24)

    def file(self, purpose: str) -> str:
        oddities = self._oddities()
        prefixes = {Variation.ID_UNDERSCORE: "file_"}
        if purpose == "assistants":
            prefixes[Variation.ID_ASSISTANT] = "assistant-"
        prefix = next((prefix for oddity, prefix in prefixes.items() if oddity in oddities), "file-")
        return self._made(prefix, _LETTERS, 22)

    def store(self) -> str:
        return self._made("vs_", _HEX, 32)

    def batch(self) -> str:
        return self._made("vsfb_", _HEX, 32)

    def container(self) -> str:
        return "cntr_" + self._tail(_HEX, 48)

    def container_file(self) -> str:
        return "cfile_" + self._tail(_HEX, 32)

    def skill(self) -> str:
        return self._made("skill_", _HEX, 48)

    def skill_version(self) -> str:
        return self._made("skillver_", _HEX, 48)

    def template(self) -> str:
        return self._made("envtmpl_", _HEX, 32)

    def response(self) -> str:
        return self._made("resp_", _HEX, 48)

    def item(self, prefix: str) -> str:
        """An item of a response: ``msg``, ``fs`` or ``fc``."""
        return f"{prefix}_" + self._tail(_HEX, 48)

    def call(self) -> str:
        return "call_" + self._tail(_LETTERS, 24)

    def agent(self) -> str:
        return self._made("agent_", _HEX, 32)

    def identity(self) -> str:
        """Of something that Entra knows."""
        return str(uuid.UUID(int=self._randomness.getrandbits(128), version=4))

    def project(self) -> str:
        return "proj_" + self._tail(_LETTERS, 24)

    def organization(self) -> str:
        return "org-" + self._tail(_LETTERS, 24)

    def request(self) -> str:
        return "req_" + self._tail(_HEX, 32)
