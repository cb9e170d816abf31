"""Index, manifest and tag files against each other and against what a full scan found in the tar."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from itertools import groupby, zip_longest
from operator import itemgetter

from holdall.bundle import layout
from holdall.bundle.bag import BAGIT_TXT, BLOCK, manifest_line, parse_manifest_line
from holdall.bundle.claims import about_bag, about_entry, about_info, index_line
from holdall.bundle.fullscan import TO_THE_END, FullScan, Scanned, line_ends
from holdall.bundle.layout import IndexEntry, Part
from holdall.bundle.names import is_safe
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import Report
from holdall.bundle.seekable import FrameError
from holdall.bundle.sorting import ValueSorter

__all__ = ["Inventory"]


class Inventory:
    """The checks of one bundle, each a method, against the ``scan`` of its bytes; None where nobody read them: then no
    content is read here either."""

    def __init__(self, bundle: BundleReader, scan: FullScan | None, report: Report) -> None:
        self._bundle, self._scan, self._find = bundle, scan, report
        self._followed = scan.followed if scan else 0
        self._payload_end = 1 << 62  # known once the index has been read

    def check_parts(self) -> set[str]:
        """Which of index and manifest are as holdall.json says."""
        proven = set()
        info = self._bundle.info
        for path, part in ((layout.INDEX, info.index), (layout.MANIFEST, info.manifest)):
            scanned = self._scan.tags.get(path) if self._scan else None
            try:
                sha256, _ = self._read(part)
            except FrameError as error:
                self._find("damaged", path, f"{path}: {error}")
                continue
            if sha256 != part.sha256:
                self._find("damaged", path, f"{path}: its bytes are not those that holdall.json was made with")
            elif scanned and scanned[:3] != (part.offset, part.size, part.sha256):
                self._find("index", path, f"{path}: holdall.json and the tar differ about it")
            else:
                proven.add(path)
        return proven

    def _read(self, part: Part | IndexEntry) -> tuple[str, int]:
        """The sha256 of what lies there, and the number of its lines; FrameError where it can't be had."""
        digest, lines = hashlib.sha256(), 0
        for chunk in self._bundle.frames.chunks(part.offset, part.size):
            digest.update(chunk)
            lines += line_ends(chunk)
        return digest.hexdigest(), lines

    def check_index(self) -> None:
        """Index against the members of the tar; both are sorted, so they are compared side by side."""
        unread = ValueSorter(IndexEntry)
        members: Iterator[tuple[bytes, Scanned | IndexEntry]] = self._scan.members.items() if self._scan else iter(())
        # Of one path the member comes before its line.
        for key, found in groupby(heapq.merge(members, self._read_index(), key=itemgetter(0)), key=itemgetter(0)):
            path, place = key.decode(errors="replace"), None
            for _, one in found:
                if not isinstance(one, IndexEntry):
                    if place is not None:
                        self._unlisted(path)
                    place = place or one
                elif place is not None:
                    self._compare(one, place)
                    place = None
                elif one.offset >= self._followed:
                    unread.add(one.offset, one)
                else:
                    self._find("missing", path, f"{path}: in the index, but not in the tar")
            if place is not None:
                self._unlisted(path)
        for entry in unread:
            self._check_unread(entry)

    def _read_index(self) -> Iterator[tuple[bytes, IndexEntry]]:
        """Each line behind its path, held to its form."""
        previous = b""
        self._payload_end = self._entries = self._bytes = 0
        for line in self._bundle.part_lines(self._bundle.info.index):
            entry = index_line(line)
            path = entry.path.encode()
            for fault in about_entry(line, entry, self._bundle.info.format):
                self._find("index", entry.path, f"{entry.path}: {fault}")
            if path <= previous:
                self._find("index", entry.path, f"{entry.path}: out of order, or twice in the index")
            previous = path
            self._entries += 1
            self._bytes += entry.size
            self._payload_end = max(self._payload_end, entry.offset + entry.size)
            if not path.startswith(b"data/") or not is_safe(entry.path):
                self._find("name", entry.path, f"{entry.path}: not a name that a bundle may have")
            yield path, entry

    def _unlisted(self, path: str) -> None:
        self._find("unlisted", path, f"{path}: in the tar, but not in the index")

    def _compare(self, entry: IndexEntry, place: Scanned) -> None:
        offset, size, sha256, lines = place
        if (offset, size) != (entry.offset, entry.size):
            self._find("index", entry.path, f"{entry.path}: index and tar differ about where it is or its size")
        elif sha256 is None:
            pass  # that its bytes are lost was found when they were read
        elif sha256 != entry.sha256:
            self._find("damaged", entry.path, f"{entry.path}: its bytes are not those that were written (sha256)")
        elif entry.path.endswith(layout.LINES) and entry.records not in (None, lines):
            self._find("count", entry.path, f"{entry.path}: {entry.records} lines declared, {lines} there")

    def _check_unread(self, entry: IndexEntry) -> None:
        """An entry beyond what could be followed: by its place in the index alone."""
        if entry.offset + entry.size > self._bundle.frames.frames.size:
            self._find("index", entry.path, f"{entry.path}: it lies past the end")
        elif self._scan:
            try:
                place = Scanned(entry.offset, entry.size, *self._read(entry))
                self._bundle.frames.read(max(entry.offset - BLOCK, 0), BLOCK)
            except FrameError:
                self._find("damaged", entry.path, f"{entry.path}: its bytes or its header are lost")
            else:
                self._compare(entry, place)

    def check_manifest(self) -> None:
        """The manifest has the index's entries, in the same order."""
        lines = self._bundle.part_lines(self._bundle.info.manifest)
        for entry, line in zip_longest(self._bundle.entries(""), lines):
            if entry is None or line is None or manifest_line(entry.sha256, entry.path) != line + b"\n":
                path = entry.path if entry else parse_manifest_line((line or b"") + b"\n")[1]
                self._find("index", path, f"{path}: index and manifest differ from here on")
                return

    def check_tags(self) -> None:
        """The tag files that the scan met, and what they say as far as it kept them."""
        if self._scan is None:
            return
        tags, kept = self._scan.tags, self._scan.kept
        if self._followed == TO_THE_END:
            for path in sorted(layout.TAG_FILES - tags.keys()):
                self._find("missing", path, f"{path}: not in the tar")
        else:
            reached = (*layout.OPENING, *([layout.BAG_INFO] if self._followed >= self._payload_end else []))
            for path in reached:
                if path not in tags:
                    self._find("damaged", path, f"{path}: it is lost, or the way to it")
        self._check_kept(tags, kept)

    def _check_kept(self, tags: dict[str, Scanned], kept: dict[str, bytes]) -> None:
        if kept.get(layout.BAGIT, BAGIT_TXT) != BAGIT_TXT:
            self._find("damaged", layout.BAGIT, "bagit.txt is not that of BagIt 1.0 in UTF-8")
        if kept.get(layout.INFO, self._bundle.raw_info) != self._bundle.raw_info:
            self._find("index", layout.INFO, "holdall.json is not what the last frame begins with")
        elif layout.INFO in tags and tags[layout.INFO].offset != self._bundle.info_offset:
            self._find("index", layout.INFO, "the last frame does not begin with holdall.json")
        if layout.TAG_MANIFEST in kept and self._followed == TO_THE_END:
            listed = sorted(tags.keys() - {layout.TAG_MANIFEST})
            if kept[layout.TAG_MANIFEST] != b"".join(manifest_line(str(tags[path].sha256), path) for path in listed):
                self._find("index", layout.TAG_MANIFEST, "the tag manifest does not list the tag files as they are")
        if layout.BAG_INFO in kept:
            self._check_bag_info(kept[layout.BAG_INFO])

    def _check_bag_info(self, raw: bytes) -> None:
        try:
            for fault in about_bag(raw, self._bundle.info):
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
        """Number and size of the entries, which ``check_index`` has counted."""
        counts = self._bundle.info.counts
        for name, count in (("entries", self._entries), ("bytes", self._bytes)):
            if counts.get(name) != count:
                self._find("count", layout.INFO, f"{name}: {counts.get(name)} declared, {count} there")
