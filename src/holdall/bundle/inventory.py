"""Index, manifest and tag files against each other and against what an audit found in the tar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import zip_longest

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BAGIT_TXT, BLOCK, manifest_line, parse_manifest_line
from holdall.bundle.claims import about_bag, about_entry, about_info
from holdall.bundle.fullscan import LOST, PLACE, TO_THE_END, FullScan, line_ends
from holdall.bundle.layout import IndexEntry
from holdall.bundle.names import is_safe
from holdall.bundle.reader import BundleReader, index_line
from holdall.bundle.references import Report
from holdall.bundle.seekable import FrameError
from holdall.bundle.sorting import Sorter

__all__ = ["Inventory"]


class Inventory:
    """The checks of one bundle, each a method. ``quick``: the audit was not run, and no content is read here either."""

    def __init__(self, bundle: BundleReader, audit: FullScan, report: Report, *, quick: bool) -> None:
        self._bundle, self._audit, self._find, self._quick = bundle, audit, report, quick
        self._payload_end = 1 << 62  # known once the index has been read

    def check_parts(self) -> set[str]:
        """Which of index and manifest are as holdall.json says."""
        proven = set()
        info = self._bundle.info
        for path, part in ((layout.INDEX, info.index), (layout.MANIFEST, info.manifest)):
            place = part.offset, part.size, part.sha256
            digest = hashlib.sha256()
            try:
                for chunk in self._bundle.frames.chunks(part.offset, part.size):
                    digest.update(chunk)
            except FrameError as error:
                self._find("damaged", path, f"{path}: {error}")
                continue
            if digest.hexdigest() != part.sha256:
                self._find("damaged", path, f"{path}: its bytes are not those that holdall.json was made with")
            elif self._audit.tags.get(path, place) != place:
                self._find("index", path, f"{path}: holdall.json and the tar differ about it")
            else:
                proven.add(path)
        return proven

    def check_index(self) -> None:
        """Index against the members of the tar; both are sorted, so they are compared side by side."""
        unread = Sorter()
        members = _Ahead(iter(self._audit.members))
        previous = b""
        self._payload_end = 0
        for line in self._bundle.part_lines(self._bundle.info.index):
            entry = index_line(line)
            path = entry.path.encode()
            for fault in about_entry(line, entry, self._bundle.info.format):
                self._find("index", entry.path, f"{entry.path}: {fault}")
            if path <= previous:
                self._find("index", entry.path, f"{entry.path}: out of order, or twice in the index")
            previous = path
            self._payload_end = max(self._payload_end, entry.offset + entry.size)
            if not path.startswith(b"data/") or not is_safe(entry.path):
                self._find("name", entry.path, f"{entry.path}: not a name that a bundle may have")
            for extra in members.before(path):
                self._unlisted(extra)
            if members.key == path:
                self._compare(entry, members.take())
            elif entry.offset >= self._audit.followed:
                unread.add(entry.offset.to_bytes(8, "big"), msgspec.json.encode(entry))
            else:
                self._find("missing", entry.path, f"{entry.path}: in the index, but not in the tar")
        for extra in members.before(None):
            self._unlisted(extra)
        for _, line in unread:
            self._check_unread(msgspec.json.decode(line, type=IndexEntry))

    def _unlisted(self, path: bytes) -> None:
        self._find("unlisted", path.decode(), f"{path.decode()}: in the tar, but not in the index")

    def _compare(self, entry: IndexEntry, place: bytes) -> None:
        offset, size, sha256, lines = PLACE.unpack(place)
        if (offset, size) != (entry.offset, entry.size):
            self._find("index", entry.path, f"{entry.path}: index and tar differ about where it is or its size")
        elif sha256 != LOST and sha256.hex() != entry.sha256:
            self._find("damaged", entry.path, f"{entry.path}: its bytes are not those that were written (sha256)")
        elif sha256 != LOST and entry.path.endswith(".jsonl") and entry.records not in (None, lines):
            self._find("count", entry.path, f"{entry.path}: {entry.records} lines declared, {lines} there")

    def _check_unread(self, entry: IndexEntry) -> None:
        """An entry beyond what could be followed: by its place in the index alone."""
        if entry.offset + entry.size > self._bundle.frames.frames.size:
            self._find("index", entry.path, f"{entry.path}: it lies past the end")
        elif not self._quick:
            try:
                digest, lines = hashlib.sha256(), 0
                for chunk in self._bundle.frames.chunks(entry.offset, entry.size):
                    digest.update(chunk)
                    lines += line_ends(chunk)
                self._bundle.frames.read(max(entry.offset - BLOCK, 0), BLOCK)
            except FrameError:
                self._find("damaged", entry.path, f"{entry.path}: its bytes or its header are lost")
            else:
                self._compare(entry, PLACE.pack(entry.offset, entry.size, digest.digest(), lines))

    def check_manifest(self) -> None:
        """The manifest has the index's entries, in the same order."""
        lines = self._bundle.part_lines(self._bundle.info.manifest)
        for entry, line in zip_longest(self._bundle.entries(""), lines):
            if entry is None or line is None or manifest_line(entry.sha256, entry.path) != line + b"\n":
                path = entry.path if entry else parse_manifest_line((line or b"") + b"\n")[1]
                self._find("index", path, f"{path}: index and manifest differ from here on")
                return

    def check_tags(self) -> None:
        """The tag files that the audit saw."""
        if self._quick:
            return
        if self._audit.followed == TO_THE_END:
            for path in sorted(layout.TAG_FILES - self._audit.tags.keys()):
                self._find("missing", path, f"{path}: not in the tar")
        else:
            reached = (*layout.OPENING, *([layout.BAG_INFO] if self._audit.followed >= self._payload_end else []))
            for path in reached:
                if path not in self._audit.tags:
                    self._find("damaged", path, f"{path}: it is lost, or the way to it")
        self._check_kept()

    def _check_kept(self) -> None:
        """What the tag files say, as far as the audit kept them."""
        kept = self._audit.kept
        if kept.get(layout.BAGIT, BAGIT_TXT) != BAGIT_TXT:
            self._find("damaged", layout.BAGIT, "bagit.txt is not that of BagIt 1.0 in UTF-8")
        info = self._audit.tags.get(layout.INFO)
        if kept.get(layout.INFO, self._bundle.raw_info) != self._bundle.raw_info:
            self._find("index", layout.INFO, "holdall.json is not what the last frame begins with")
        elif info and info[0] != self._bundle.info_offset:
            self._find("index", layout.INFO, "the last frame does not begin with holdall.json")
        if layout.TAG_MANIFEST in kept and self._audit.followed == TO_THE_END:
            tags = sorted((path, tag[2]) for path, tag in self._audit.tags.items() if path != layout.TAG_MANIFEST)
            if kept[layout.TAG_MANIFEST] != b"".join(manifest_line(sha256, path) for path, sha256 in tags):
                self._find("index", layout.TAG_MANIFEST, "the tag manifest does not list the tag files as they are")
        if layout.BAG_INFO in kept:
            try:
                for fault in about_bag(kept[layout.BAG_INFO], self._bundle.info):
                    self._find("count", layout.BAG_INFO, fault)
            except ValueError as error:
                self._find("tar", layout.BAG_INFO, f"bag-info.txt can't be read: {error}")

    def check_info(self) -> None:
        """What holdall.json says that nothing else has to be read for."""
        try:
            for fault in about_info(self._bundle.raw_info, self._bundle.info):
                self._find("index", layout.INFO, f"holdall.json: {fault}")
        except ValueError as error:
            self._find("index", layout.INFO, f"holdall.json can be read in two ways: {error}")

    def check_totals(self) -> None:
        """Number and size of the entries, by the index alone."""
        counts = self._bundle.info.counts
        entries = size = 0
        for entry in self._bundle.entries():
            entries += 1
            size += entry.size
        for name, count in (("entries", entries), ("bytes", size)):
            if counts.get(name) != count:
                self._find("count", layout.INFO, f"{name}: {counts.get(name)} declared, {count} there")


class _Ahead:
    """The members by path, with a look at the next one."""

    def __init__(self, members: Iterator[tuple[bytes, bytes]]) -> None:
        self._members = members
        self._next = next(members, None)

    @property
    def key(self) -> bytes | None:
        return self._next[0] if self._next else None

    def take(self) -> bytes:
        assert self._next
        place = self._next[1]
        self._next = next(self._members, None)
        return place

    def before(self, path: bytes | None) -> Iterator[bytes]:
        """Take the members before ``path``, or all."""
        while self.key is not None and (path is None or self.key < path):
            yield self.key
            self.take()
