"""Compares the members of a copy with the bundle's: the files of a store, and the versions of a skill. Reads only.

Of a file: its attributes, chunking, status and text, and whether the store's own search finds it by its text. Of a
skill: what is in the zip of each version, and which one is the default.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from holdall.agent_views import SkillView
from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.errors import NotFound, RequestRefused, ServerFailed, UnexpectedAnswer
from holdall.importer.destination.files_and_skills import versions_there
from holdall.importer.plan.bundle_summary import Content, SkillVersion
from holdall.importer.plan.difference import PRESENT, By, Difference, FoundSkill, same
from holdall.importer.plan.skill_steps import compare_skill, skill_name
from holdall.importer.proof.compare_text import TextComparer, TextComparison, TextMatch
from holdall.join_parts import overlap_of
from holdall.model import Kind, MembershipView, Record, SourceId, TargetId
from holdall.remote.client import Account, path, viewed

# Memberships that are read at once.
_PIECE = 100
# Most that one search may answer.
_RESULTS = 50
# Words of a sentence that is asked for, and its characters at the most.
_SHORT, _LONG = 4, 25
_LONGEST = 300
# How much of a text is looked at for each of them.
_WINDOW = 100_000
# A text up to this length has no second sentence that says more than its best.
_BRIEF = 2000

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001


class FileProof(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file in one store. ``found``: by the store's search; None where that wasn't asked.

    ``why`` says why its text wasn't compared, ``unsearched`` why the search says nothing.
    """

    store: SourceId
    file: SourceId
    target: TargetId
    name: str | None
    status: str
    text: TextMatch = TextMatch.NOT_CHECKED
    found: bool | None = None
    why: str = ""
    unsearched: str = ""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``found``, or not by ``asked``; None where it couldn't be asked or the hits say nothing, with the
    reason."""

    found: bool | None
    asked: str = ""
    why: str = ""


class _Hit(msgspec.Struct, frozen=True, kw_only=True):
    file_id: TargetId | None = None
    filename: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[_Hit] = []


class _Store(msgspec.Struct, frozen=True, kw_only=True):
    """A store and its copy. ``there`` is what the copy lists, ``copies`` says which file should be which. Where its
    search is asked, ``by_name`` has the copies that a name may mean, ``alike`` those with the bytes of a file."""

    id: SourceId
    target: TargetId
    there: Mapping[str, bytes]
    copies: Mapping[SourceId, TargetId]
    by_name: dict[str, set[TargetId]]
    alike: dict[SourceId, set[TargetId]]


class MemberCheck:
    """Compares the stores of one destination. ``differences`` and ``proofs`` are what was found so far.

    ``added`` are attributes that the server puts in by itself; with ``search`` each store is asked for its files.
    """

    def __init__(
        self,
        account: Account,
        reader: BundleReader,
        contents: Mapping[SourceId, Content],
        *,
        search: bool,
        added: Container[str] = (),
    ) -> None:
        self._account, self._reader, self._contents, self._added = account, reader, contents, added
        self._texts = TextComparer(account, reader)
        self._searches = _Searches(account) if search else None
        self.differences: list[Difference] = []
        self.proofs: list[FileProof] = []

    async def compare(
        self,
        id: SourceId,
        target: TargetId,
        memberships: Iterator[Record],
        copies: Mapping[SourceId, TargetId],
        there: Mapping[str, bytes],
    ) -> None:
        """Compare those ``memberships`` of the bundle that should have a copy; ``there`` is what the store lists.

        Raises what stops every request, and DamagedBundle.
        """
        store = _Store(id=id, target=target, there=there, copies=copies, by_name={}, alike={})
        by_hash: dict[str, set[TargetId]] = {}
        for file, copy in copies.items() if self._searches else ():
            for name in self._contents[file].copy_names():
                store.by_name.setdefault(name, set()).add(copy)
            if entry := self._reader.content(file):
                store.alike[file] = by_hash.setdefault(entry.sha256, set())
                store.alike[file].add(copy)

        async def compare(record: Record) -> None:
            await self._compare(store, record)

        # A store may have 100,000 files: they are read a piece at a time, and not on the event loop.
        while group := await asyncio.to_thread(lambda: list(islice(memberships, _PIECE))):
            await self._account.limits.each(group, compare)

    async def _compare(self, store: _Store, record: Record) -> None:
        copy = store.copies.get(record.id)
        raw = store.there.get(copy) if copy else None
        content = self._contents[record.id]

        kind = Kind.MEMBERSHIP
        subject = Difference(
            kind=kind, source=record.id, target=copy, name=content.filename, inside=store.id, field=kind.value
        )

        def differ(field: str, here: object, there: object) -> None:
            if not same(kind, field, here, there, added=self._added):
                self.differences.append(msgspec.structs.replace(subject, field=field, bundle=here, destination=there))

        if copy is None or raw is None:
            differ(kind.value, PRESENT, "missing")
            return
        was, now = MembershipView.of(record), viewed(raw, MembershipView, f"file {copy} of store {store.target}")
        expected = dialect.attachment(record, copy, as_is=str(copy) == str(record.id)).body
        differ("attributes", expected.get("attributes"), now.attributes)
        if "chunking_strategy" in expected:
            differ("chunking_strategy", expected["chunking_strategy"], now.chunking_strategy)
        status = now.status or "unknown"
        # What failed at the source, too, is no difference of the copy.
        if not (was.status == "failed" and status == "failed"):
            reason = (now.last_error or {}).get("message")
            differ("status", "completed", f"{status}: {reason}" if reason else status)
        text = TextComparison(verdict=TextMatch.NOT_CHECKED, why=f"status {status}")
        search = Search(found=None)
        if status == "completed":
            overlap = overlap_of(now.chunking_strategy)
            text = await self._texts.compare(store.target, copy, content, overlap=overlap)
            if text.verdict is TextMatch.DIFFERS:
                differ("text", text.here, text.there)
            search = await self._search(store, {copy, *store.alike.get(record.id, ())}, text)
            if search.found is False:
                differ("search", f"found by {search.asked!r}", "not found")
        self.proofs.append(
            FileProof(
                store=store.id,
                file=record.id,
                target=copy,
                name=content.filename,
                status=status,
                text=text.verdict,
                found=search.found,
                why=text.why,
                unsearched=search.why,
            )
        )
        self._account.progress.advance(files=1)

    async def _search(self, store: _Store, files: Collection[TargetId], text: TextComparison) -> Search:
        """Whether the store's search finds one of ``files`` by its text, where that is asked."""
        if self._searches is None:
            return Search(found=None)
        if not text.text:
            return Search(found=None, why=text.why or "no text to search for")
        return await self._searches.find(store, files, text.text)


class _Searches:
    """Asks the stores of one destination. A server without a search is asked once."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._refused = ""

    async def find(self, store: _Store, files: Collection[TargetId], text: str) -> Search:
        """Ask the store for sentences of ``text``, up to three; any of ``files`` (of the same bytes) will do."""
        asked, strange = "", False
        for asked in sentences(text):
            if self._refused:
                return Search(found=None, why=self._refused)
            try:
                answer = await self._account.post(
                    path("/vector_stores/{}/search", store.target), {"query": asked, "max_num_results": _RESULTS}
                )
                page = msgspec.json.decode(answer.raw, type=_Page)
            except (NotFound, ServerFailed, UnexpectedAnswer, msgspec.DecodeError) as error:
                said = getattr(error, "detail", "") or str(error)
                is_offered = not isinstance(error, NotFound)
                self._refused = (
                    f"the destination's search can't be used ({said})"
                    if is_offered
                    else "search isn't offered by the destination"
                )
                return Search(found=None, why=self._refused)
            except RequestRefused as error:
                return Search(found=None, asked=asked, why=error.detail or error.message)
            hits = [_meant(hit, store) for hit in page.data]
            if any(hit.intersection(files) for hit in hits):
                return Search(found=True, asked=asked)
            # Servers were seen whose hits name nothing of the store: then nothing can be said.
            strange = strange or (bool(hits) and not any(hits))
        if strange:
            return Search(found=None, asked=asked, why="search results don't name files of the store")
        return Search(found=False, asked=asked) if asked else Search(found=None, why="no sentence to search for")


def _meant(hit: _Hit, store: _Store) -> set[TargetId]:
    """The files that a hit may mean. Servers were seen whose hits have ids of their own."""
    if hit.file_id is not None and hit.file_id in store.there:
        return {hit.file_id}
    return store.by_name.get(hit.filename or "", set())


def sentences(text: str) -> Iterator[str]:
    """A telling sentence of the text, then others from further on: what many files begin with says little.

    >>> list(sentences("Hello.\\nThe lamp is repaired within ten days. Bye."))
    ['The lamp is repaired within ten days.']
    """
    given: set[str] = set()
    places = (0, len(text) // 3, 2 * len(text) // 3) if len(text) > _BRIEF else (0,)
    for start in places:
        pieces = _END.split(text[start : start + _WINDOW])
        # What is cut off at the beginning isn't a sentence.
        found = max(pieces[1:] if start and len(pieces) > 1 else pieces, key=_telling, default="")
        sentence = " ".join(found.split()[: 2 * _LONG])[:_LONGEST]
        if any(char.isalnum() for char in sentence) and sentence not in given:
            given.add(sentence)
            yield sentence


def _telling(piece: str) -> tuple[bool, int, int]:
    """How much a search can be expected to make of it: sentences first, by their different words, then by length."""
    words = piece.split()
    return _SHORT <= len(words) <= _LONG, min(len(set(words)), _LONG), min(len(piece), _LONGEST)


async def prove_skill(
    account: Account, record: Record, versions: Sequence[SkillVersion], target: TargetId, raw: bytes
) -> FoundSkill:
    """What differs in the copy ``target``, which the account shows as ``raw``. Downloads each of its versions. Raises
    what the account raises."""
    there = await versions_there(account, target, {})
    default = viewed(raw, SkillView, f"skill {target}").default_version
    found = compare_skill(record, versions, there, target=target, by=By.EARLIER, default=default)
    if found.others:
        whole = sum(bool(version.digest) for version in versions)
        more = Difference(
            kind=Kind.SKILL,
            source=record.id,
            target=target,
            name=skill_name(record),
            field="versions",
            bundle=whole,
            destination=len(there),
        )
        found.differences.append(more)
    return found
