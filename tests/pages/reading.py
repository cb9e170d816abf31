"""A page as a program reads it: its text, and whatever in it could lead elsewhere."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

from holdall.pages import POLICY

__all__ = ["Reading"]

_TAGS = re.compile(
    "html|head|meta|title|style|body|main|header|section|article|h[123]|p|a|b|bdi|br|code|dd|details|dl|dt|em|i|li|pre|"
    "small|span|summary|svg|ul"
)
_ATTRIBUTES = re.compile("charset|class|content|http-equiv|href|id|lang|name|open|role|aria-label")
_VOID = frozenset({"meta", "br"})
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Reading(HTMLParser):
    """Raises AssertionError where the page is no page of ours: unknown tags, events, links that aren't fragments."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.policy: str | None = None
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open
        assert self.policy == POLICY == "default-src 'none'; style-src 'unsafe-inline'"
        assert self.links <= {f"#{id}" for id in self.ids}
        assert not {char for char in page if unicodedata.category(char) in _INVISIBLE} - {"\n", "\t"}

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert _TAGS.fullmatch(tag), tag
        found = dict(attrs)
        assert all(map(_ATTRIBUTES.fullmatch, found)), found
        if found.get("http-equiv"):
            self.policy = found["content"]
        if "href" in found:
            self.links.add(str(found["href"]))
        if "id" in found:
            assert found["id"] not in self.ids
            self.ids.add(str(found["id"]))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "rect"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            assert not re.search(r"url\(|@import|expression", data)
        else:
            self.texts.append(data)
