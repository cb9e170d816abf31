"""Undoes conversions of line ends by git or an editor. The caller checks the result by its sha256."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

Conversion = Callable[[Iterable[bytes]], Iterator[bytes]]


def other_line_ends(data: bytes) -> Iterator[bytes]:
    """``data`` as it may have been before its line ends were converted."""
    return (b"".join(convert([data])) for convert in CONVERSIONS)


def _to_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        piece = held + piece
        # Its line feed may be the first byte of the next piece.
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(held).replace(b"\r\n", b"\n")
    yield held


def _to_crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    return (piece.replace(b"\n", b"\r\n") for piece in _to_lf(pieces))


CONVERSIONS: tuple[Conversion, ...] = (_to_lf, _to_crlf)
"""To line feeds, and to pairs with a carriage return, the pieces of a file each."""
