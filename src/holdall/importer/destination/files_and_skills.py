"""What carries no marks: the files and the skills at a destination, known by their ids, names and contents. Reads only.

A skill is found by its own id, if the destination is where the bundle came from; by the journals and mappings of
earlier runs; else by name and contents. Only skills of the name are asked for what they contain.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Container, Mapping
from contextlib import suppress

import msgspec

from holdall.agent_views import SkillView, VersionView
from holdall.errors import REQUEST_ERRORS, NotFound, PermissionDenied, RequestRefused
from holdall.importer.destination.destination import History
from holdall.importer.plan.bundle_summary import Content, SkillVersion
from holdall.importer.plan.difference import By, FoundSkill, Several, VersionThere, fingerprint
from holdall.importer.plan.skill_steps import compare_skill, skill_name
from holdall.importer.runs.effects import version_target
from holdall.importer.runs.runfolder import listed
from holdall.model import Fidelity, FileView, Kind, Record, SourceId, TargetId, epoch_seconds
from holdall.remote.client import Account, path, viewed
from holdall.skill_zip import RefusedZip, digest

# Files that are asked for one by one. For more of them the list is read: a project may have 100,000, a page has 10,000.
_FEW = 20

# Bytes of a zip: OpenAI takes 50 MB. So many of it stay in memory.
_LARGEST, _IN_MEMORY = 64 << 20, 1 << 20


def is_same_file(view: FileView, content: Content) -> bool:
    """Whether a file with the bundle's own id is that very file."""
    # The id alone says nothing: look-alikes number their files from 1.
    made = epoch_seconds(view.created_at)
    return bool(made) and made == content.created_at and view.filename == content.filename


def fits(view: FileView | None, content: Content) -> bool:
    return bool(view and view.filename in content.copy_names() and sized(view, content))


def sized(view: FileView, content: Content) -> bool:
    """Whether the sizes agree. The size of a text that is joined of parts isn't known before."""
    return content.fidelity is Fidelity.TEXT or view.bytes is None or view.bytes == content.stored


class FilesSeen:
    """The records of files at a destination, ``seen`` by their ids."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.seen: dict[str, FileView] = {}

    async def read(self, ids: list[str], made: Container[str], unlisted: Container[str]) -> None:
        """Reads those of ``ids``. ``made`` are of earlier runs, ``unlisted`` may be there although no list has them."""
        if len(ids) > _FEW:
            await self._list(ids)
            await self._ask([id for id in ids if id in unlisted and id not in self.seen])
            return
        await asyncio.gather(*map(self._get, ids))
        # Of what was made there that isn't there by its id, the list has the word: the route may be missing.
        if missing := [id for id in ids if id in made and id not in self.seen]:
            with suppress(NotFound):
                await self._list(missing)

    async def _ask(self, ids: list[str]) -> None:
        """Asks for each by its id; if none of the first is there, for no more."""
        first, rest = ids[:_FEW], ids[_FEW:]
        await asyncio.gather(*map(self._get, first))
        if any(id in self.seen for id in first):
            await asyncio.gather(*map(self._get, rest))

    async def _get(self, id: str) -> None:
        with suppress(NotFound, RequestRefused, msgspec.DecodeError):
            answer = await self._account.get(path("/files/{}", id))
            self.seen[id] = msgspec.json.decode(answer.raw, type=FileView)

    async def _list(self, ids: list[str]) -> None:
        wanted = frozenset(ids)
        async for raw in listed(self._account, Kind.FILE):
            view = viewed(raw, FileView, "a file")
            if view.id in wanted:
                self.seen[view.id] = view


async def version_numbers(account: Account, skill: TargetId) -> list[str]:
    """The numbers of a skill's versions, ascending. Raises what the account raises."""
    found: dict[str, None] = {}
    async for raw in account.items(path("/skills/{}/versions", skill)):
        view = viewed(raw, VersionView, f"a version of skill {skill}")
        if view.version:
            found[view.version] = None
    # They are counted up by the server; what is no number comes last, as it was listed.
    return sorted(found, key=lambda number: int(number) if number.isdecimal() and len(number) < 20 else 1 << 70)


async def versions_there(account: Account, skill: TargetId, known: Mapping[TargetId, str]) -> list[VersionThere]:
    """The versions of a skill. ``known`` are the digests of what earlier runs sent: by version, and by skill that of
    its first one. Versions don't change, so only the others are downloaded."""
    found = []
    for nth, number in enumerate(await version_numbers(account, skill)):
        digest = known.get(version_target(skill, number)) or (known.get(skill) if nth == 0 else None)
        found.append(VersionThere(number=number, digest=digest or await digest_there(account, skill, number)))
    return found


async def digest_there(account: Account, skill: TargetId, number: str) -> str:
    """The digest of what is in a version's zip; empty where the server doesn't give it, or it isn't one that is
    read."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            async with account.download(number, skill=skill, size=_LARGEST) as download:
                size = 0
                async for chunk in download.chunks:
                    size += len(chunk)
                    if size > _LARGEST:
                        return ""
                    await asyncio.to_thread(file.write, chunk)
            return await asyncio.to_thread(digest, file)  # type: ignore[arg-type]
        except (NotFound, RequestRefused, PermissionDenied, RefusedZip, msgspec.DecodeError, *REQUEST_ERRORS):
            return ""


class SkillsThere(msgspec.Struct, frozen=True, kw_only=True):
    """The skills that exist, by the source's ids, and of which several may be meant."""

    found: dict[SourceId, FoundSkill]
    several: list[Several]


async def find_skills(
    account: Account,
    records: Mapping[SourceId, Record],
    versions: Mapping[SourceId, list[SkillVersion]],
    history: History,
) -> SkillsThere:
    """Which of ``records`` exist already. Raises what the account raises."""
    return await _SkillLook(account, versions, history).run(records)


class _SkillLook:
    def __init__(self, account: Account, versions: Mapping[SourceId, list[SkillVersion]], history: History) -> None:
        self._account, self._versions, self._history = account, versions, history
        self._there: dict[TargetId, SkillView] = {}
        self._named: dict[str | None, list[TargetId]] = {}
        self._read: dict[TargetId, list[VersionThere]] = {}

    async def run(self, records: Mapping[SourceId, Record]) -> SkillsThere:
        await self._read_list(records)
        found: dict[SourceId, FoundSkill] = {}
        several: list[Several] = []
        for source, record in records.items():
            if one := await self._by_id(record):
                found[source] = one
        # What is, or was, the copy of one skill is not that of another.
        taken = {target for targets in self._history.made[Kind.SKILL].values() for target in targets}
        taken |= {one.target for one in found.values()}
        for source, record in records.items():
            if source not in found:
                alike = await self._by_name(record, taken)
                if alike:
                    found[source] = alike[0]
                    taken.add(alike[0].target)
                if len(alike) > 1:
                    targets = [one.target for one in alike]
                    several.append(Several(kind=Kind.SKILL, id=source, name=skill_name(record), targets=targets))
        return SkillsThere(found=found, several=several)

    async def _read_list(self, records: Mapping[SourceId, Record]) -> None:
        """Read the list of skills. It may be long: kept is what may be one of ``records``, or its copy."""
        wanted = {name for record in records.values() for name in self._names(record)}
        known = {target for source in records for target in self._history.made[Kind.SKILL].get(source, ())}
        async for raw in listed(self._account, Kind.SKILL):
            view = viewed(raw, SkillView, "a skill")
            if view.id in records or view.id in known or view.name in wanted:
                self._there[TargetId(view.id)] = view
                self._named.setdefault(view.name, []).append(TargetId(view.id))

    async def _by_id(self, record: Record) -> FoundSkill | None:
        own = SkillView.of(record)
        same = self._there.get(TargetId(record.id))
        if same and (epoch_seconds(same.created_at), same.name) == (epoch_seconds(own.created_at), own.name):
            return await self._origin(record, same)
        for target in reversed(self._history.made[Kind.SKILL].get(record.id, [])):
            if target in self._there:
                return await self._compared(record, target, By.EARLIER)
        return None

    async def _origin(self, record: Record, there: SkillView) -> FoundSkill:
        """The very skill: its versions are known by their numbers."""
        numbers = await version_numbers(self._account, TargetId(record.id))
        own = {version.number: version.id for version in self._versions[record.id]}
        # What the bundle lacks of a version is no matter here: each stands for itself.
        whole = [msgspec.structs.replace(one, digest=one.id) for one in self._versions[record.id]]
        versions = [VersionThere(number=number, digest=own.get(number, "")) for number in numbers]
        return compare_skill(
            record, whole, versions, target=TargetId(record.id), by=By.ORIGIN, default=there.default_version
        )

    async def _by_name(self, record: Record, taken: Container[TargetId]) -> list[FoundSkill]:
        """The skills that may be copies of ``record``; one where they are equal to it."""
        alike: list[FoundSkill] = []
        for target in [target for name in self._names(record) for target in self._named.get(name, ())]:
            found = await self._compared(record, target, By.CONTENTS) if target not in taken else None
            # Without a version in common it is another skill of that name.
            if found and found.numbers:
                alike.append(found)
        # Equal ones are as good as each other: nothing is changed in them.
        return [one for one in alike if not one.differences][:1] or alike

    async def _compared(self, record: Record, target: TargetId, by: By) -> FoundSkill | None:
        if target not in self._read:
            try:
                self._read[target] = await versions_there(self._account, target, self._history.hashes)
            except NotFound:  # deleted since it was listed
                return None
        default, left = self._there[target].default_version, self._history.fingerprints.get(target, {})
        is_left = "default_version" not in left or left["default_version"] == fingerprint(default)
        return compare_skill(
            record,
            self._versions[record.id],
            self._read[target],
            target=target,
            by=by,
            default=default,
            is_left=is_left,
        )

    def _names(self, record: Record) -> list[str]:
        """The names that a copy may show: a version may have another name than the skill."""
        names = {skill_name(record), *(version.name for version in self._versions[record.id])}
        return sorted(name for name in names if name)
