"""Tokens in the form of Entra's: what a sandbox that stands as Azure AI Foundry asks for in place of a key.

Nothing is signed and nothing is secret; only the time at which a token ends is looked at. Run as a module it prints a
token, for ``--token-command``:  python -m holdall.sandbox.entra [SECONDS]
"""

from __future__ import annotations

import base64
import binascii
import sys
import time

import msgspec

AUDIENCE = "https://ai.azure.com"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says: until when it is good, in Unix seconds, and for whom."""

    exp: float
    aud: str = AUDIENCE


def token(expires_at: float, audience: str = AUDIENCE) -> str:
    """A token that ends at that time, in Unix seconds."""
    parts = ({"typ": "JWT", "alg": "RS256"}, {"aud": audience, "exp": int(expires_at)})
    return ".".join([*(_packed(msgspec.json.encode(part)) for part in parts), _packed(b"signature")])


def claims(text: str) -> Claims | None:
    """What a token says; None where the text is no token."""
    parts = text.split(".")
    if len(parts) != 3 or not text.startswith("eyJ"):
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=="), type=Claims)
    except (binascii.Error, msgspec.DecodeError, RecursionError, ValueError):
        return None


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    print(token(time.time() + float(sys.argv[1] if len(sys.argv) > 1 else 3600)))
