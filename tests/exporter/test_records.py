"""File objects one by one, or out of the list, whichever takes fewer requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from holdall.errors import RequestRefused
from holdall.exporter.file_index import FileIndex, FileRecords
from holdall.model import FileView, Kind, Record, SourceId
from holdall.remote.survey import Missing


class Server:
    """A surveyor's two ways to a file object, counted; files are of purpose ``assistants`` or ``vision``."""

    def __init__(self, files: dict[str, str], page: int = 10_000, refuses_lists: bool = False) -> None:
        self.files, self.page, self.refuses = files, page, refuses_lists
        self.gets = 0
        self.pages: list[str] = []

    def _record(self, ident: str) -> Record:
        raw = b'{"id":"%s","purpose":"%s"}' % (ident.encode(), self.files[ident].encode())
        return Record(kind=Kind.FILE, id=SourceId(ident), raw=raw)

    async def one(self, kind: Kind, ident: SourceId) -> Record | Missing:
        self.gets += 1
        await asyncio.sleep(0)
        return self._record(ident) if ident in self.files else Missing(kind=Kind.FILE, id=ident)

    async def file_pages(self, purpose: str) -> AsyncGenerator[list[Record], None]:
        found = [self._record(ident) for ident in self.files if self.files[ident] == purpose]
        for start in range(0, max(len(found), 1), self.page):
            self.pages.append(purpose)
            await asyncio.sleep(0)
            if self.refuses:
                raise RequestRefused("no lists here")
            yield found[start : start + self.page]


def ask(
    server: Server, wanted: list[str], *, at_once: int = 3, purposes: dict[str, int] | None = None
) -> list[Record | Missing]:
    """Ask for files as an export does: all are known to be wanted, so many are asked for at once."""

    async def all_of_them() -> list[Record | Missing]:
        with FileIndex() as register:
            for ident in wanted:
                register.want(SourceId(ident))
            slots = asyncio.Semaphore(at_once)
            async with aclosing(FileRecords(server, register, purposes)) as records:  # type: ignore[arg-type]

                async def one(ident: str) -> Record | Missing:
                    async with slots:
                        return await records.get(SourceId(ident))

                return list(await asyncio.gather(*map(one, wanted)))

    return asyncio.run(all_of_them())


def test_a_few_are_asked_for_one_by_one() -> None:
    server = Server({f"f{n}": "assistants" for n in range(50_000)})
    found = ask(server, [f"f{n}" for n in range(20)])
    assert [record.id for record in found] == [f"f{n}" for n in range(20)]
    assert (server.gets, server.pages) == (20, [])


def test_many_come_out_of_the_list_of_their_purpose() -> None:
    files = {f"a{n}": "assistants" for n in range(25_000)} | {f"v{n}": "vision" for n in range(500)}
    server = Server(files)
    wanted = [f"a{n}" for n in range(0, 25_000, 5)] + [f"v{n}" for n in range(500)] + ["gone"]
    found = ask(server, wanted)
    assert [record.id for record in found] == wanted
    assert isinstance(found[-1], Missing)
    assert all(record == server._record(record.id) for record in found[:-1])
    assert server.pages == ["assistants"] * 3 + ["vision"]
    assert server.gets <= 2 * (20 + 3) + 1


@pytest.mark.parametrize(("had", "gets", "pages"), [(19, 22, 1), (20, 0, 1)])
def test_where_an_earlier_bundle_had_many_of_a_purpose_none_is_asked_for_by_itself(
    had: int, gets: int, pages: int
) -> None:
    server = Server({f"f{n}": "assistants" for n in range(300)})
    found = ask(server, list(server.files), purposes={"assistants": had if had == 20 else 0, "vision": 19})
    assert [record.id for record in found] == list(server.files)
    assert (server.gets <= gets, server.pages) == (True, ["assistants"] * pages)


def test_a_list_that_is_too_long_for_what_is_wanted_is_given_up() -> None:
    server = Server({f"f{n}": "assistants" for n in range(20_000)}, page=100)
    wanted = [f"f{n}" for n in range(19_900, 20_000)]
    found = ask(server, wanted)
    assert [record.id for record in found] == wanted
    assert server.gets == 100
    assert len(server.pages) == 4  # a page may cost twenty requests


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_server_that_refuses_the_list_is_asked_once(at_once: int) -> None:
    server = Server({f"f{n}": "assistants" for n in range(300)}, refuses_lists=True)
    assert len(ask(server, list(server.files), at_once=at_once)) == 300
    assert (server.gets, server.pages) == (300, ["assistants"])


def test_a_record_of_an_odd_shape_says_its_id() -> None:
    record = Record(kind=Kind.FILE, id=SourceId("x"), raw=b'{"id":"x","bytes":"many","filename":"a","purpose":[]}')
    assert FileView.of(record) == FileView(id="x", filename="a")
