"""Bundles that a released version exported: every later one reads, proves, plans and imports them.

``tests/bundle/exported/`` was written once, by holdall 1.0.0, one bundle for each version of the format. They are never
written anew: a change that can't read them breaks a promise (docs/compatibility.md). A new version of the format
gets a bundle beside them, and a line here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from holdall import open_bundle
from holdall.bundle.verification import verify
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

BUNDLE = Path(__file__).parents[1] / "bundle"
FROZEN = {
    "exported/1.0.tar.zst": "d0b4873568bc78396cd8e17c23a1f57227147bd0bb4de77c2b03c3dde64e13c1",
    "exported/1.1.tar.zst": "408288e53128c521ca91eb844bcb94ac46985f3017f09b44a9f0b6b5ca8af556",
    "golden/1.0.tar.zst": "d8ab767b6e457f8599fd0c400bcc9245f0201a85fc42b8e70580e86dbd04e8fe",
    "golden/1.1.tar.zst": "b768360fa49a259d445bae6ea1de40907552d1421c4da94cf73dc1d1b3cc3ece",
    "golden/1.2.tar.zst": "aa303a8942148da3644cd6e8bf8513f5146d9eadca2f4b4a1ae8605c01b4437f",
}
EXPORTED = ["1.0", "1.1"]


def test_no_frozen_bundle_was_written_anew() -> None:
    names = sorted(path.relative_to(BUNDLE).as_posix() for path in BUNDLE.rglob("*.tar.zst"))
    assert {name: hashlib.sha256((BUNDLE / name).read_bytes()).hexdigest() for name in names} == FROZEN


@pytest.mark.parametrize("version", EXPORTED)
def test_it_is_read_and_proved(version: str) -> None:
    path = BUNDLE / "exported" / f"{version}.tar.zst"
    verdict = verify(path)
    assert verdict.findings == []
    with open_bundle(path) as bundle:
        assert bundle.info.format == version
        counts = [bundle.info.counts.get(name, 0) for name in ("assistants", "agents", "vector_stores", "files")]
        assert counts == [2, 1 if version == "1.1" else 0, 1, 3]
        fidelities = {line.filename: str(line.fidelity) for line in bundle.ledger()}
    assert fidelities == {"Rückgabe.md": "text", "prices.csv": "unavailable", "shop.png": "original"}


@pytest.mark.parametrize("version", EXPORTED)
def test_it_is_planned_and_imported(
    version: str, box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    box.behave(agents_api=True)
    key = "sk-destination-0001"
    holdall = Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": key})
    bundle = str(BUNDLE / "exported" / f"{version}.tar.zst")
    planned = holdall("plan", bundle, "--env-file", "none")
    assert planned.code == 3, planned.err
    # prices.csv is missing in the bundle.
    done = holdall("import", bundle, "--env-file", "none")
    assert done.code == 4, done.err
    with Hand(box.url, key) as hand:
        assert {each["name"] for each in hand.everything("/assistants")} == {"Support", "Sales Bot"}
        assert [each["name"] for each in hand.everything("/vector_stores")] == ["Policies"]
    again = holdall("import", bundle, "--env-file", "none", "--json")
    assert again.code == 4, again.err
