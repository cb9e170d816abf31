"""Ids as the service makes them: a prefix and a random tail."""

from __future__ import annotations

import hashlib
import random
import string

__all__ = ["Ids", "organization_id", "project_id"]

_LETTERS = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


class Ids:
    """New ids, out of the randomness that was passed in."""

    def __init__(self, randomness: random.Random) -> None:
        self._choices = randomness.choices

    def _tail(self, alphabet: str, length: int) -> str:
        return "".join(self._choices(alphabet, k=length))

    def assistant(self) -> str:
        return "asst_" + self._tail(_LETTERS, 24)

    def file(self) -> str:
        return "file-" + self._tail(_LETTERS, 22)

    def store(self) -> str:
        return "vs_" + self._tail(_HEX, 32)

    def batch(self) -> str:
        return "vsfb_" + self._tail(_HEX, 32)

    def container(self) -> str:
        return "cntr_" + self._tail(_HEX, 48)

    def container_file(self) -> str:
        return "cfile_" + self._tail(_HEX, 32)

    def request(self) -> str:
        return "req_" + self._tail(_HEX, 32)


def _derived(purpose: str, key: str) -> str:
    digest = int.from_bytes(hashlib.sha256(f"{purpose}\0{key}".encode()).digest())
    tail = ""
    for _ in range(24):
        digest, place = divmod(digest, len(_LETTERS))
        tail += _LETTERS[place]
    return tail


def project_id(key: str) -> str:
    """The project that a key belongs to; the same key is the same project in every data folder."""
    return "proj_" + _derived("project", key)


def organization_id(key: str) -> str:
    return "org-" + _derived("organization", key)
