"""A text cut into the chunks that a store keeps of it. A token counts as four characters."""

from __future__ import annotations

from holdall.sandbox.service.documents import CHARS_PER_TOKEN


def chunks(text: str, *, size: int, overlap: int) -> list[str]:
    """Pieces of at most ``size`` tokens; each begins with the last ``overlap`` tokens of the one before.

    With no overlap the pieces joined are the text. A piece ends after white space where there is some in its last
    tenth.

    >>> chunks("aaaa bbbb cccc", size=2, overlap=0)
    ['aaaa bbb', 'b cccc']
    """
    longest, repeated = size * CHARS_PER_TOKEN, overlap * CHARS_PER_TOKEN
    found: list[str] = []
    start = 0
    while True:
        end = start + longest
        if end >= len(text):
            found.append(text[start:])
            return found
        end = _break(text, end - longest // 10, end)
        found.append(text[start:end])
        start = end - repeated


def byte_chunks(text: str, *, size: int, overlap: int) -> list[str]:
    """As ``chunks``, with four bytes of UTF-8 for a token, and cut anywhere: pieces of characters come as U+FFFD.

    >>> byte_chunks("öööö", size=1, overlap=0), byte_chunks("xöööö", size=1, overlap=0)
    (['öö', 'öö'], ['xö�', '�ö�', '�'])
    """
    data, longest, repeated = text.encode(), size * CHARS_PER_TOKEN, overlap * CHARS_PER_TOKEN
    ends = range(longest, max(len(data) - repeated, 1) + longest, longest - repeated)
    return [data[end - longest : end].decode("utf-8", "replace") for end in ends]


def _break(text: str, earliest: int, end: int) -> int:
    window = text[earliest:end]
    word = window.rsplit(None, 1)[-1:]
    if not word or window[-1].isspace() or len(word[0]) == len(window):
        return end
    return end - len(word[0])
