"""What the tests of every room may use."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2._config import create_ssl_context
from hypothesis import HealthCheck, settings

from holdall.sandbox.server import Running
from tests import sweep
from tests.cli.terminal import Terminal
from tests.project import KEY, Hand

# A shell that runs the suite in the background has it ignore Ctrl-C, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TLS = ssl.create_default_context()
_CERTIFICATES = os.environ.get("SSL_CERT_FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Where a run doesn't leave the thorough tests out, it leaves out nothing of a sweep and no example."""
    sweep.is_thorough = "not thorough" not in config.option.markexpr
    # A busy machine takes its time over an example, and over drawing one.
    few = sweep.examples(100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("holdall", few)
    settings.load_profile("holdall")
    live, writes = config.getoption("--live"), config.getoption("--live-write")
    if writes and not live:
        raise pytest.UsageError("--live-write goes with --live")
    if live and os.environ.get("CI"):
        raise pytest.UsageError("--live asks an account of somebody's: never in CI")
    if live and not os.environ.get("OPENAI_LIVE_API_KEY"):
        raise pytest.UsageError("--live needs a key: set OPENAI_LIVE_API_KEY (and OPENAI_LIVE_BASE_URL)")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Drawn examples are a sweep, too: each of those tests is in the normal suite and in the thorough one."""
    if sweep.is_thorough and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        item.add_marker("thorough")
    if item.get_closest_marker("slow"):
        item.own_markers = [mark for mark in item.own_markers if mark.name != "thorough"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("contract")
    group.addoption(
        "--live", action="store_true", help="ask OPENAI_LIVE_BASE_URL with OPENAI_LIVE_API_KEY what tests/contract asks"
    )
    group.addoption("--live-write", action="store_true", help="with --live: create, check and delete there, too")


@pytest.fixture(autouse=True, scope="session")
def cheap() -> Iterator[None]:
    """Without what costs a lot and shows nothing here: certificates read for each client, and waits for the disk."""

    def context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        # A test that names certificates is about them.
        return create_ssl_context(*args, **kwargs) if os.environ.get("SSL_CERT_FILE") != _CERTIFICATES else _TLS

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx2.create_ssl_context", context)
        patch.setattr("httpx2._transports.default.create_ssl_context", context)
        # No test turns the machine off. Processes of their own do without this, and so do the tests of full disks.
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    """A running sandbox with a fresh folder and an open control endpoint; its base URL is ``box.url``."""
    with Running(tmp_path / "sandbox", control=True) as running:
        yield running


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    """The project that is exported."""
    with Hand(box.url, KEY) as made:
        yield made


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """Commands in a folder of their own, with that project as their source."""
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url})


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a disk of its own, or changes it: ``size=64k``, ``ro``. Only root on Linux may."""
    place = tmp_path / "disk"
    place.mkdir()
    is_there = False

    def mount(options: str) -> Path:
        nonlocal is_there
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root on Linux makes a disk")
        options = f"remount,{options}" if is_there else options
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False)
        if made.returncode:
            pytest.skip("no disk can be mounted here")
        is_there = True
        return place

    yield mount
    if is_there:
        os.chdir("/")
        subprocess.run(["umount", str(place)], check=True)
