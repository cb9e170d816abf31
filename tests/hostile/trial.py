"""Everything that reads bundles, let loose on one; and what must hold whatever the bundle says.

- Nothing is raised but the errors of a bundle, and every command ends in one of their exit codes.
- What was printed has no control or bidi characters, and names one error.
- Nothing is written outside of the folder that was named.
- What is delivered is what a proof would accept.
"""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.texts import document
from holdall.bundle.verification import Verification, verify
from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.errors import BundleError, NoSuchEntry
from holdall.importer.plan.bundle_summary import summarize
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.planner import plan
from holdall.model import Fidelity
from holdall.selection import Selection
from tests.codes import CODES

__all__ = ["Trial"]

_CODES = {0, 3, *range(10, 20)}
_SAMPLE = Path(__file__).parents[2] / "archives" / "sample.tar.zst"
_PIECE = 1 << 20


class Trial:
    """One bundle in a folder of its own, ``folder / "bundle.tar.zst"``."""

    def __init__(self, folder: Path, raw: bytes | None = None) -> None:
        """Without ``raw`` the bundle is there already."""
        self._folder = folder
        self.path = folder / "bundle.tar.zst"
        if raw is not None:
            folder.mkdir(exist_ok=True)
            self.path.write_bytes(raw)

    def run(self, *, everything: bool = True) -> bool:
        """Try all readers; True where the proof found something. ``everything``: the command line, too."""
        damaged = self.proof()
        self.reader()
        self.importing()
        self.deliveries(damaged)
        if everything:
            self.commands(damaged)
        return damaged

    def proof(self) -> bool:
        found = refused(lambda: verify(self.path))
        quick = refused(lambda: verify(self.path, quick=True))
        damaged = not isinstance(found, Verification) or not found.whole
        if isinstance(found, Verification):
            assert {finding.code for finding in found.findings} <= CODES
            with self.path.open("rb") as file:
                assert found.sha256 == hashlib.file_digest(file, "sha256").hexdigest()
        if isinstance(quick, Verification) and not quick.whole:
            assert damaged, f"only the quick proof found {quick.findings}"
        return damaged

    def reader(self) -> None:
        """Each way to read a bundle, by itself: what stops one need not stop the next."""
        bundle = refused(lambda: open_bundle(self.path))
        if not isinstance(bundle, BundleReader):
            return
        with bundle:
            for read in (bundle.assistants, bundle.agents, bundle.stores, bundle.files, bundle.ledger, bundle.entries):
                refused(lambda read=read: exhaust(read()))
            for store in ("vs_1", "vs_2"):
                refused(lambda store=store: exhaust(bundle.memberships(store)))
            for file in ("file-1", "file-2", "file-3", "file-4", "\x1b", "\ud800", ""):
                refused(lambda file=file: exhaust(self._content(bundle, file)))
            for entry in refused(lambda: list(bundle.entries())) or ():
                assert bundle.find(entry.path) or True
                if (data := refused(lambda entry=entry: bundle.read(entry))) is not None:
                    assert hashlib.sha256(data).hexdigest() == entry.sha256
            for part in (bundle.info.index, bundle.info.manifest):
                refused(lambda part=part: exhaust(bundle.part_lines(part)), also=Exception)
            refused(lambda: MissingFromBundle(bundle).__exit__(None, None, None))

    @staticmethod
    def _content(bundle: BundleReader, file: str) -> Iterator[bytes]:
        entry = bundle.content(file)
        if entry is not None:
            digest = hashlib.sha256()
            with bundle.open(entry) as stream:
                while data := stream.read(_PIECE):
                    digest.update(data)
                    yield data
            assert digest.hexdigest() == entry.sha256

    def importing(self) -> None:
        """What an import reads, before it asks a destination for anything."""
        bundle = refused(lambda: open_bundle(self.path))
        if not isinstance(bundle, BundleReader):
            return
        with bundle:
            holding = refused(lambda: summarize(bundle))
            if holding is None:
                return
            refused(lambda: plan(holding, Selection(), prefix="copy of ", choices=Choices()))
            for content in holding.files.values():
                if content.fidelity is Fidelity.TEXT and (entry := refused(lambda c=content: bundle.content(c.id))):
                    stored = refused(lambda entry=entry: bundle.read(entry))
                    if stored is not None:
                        refused(
                            lambda s=stored, c=content: document(s, overlap=c.overlap, filename=c.filename, size=c.size)
                        )

    def deliveries(self, damaged: bool) -> None:
        from holdall.extraction import extract, salvage

        for number, way in enumerate((extract, salvage)):
            to = self._folder / f"out-{number}" / "inner"
            with self._contained(to):
                found = refused(lambda way=way, to=to: list(way(self.path, [], to)))
            if way is extract and not damaged:
                assert found is not None, "an honest bundle can't be taken out"

    def commands(self, damaged: bool) -> None:
        for number, words in enumerate(
            (
                ["verify"],
                ["inspect"],
                ["inspect", "--all", "--json"],
                ["list", "--grep", "."],
                ["diff", str(_SAMPLE), "-v", "--env-file", "none"],
                ["extract", "--to", "TO"],
                ["extract", "--salvage", "--json", "--to", "TO"],
            )
        ):
            to = self._folder / f"cli-{number}" / "inner"
            argv = [words[0], str(self.path), *(str(to) if word == "TO" else word for word in words[1:])]
            out, err = io.StringIO(), io.StringIO()
            with self._contained(to):
                code = run(argv, Console(stdout=out, stderr=err))
            said = f"{' '.join(words)}: {code}\n{err.getvalue()[:2000]}"
            assert code in _CODES, said
            errors = [line for line in err.getvalue().splitlines() if line.startswith("Error: ")]
            # verify tells of damage, and list of nothing found, without an error.
            is_error = code >= 10 and (words[0], code) not in (("verify", 10), ("list", NoSuchEntry.exit_code))
            assert len(errors) == is_error, said
            assert len(err.getvalue()) < 20_000, "errors that nobody reads"
            for text in (out.getvalue(), err.getvalue()):
                rude = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs")} - {"\n", "\t"}
                assert not rude, f"{words}: {rude}"
            if "--json" in words:
                assert json.loads(out.getvalue())["exit_code"] == code
            if words == ["verify"]:
                assert damaged == (code != 0), said

    def _contained(self, to: Path) -> Contained:
        return Contained(self._folder.parent, to)


class Contained:
    """Nothing appears below ``root`` but what is below ``to``; and what appears there are files and folders."""

    def __init__(self, root: Path, to: Path) -> None:
        self._root, self._to = root, to

    def __enter__(self) -> None:
        self._before = set(self._root.rglob("*"))

    def __exit__(self, *error: object) -> None:
        fresh = set(self._root.rglob("*")) - self._before - {self._to, *self._to.parents}
        outside = [path for path in fresh if self._to not in path.parents]
        assert not outside, f"written outside of the folder: {outside}"
        for path in fresh:
            assert not path.is_symlink()
            assert path.is_dir() or path.is_file()
            assert not path.name.endswith(".part"), "half a file stayed"
            assert path.is_dir() or path.stat().st_mode & 0o077 == 0 or path.drive, "readable by others"


def exhaust(items: Iterator[Any]) -> None:
    for _ in items:
        pass


def refused(work: Callable[[], Any], *, also: type[Exception] = BundleError) -> Any:
    """What ``work`` gives; None where it refuses with an error of its own kind. Anything else comes through."""
    try:
        return work()
    except BundleError as error:
        told = error
    except also:
        return None
    assert 10 <= told.exit_code < 20
    assert len(told.message) < 3000
    return None
