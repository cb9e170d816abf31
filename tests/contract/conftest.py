"""The endpoints that are held to the contract: always the sandbox, and with ``--live`` the one of the user's key."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.server import Running
from tests.contract.endpoints import Endpoint
from tests.sandbox.wire import KEY, ask, upload


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" in metafunc.fixturenames:
        names = ["sandbox", "live"] if metafunc.config.getoption("--live") else ["sandbox"]
        metafunc.parametrize("endpoint", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    if request.param == "live":
        url = os.environ.get("OPENAI_LIVE_BASE_URL") or "https://api.openai.com/v1"
        one = Endpoint(url, os.environ["OPENAI_LIVE_API_KEY"], writes=request.config.getoption("--live-write"))
        yield one
        one.clean()
        return
    with Running(tmp_path_factory.mktemp("contract"), behaviour=Behaviour(agents_api=True)) as box:
        files = [upload(box.url, f"{n}.txt", b"text of %d" % n).json()["id"] for n in range(3)]
        upload(box.url, "for-a-user.txt", b"text", purpose="user_data")
        for name in ("first", "second", "third"):
            ask(box.url, "POST", "/vector_stores", {"name": name, "file_ids": files})
        one = Endpoint(box.url, KEY, writes=True)
        yield one
        one.clean()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a failure which fact does not hold."""
    report = yield
    fact = item.get_closest_marker("fact")
    if report.failed and fact:
        where, what = fact.args
        report.sections.append(("this does not hold", f"{where}: {what}"))
    return report
