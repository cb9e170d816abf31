"""``holdall demo``: export, import and compare on this machine, without an account."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdall.cli import options, subprocesses
from holdall.cli.console import Console, Outcome
from holdall.cli.views import Block
from holdall.errors import AlreadyExists, CannotWrite, Interrupted

if TYPE_CHECKING:
    from holdall.sandbox.sample.definition import Sample


_FOLDER = "holdall-demo"
_INDENT = "  "
_SOURCE = {"OPENAI_SRC_API_KEY": "sk-demo-source"}
_DESTINATION = {"OPENAI_DST_API_KEY": "sk-demo-destination"}


@click.command("demo", cls=options.Command)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"Folder to work in, new or empty. Default: ./{_FOLDER}, or {_FOLDER}-2 … if it exists.",
)
@options.output
def command(console: Console, folder: Path | None) -> Outcome:
    """Export a sample project, import it into another project and compare the two, all on this machine.

    Needs no account and no key, and reads no .env: it uses a sandbox on a free port. Writes everything into one new
    folder. Exits 0 only if the comparison found no differences.
    """
    import holdall.sandbox.server  # noqa: F401  # says which extra is missing before anything is written
    from holdall.sandbox.sample.definition import sample

    demo = _Demo(console, _empty(folder) if folder else _new_folder())
    try:
        return demo.play(sample())
    except KeyboardInterrupt:
        kept = f"interrupted: files created so far are in {demo.folder}"
        raise Interrupted(kept, hint="holdall demo starts over in a new folder") from None


def _new_folder() -> Path:
    """Make a new folder; two demos that start together get one each."""
    number = 1
    while True:
        folder = Path(_FOLDER if number == 1 else f"{_FOLDER}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1


def _empty(folder: Path) -> Path:
    """Make the folder that was named. Raises AlreadyExists where something is in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise AlreadyExists(f"can't use --dir {folder}: it is a file") from None
    if any(folder.iterdir()):
        raise AlreadyExists(f"can't use --dir {folder}: it isn't empty", hint="name a new folder, or omit --dir")
    return folder


class _Demo:
    """One run in a folder, with holdall as processes of their own that get only the settings they are shown with."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console = console
        self.folder = folder
        self.called = subprocesses.program(sys.argv[0])
        # What they print is shown as it comes, indented.
        columns = console.columns - len(_INDENT)
        self.environment = subprocesses.without_settings(os.environ) | {"COLUMNS": str(columns)}
        self.bundle = folder / "larkmoor.tar.zst"
        self.out = folder / "out"
        self.codes: dict[str, int] = {}

    def play(self, sample: Sample) -> Outcome:
        """The whole demo. The sandbox is stopped at its end, however that comes."""
        say = self.console.say
        say(sample.about)
        say("A sandbox on this machine acts as OpenAI. Nothing leaves this machine; no .env is read.")
        server = ["sandbox", "--port", "0", "--data", str(self.folder / "sandbox"), "--serve-assistants-files"]
        self._show(server, {})
        with subprocesses.serving(server, self.environment, self.folder / "sandbox.log") as url:
            self.console.verbatim(f"{_INDENT}{url}")
            self._fill(sample, url)
            self._steps(url)
        return self._end()

    def _fill(self, sample: Sample, url: str) -> None:
        from holdall.cli.fill import fill
        from holdall.endpoint import endpoint
        from holdall.remote.client import Account

        async def make() -> None:
            async with Account(endpoint(_SOURCE["OPENAI_SRC_API_KEY"], url), concurrency=8) as account:
                await fill(account, sample)

        asyncio.run(make())
        self.console.say(
            f"Created {len(sample.assistants)} assistants, {len(sample.stores)} vector stores, "
            f"{len(sample.documents)} files"
        )

    def _steps(self, url: str) -> None:
        """Export, verify, import, compare. A step without the result of the one before is left out."""
        bundle = str(self.bundle)
        # A .env where the user stands may name other projects.
        source = ["--env-file", "none", "--src-base-url", url]
        destination = ["--output-dir", str(self.out), "--env-file", "none", "--dst-base-url", url]
        title = "Export, with the source's key"
        self._step("export", title, ["export", "-o", bundle, *source], _SOURCE)
        if self.bundle.exists():
            self._step("verify", "Verify the bundle, without a key", ["verify", bundle], {})
            title = "Import, with the destination's key"
            self._step("import", title, ["import", bundle, *destination], _DESTINATION)
        if self.out.exists():
            title = "Compare the destination with the bundle"
            against = ["verify", bundle, "--against", "dst", *destination]
            self._step("verify --against", title, against, _DESTINATION)

    def _step(self, name: str, title: str, arguments: list[str], keys: Mapping[str, str]) -> None:
        self.console.say()
        self.console.say(f"== {len(self.codes) + 1}. {title}")
        self._show(arguments, keys)

        def on_line(line: str) -> None:
            self.console.verbatim(f"{_INDENT}{line}")

        self.codes[name] = subprocesses.run(arguments, {**self.environment, **keys}, on_line)

    def _show(self, arguments: list[str], keys: Mapping[str, str]) -> None:
        for place, line in enumerate(self._command(arguments, keys)):
            self.console.verbatim(f"{' ' if place else '$'} {line}")

    def _command(self, arguments: list[str], keys: Mapping[str, str]) -> list[str]:
        columns = self.console.columns
        return subprocesses.command_line(self.called, arguments, keys, windows=os.name == "nt", columns=columns)

    def _end(self) -> Outcome:
        report = self.out / "report.md"
        failed = {name: code for name, code in self.codes.items() if code}
        whole = not failed and "verify --against" in self.codes
        exit_code = next(iter(failed.values()), 0 if whole else CannotWrite.exit_code)
        ended = ", ".join(f"{name} exited with {code}" for name, code in failed.items())
        self.console.say()
        Block(
            verdict="COMPLETE: the imported copy equals the bundle, field by field"
            if whole
            else f"NOT VERIFIED: {ended or 'stopped before the comparison'}",
            exit_code=exit_code,
            places=[f"Folder: {self.folder}"],
        ).show(self.console, on_stdout=True)
        if self.bundle.exists():
            self._next()
        return Outcome(
            exit_code=exit_code,
            result={
                "folder": str(self.folder),
                "bundle": str(self.bundle) if self.bundle.exists() else None,
                "report": str(report) if report.exists() else None,
                "exit_codes": self.codes,
                "verdict": "no differences" if whole else "differences",
            },
        )

    def _next(self) -> None:
        """What to try next: commands that work as they stand, in the folder where the demo was started."""
        bundle, url = str(self.bundle), "http://127.0.0.1:8400/v1"
        refused = self.folder / "refused.tar.zst"

        def show(title: str, *commands: tuple[list[str], Mapping[str, str]]) -> None:
            self.console.say(title)
            for arguments, keys in commands:
                for line in self._command(arguments, keys):
                    self.console.verbatim(f"{_INDENT}{line}")

        self.console.say()
        show(
            "Inspect the bundle, extract files:",
            (["inspect", bundle], {}),
            (["extract", bundle, "*.pdf", "--to", str(self.folder / "pdf")], {}),
        )
        show(
            "Export from a server that refuses files, as OpenAI does (two terminals):",
            (["sandbox", "--port", "8400", "--data", str(self.folder / "sandbox")], {}),
            (["export", "-o", str(refused), "--env-file", "none", "--src-base-url", url], _SOURCE),
        )
        show("Export your own project:", (["export"], {"OPENAI_SRC_API_KEY": "sk-…"}))
