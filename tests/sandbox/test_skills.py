"""/skills, through the official SDK wherever it lets a request through."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.project import Hand, skill_zip
from tests.sandbox.wire import KEY, Answer, ask, parts
from tests.sweep import sweep
from tests.waiting import STANDSTILL

TODAY = PROFILES["openai-today"]
MANIFEST = b"---\nname: tea\ndescription: d\n---\n"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("skills"), behaviour=TODAY) as running:
        yield running


@pytest.fixture
def server(shared: Running) -> Running:
    shared.behave(**{name: getattr(TODAY, name) for name in Behaviour.__struct_fields__})
    return shared


@pytest.fixture(scope="module")
def hand(shared: Running) -> Iterator[Hand]:
    with Hand(shared.url, KEY) as made:
        yield made


def sent(server: Running, path: str, *files: tuple[str, bytes], field: str = "files[]", **fields: str) -> Answer:
    body, headers = parts([(field, name, data) for name, data in files], **fields)
    return ask(server.url, "POST", path, body, headers=headers)


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for path, data in entries:
            archive.writestr(path, data)
    return made.getvalue()


def contents(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def blobs(server: Running) -> list[Path]:
    return [path for folder in ("blobs", "incoming") for path in (server.data / folder).rglob("*") if path.is_file()]


def test_a_skill_and_its_versions(hand: Hand) -> None:
    skills = hand.sdk.skills
    first = skill_zip("tea-labels", {"scripts/print.py": b"print(1)\n"}, description="Print labels.")
    made = skills.create(files=("labels.zip", first))
    assert made.to_dict() == {
        "id": made.id,
        "object": "skill",
        "name": "tea-labels",
        "description": "Print labels.",
        "created_at": made.created_at,
        "default_version": "1",
        "latest_version": "1",
    }
    second = skill_zip("tea-labels", {"scripts/print.py": b"print(2)\n"}, description="Print better labels.")
    version = skills.versions.create(made.id, files=("labels.zip", second))
    assert version.to_dict() == {
        "id": version.id,
        "object": "skill.version",
        "skill_id": made.id,
        "version": "2",
        "name": "tea-labels",
        "description": "Print better labels.",
        "created_at": version.created_at,
    }
    assert skills.versions.retrieve("2", skill_id=made.id) == version
    shown = skills.retrieve(made.id)
    assert (shown.default_version, shown.latest_version, shown.description) == ("1", "2", "Print labels.")
    answer = skills.versions.content.retrieve("1", skill_id=made.id)
    assert (answer.read(), answer.response.headers["content-type"]) == (first, "application/binary")
    assert skills.versions.content.retrieve("2", skill_id=made.id).read() == second
    assert skills.content.retrieve(made.id).read() == first
    assert skills.update(made.id, default_version="2").description == "Print better labels."
    assert skills.content.retrieve(made.id).read() == second
    assert made.id in [each.id for each in skills.list()]


def test_files_one_by_one_become_a_zip(server: Running, hand: Hand) -> None:
    folder = {"brew_tea/SKILL.md": MANIFEST, "brew_tea/scripts/brew.py": b"print()\n" * 99, "brew_tea/empty": b""}
    made = hand.sdk.skills.create(files=list(folder.items()))
    packed = hand.sdk.skills.content.retrieve(made.id).read()
    assert (made.name, contents(packed)) == ("tea", folder)
    assert hand.sdk.skills.create(files=("f/skill.MD", MANIFEST)).name == "tea"
    assert hand.sdk.skills.create(files=[("any.zip", skill_zip("listed"))]).name == "listed"
    assert hand.sdk.skills.create(files=skill_zip("without-a-name")).name == "without-a-name"


def test_lists_are_paged(server: Running) -> None:
    with Hand(server.url, "sk-of-lists-0001") as other:
        ids = [other.skill(f"skill-{number}") for number in range(3)]
        assert [each.id for each in other.sdk.skills.list(limit=2)] == ids[::-1]
        assert [each.id for each in other.sdk.skills.list(order="asc", after=ids[0])] == ids[1:]
        assert other.get("/skills", limit=0) == {
            "object": "list",
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": True,
        }
        for number in range(2, 5):
            assert other.skill_version(ids[0], f"version-{number}") == str(number)
        listed = list(other.sdk.skills.versions.list(ids[0], order="asc", limit=3))
        assert [each.version for each in listed] == ["1", "2", "3", "4"]
        after = other.sdk.skills.versions.list(ids[0], after=listed[2].id)
        assert [each.version for each in after] == ["2", "1"]
        for path in ("/skills?limit=101", f"/skills/{ids[0]}/versions?after=2", f"/skills/{ids[0]}/versions?order=up"):
            assert ask(server.url, "GET", path, key=other.key).status == 400
        assert ask(server.url, "GET", f"/skills/{ids[0]}").status == 404, "another project sees it"


def test_deleting_never_takes_the_default_and_numbers_are_not_used_again(hand: Hand) -> None:
    versions = hand.sdk.skills.versions
    skill = hand.skill("gaps", {}, {}, {}, {}, default=2)
    with pytest.raises(openai.BadRequestError, match="is the default"):
        versions.delete("2", skill_id=skill)
    told = versions.delete("4", skill_id=skill)
    assert told.to_dict() == {"id": told.id, "object": "skill.version.deleted", "deleted": True, "version": "4"}
    hand.without_versions(skill, 1, 3)
    assert hand.sdk.skills.retrieve(skill).latest_version == "2"
    assert hand.skill_version(skill, "gaps") == "5"
    assert [each.version for each in versions.list(skill, order="asc")] == ["2", "5"]
    for number in ("1", "3", "02", "0", "latest", "x", "9" * 30):
        with pytest.raises(openai.NotFoundError):
            versions.retrieve(number, skill_id=skill)
        with pytest.raises(openai.NotFoundError):
            hand.sdk.skills.update(skill, default_version=number)
    hand.without_versions(skill, 5, 2)
    with pytest.raises(openai.NotFoundError):
        hand.sdk.skills.retrieve(skill)


def test_a_deleted_skill_leaves_no_bytes(server: Running, hand: Hand) -> None:
    before = set(blobs(server))
    skill = hand.skill("gone", {}, {"a": b"a"})
    server.behave(skill_zips_repacked=True)
    hand.sdk.skills.content.retrieve(skill).read()
    assert len(set(blobs(server)) - before) == 3
    told = hand.sdk.skills.delete(skill)
    assert told.to_dict() == {"id": skill, "object": "skill.deleted", "deleted": True}
    assert set(blobs(server)) == before
    for path in (f"/skills/{skill}", f"/skills/{skill}/versions", f"/skills/{skill}/content"):
        assert ask(server.url, "GET", path).status == 404
    assert sent(server, f"/skills/{skill}/versions", ("x.zip", skill_zip("gone"))).status == 404
    assert set(blobs(server)) == before


# What nobody outside OpenAI knows, one way and the other.


def test_whether_the_zip_comes_back_as_it_was_sent(server: Running, hand: Hand) -> None:
    packed = skill_zip("packed", {"b": b"b", "a": b"a"})
    skill = hand.sdk.skills.create(files=("x.zip", packed)).id
    server.behave(skill_zips_repacked=True)
    other = hand.sdk.skills.content.retrieve(skill).read()
    assert other != packed
    assert contents(other) == contents(packed)
    assert hand.sdk.skills.content.retrieve(skill).read() == other
    server.behave(skill_zips_repacked=False)
    assert hand.sdk.skills.content.retrieve(skill).read() == packed


def test_whether_a_new_version_becomes_the_default(server: Running, hand: Hand) -> None:
    skill = hand.skill("defaults")

    def after(**given: Any) -> str:
        hand.sdk.skills.versions.create(skill, files=("x.zip", skill_zip("defaults")), **given)
        return hand.sdk.skills.retrieve(skill).default_version

    assert [after(), after(default=True), after(default=False)] == ["1", "3", "3"]
    server.behave(new_skill_version_is_default=True)
    assert [after(), after(default=False), after(default=True)] == ["5", "5", "7"]


def test_which_version_names_its_skill(server: Running, hand: Hand) -> None:
    skill = hand.skill("first-name")
    hand.skill_version(skill, "second-name", description="Another.")
    assert hand.sdk.skills.retrieve(skill).name == "first-name"
    server.behave(skill_named_by="latest")
    shown = hand.sdk.skills.retrieve(skill)
    assert (shown.name, shown.description, shown.default_version) == ("second-name", "Another.", "1")
    assert shown in list(hand.sdk.skills.list())


def test_whether_names_repeat(server: Running, hand: Hand) -> None:
    skill = hand.skill("twice")
    hand.skill("twice")
    server.behave(unique_names=True)
    other = hand.skill("once")
    with pytest.raises(openai.BadRequestError, match="already exists"):
        hand.skill("twice")
    with pytest.raises(openai.BadRequestError, match="already exists"):
        hand.skill_version(other, "twice")
    assert hand.skill_version(other, "once") == "2"
    assert Hand(server.url, "sk-other-0001").skill("twice") != skill


def test_skills_of_openai(server: Running, hand: Hand) -> None:
    own = "openai-spreadsheets"
    assert own not in [each.id for each in hand.sdk.skills.list()]
    assert hand.sdk.skills.retrieve(own).default_version == "1"
    server.behave(openai_skills_listed=True)
    assert next(iter(hand.sdk.skills.list(order="asc"))).id == own
    assert [each.version for each in hand.sdk.skills.versions.list(own)] == ["1"]
    for refused in (
        ask(server.url, "DELETE", f"/skills/{own}"),
        ask(server.url, "DELETE", f"/skills/{own}/versions/1"),
        ask(server.url, "POST", f"/skills/{own}", {"default_version": "1"}),
        ask(server.url, "GET", f"/skills/{own}/content"),
        sent(server, f"/skills/{own}/versions", ("x.zip", skill_zip("x"))),
    ):
        assert refused.status == 403


# What is refused.


def info(path: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(path)
    made.external_attr = mode << 16
    return made


def renamed(old: str, new: str) -> bytes:
    """A skill's zip with another path in the place of one of the same length."""
    assert len(old) == len(new)
    return zipped(("t/SKILL.md", MANIFEST), (old, b"x")).replace(old.encode(), new.encode())


def patched(field: int, value: int) -> bytes:
    """A skill's zip with another number, of four bytes, in the directory's entry of its second file."""
    made = bytearray(zipped(("t/SKILL.md", MANIFEST), ("t/big", b"x" * 9)))
    struct.pack_into("<I", made, made.rindex(b"PK\1\2") + field, value)
    return bytes(made)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no zip": (b"PK and no more", "not a readable zip"),
    "nothing": (b"", "not a readable zip"),
    "cut": (skill_zip("cut")[:-30], "not a readable zip"),
    "above": (renamed("t/../../x", "t/../../y"), "unsafe path"),
    "absolute": (zipped(("t/SKILL.md", MANIFEST), ("/etc/x", b"x")), "unsafe path"),
    "a drive": (zipped(("t/SKILL.md", MANIFEST), ("C:/x", b"x")), "unsafe path"),
    "a backslash": (renamed("t/..ax", "t/..\\x"), "unsafe path"),
    "a NUL": (renamed("t/a-x", "t/a\0x"), "unsafe path"),
    "an empty part": (zipped(("t/SKILL.md", MANIFEST), ("t//x", b"x")), "unsafe path"),
    "a folder above": (zipped(("t/SKILL.md", MANIFEST), ("../", b"")), "unsafe path"),
    "a link": (zipped(("t/SKILL.md", MANIFEST), (info("t/x", stat.S_IFLNK | 0o777), b"/etc/passwd")), "is a link"),
    "a device": (zipped(("t/SKILL.md", MANIFEST), (info("t/x", stat.S_IFCHR), b"")), "is a link or another special"),
    "encrypted": (patched(8, 8 << 16 | 1), "is encrypted"),
    "another compression": (
        zipped(("t/SKILL.md", MANIFEST), compression=zipfile.ZIP_BZIP2),
        "compressed in another way",
    ),
    "a false checksum": (patched(16, 1), "not a readable zip"),
    "a false size": (patched(24, 8), "not a readable zip"),
    "a huge file": (patched(24, 25 * MIB + 1), "'t/big' has 26214401 bytes"),
    "twice": (renamed("t/SKILL.m_", "t/SKILL.md"), "the same path"),
    "no folder": (zipped(("SKILL.md", MANIFEST)), "single top-level folder"),
    "two folders": (zipped(("t/SKILL.md", MANIFEST), ("u/x", b"")), "single top-level folder"),
    "an empty second folder": (zipped(("t/SKILL.md", MANIFEST), ("u/", b"")), "single top-level folder"),
    "no SKILL.md": (zipped(("t/README.md", MANIFEST)), "found 0"),
    "two SKILL.md": (zipped(("t/SKILL.md", MANIFEST), ("t/skill.md", MANIFEST)), "found 2"),
    "a deeper SKILL.md": (zipped(("t/u/SKILL.md", MANIFEST)), "in the top-level folder"),
    "too many files": (zipped(("t/SKILL.md", MANIFEST), *((f"t/{n}", b"") for n in range(500))), "501 files"),
    "a huge directory": (zipped(*(("t/" + "x" * 60_000 + str(n), b"") for n in range(80))), "not a readable zip"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_zips(server: Running, name: str) -> None:
    packed, reason = HOSTILE[name]
    before = blobs(server)
    answer = sent(server, "/skills", ("skill.zip", packed), field="files")
    assert (answer.status, answer.error["param"]) == (400, "files"), answer.body
    assert reason in answer.error["message"]
    assert blobs(server) == before


def test_a_bomb_is_not_unpacked(server: Running) -> None:
    bomb = zipped(("t/SKILL.md", MANIFEST), *((f"t/{n}", b"\0" * 25 * MIB) for n in range(2)))
    assert sent(server, "/skills", ("skill.zip", bomb)).status == 200
    # More files of which each is within the limit, said to be where the second one is.
    made = zipped(("t/SKILL.md", MANIFEST), *((f"t/{n}", b"") for n in range(50)))
    large = bytearray(made)
    for place in range(len(large)):
        if large.startswith(b"PK\1\2", place):
            struct.pack_into("<I", large, place + 24, 25 * MIB)
    assert "together" in sent(server, "/skills", ("skill.zip", bytes(large))).error["message"]


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("---\nname: tea\ndescription: Makes tea.\n---", ("tea", "Makes tea.")),
        ("\ufeff---\r\nname:  tea  \r\ndescription: a # b\r\n---\r\ntext", ("tea", "a")),
        ('---\n# x\nname: \'tea\'\ndescription: "it\'s \\"hot\\": #1"\n---\n', ("tea", 'it\'s "hot": #1')),
        ("---\nname: tea\ndescription: 'it''s'\nlicense: MIT\n---\n---\n", ("tea", "it's")),
        ("---\nname: tea\ndescription: >-\n  two\n  lines\nmetadata:\n  a: b\n---\n", ("tea", "two lines")),
        ("---\nname: tea\ndescription: |\n  two\n  lines\nallowed-tools:\n- a\n---\n", ("tea", "two\nlines")),
        ("---\nname: tea\ndescription: two\n  lines\n---\n", ("tea", "two lines")),
        (f"---\nname: {'a' * 64}\ndescription: {'é' * 1024}\n---\n", ("a" * 64, "é" * 1024)),
        (f"---\nname: {'a' * 65}\ndescription: d\n---\n", "'name'"),
        (f"---\nname: tea\ndescription: {'d' * 1025}\n---\n", "'description'"),
        ("---\nname: tea\n---\n", "'description'"),
        ("---\ndescription: d\n---\n", "'name'"),
        *((f"---\nname: {name}\ndescription: d\n---\n", "'name'") for name in ("Tea", "a--b", "-a", "a-", "a_b", "ä")),
        ("name: tea\ndescription: d\n", "front matter"),
        ("---\nname: tea\ndescription: d\n", "front matter"),
        ("\n---\nname: tea\ndescription: d\n---\n", "front matter"),
        ("---\nname tea\n---\n", "no YAML"),
        ("---\nname: tea\nname: tea\n---\n", "twice"),
        ("---\nname: 'tea\ndescription: d\n---\n", "quote"),
        ("---\nname: tea\ndescription: \udcff\n---\n", "UTF-8"),
        ("---\n" + "#" * 300_000 + "\nname: tea\ndescription: d\n---\n", "front matter"),
    ],
)
def test_front_matter(server: Running, manifest: str, said: tuple[str, str] | str) -> None:
    answer = sent(server, "/skills", ("t/SKILL.md", manifest.encode("utf-8", "surrogateescape")))
    if isinstance(said, str):
        assert answer.status == 400
        assert said in answer.error["message"]
    else:
        made = answer.json()
        assert (made["name"], made["description"]) == said


def test_forms_that_are_none(server: Running, hand: Hand) -> None:
    skill = hand.skill("forms")
    good = ("t/SKILL.md", MANIFEST)
    assert sent(server, "/skills").error["code"] == "missing_required_parameter"
    assert sent(server, "/skills", good, field="file").error["param"] == "file"
    assert sent(server, "/skills", good, name="x").error["param"] == "name"
    assert sent(server, "/skills", good, default="true").error["code"] == "unknown_parameter"
    assert sent(server, f"/skills/{skill}/versions", good, default="1").error["param"] == "default"
    assert sent(server, "/skills", ("../t/SKILL.md", MANIFEST)).error["param"] == "files"
    assert sent(server, "/skills", good, ("t/x", b"x" * (25 * MIB + 1))).status == 400
    assert ask(server.url, "POST", "/skills", {"name": "x"}).error["param"] == "files"
    for body in ({}, {"default_version": 1}, {"default_version": "1", "name": "x"}):
        assert ask(server.url, "POST", f"/skills/{skill}", body).status == 400
    for _ in range(2):
        assert (
            sent(server, "/skills", *[("t/x", os.urandom(25 * MIB)), ("t/y", os.urandom(25 * MIB)), good]).status == 413
        )
    assert len(list((server.data / "incoming").iterdir())) == 0


def test_where_there_are_no_skills(box: Running) -> None:
    assert ask(box.url, "GET", "/skills").status == 404
    box.behave(agents_api=True, missing_scopes=("api.skills.write",))
    assert ask(box.url, "GET", "/skills").status == 200
    assert sent(box, "/skills", ("x.zip", skill_zip("x"))).error["code"] == "missing_scope"
    box.behave(absent=("skills",))
    assert ask(box.url, "GET", "/skills").status == 404


def test_they_survive_a_restart(tmp_path: Path) -> None:
    for first in (True, False):
        with Running(tmp_path, behaviour=TODAY) as box, Hand(box.url, KEY) as hand:
            if first:
                skill = hand.skill("kept", {}, {"a": b"a"}, default=2)
                hand.without_versions(skill, 1)
            assert hand.sdk.skills.content.retrieve(skill).read() == skill_zip("kept", {"a": b"a"})
            assert hand.sdk.skills.retrieve(skill).default_version == "2"


@sweep("seed", list(range(24)))
def test_damaged_zips(server: Running, seed: int) -> None:
    chance = random.Random(seed)
    packed = bytearray(skill_zip("damaged", {"a/b.txt": b"text" * 50, "c": b""}))
    for _ in range(12):
        damaged = bytearray(packed)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
        answer = sent(server, "/skills", ("x.zip", bytes(damaged)))
        assert answer.status in (200, 400), answer.body
        if answer.status == 200:
            server.behave(skill_zips_repacked=True)
            assert ask(server.url, "GET", f"/skills/{answer.json()['id']}/content").status == 200


@pytest.mark.thorough
def test_fifty_megabytes_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t/SKILL.md", MANIFEST)
        for number in range(2):
            archive.writestr(f"t/{number}", os.urandom(25 * MIB - 1000))
    form, headers = parts([("files", "large.zip", b"CONTENT")])
    start, end = form.split(b"CONTENT")
    headers |= {"Authorization": f"Bearer {KEY}", "Content-Length": str(len(form) - 7 + path.stat().st_size)}

    def pieces() -> Iterator[bytes]:
        yield start
        with path.open("rb") as source:
            while piece := source.read(64 * 1024):
                yield piece
        yield end

    with Running(tmp_path / "sandbox", behaviour=TODAY) as box:
        where = urlsplit(box.url)
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=STANDSTILL)
        tracemalloc.start()
        try:
            connection.request("POST", "/v1/skills", pieces(), headers)
            with connection.getresponse() as answer:
                id_ = json.loads(answer.read())["id"]
            for repacked in (False, True):
                box.behave(skill_zips_repacked=repacked)
                connection.request("GET", f"/v1/skills/{id_}/content", headers={"Authorization": f"Bearer {KEY}"})
                with connection.getresponse() as answer:
                    length = 0
                    while piece := answer.read(64 * 1024):
                        length += len(piece)
                assert (length == path.stat().st_size) is not repacked
            assert tracemalloc.get_traced_memory()[1] < 24 * MIB
        finally:
            tracemalloc.stop()
            connection.close()
