"""``holdall demo``: export, import and compare on this machine, without an account."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdall.cli import options, subprocesses
from holdall.cli.console import Console, Outcome, human_size
from holdall.errors import AlreadyExists, CannotWrite, Interrupted

if TYPE_CHECKING:
    from holdall.sandbox.sample.definition import Sample


_FOLDER = "holdall-demo"
_COLUMNS = 80
_SOURCE = {"OPENAI_SRC_API_KEY": "sk-demo-source"}
_DESTINATION = {"OPENAI_DST_API_KEY": "sk-demo-destination"}
NO_DIFFERENCES = "no differences"


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
        kept = f"interrupted: what was made so far is in {demo.folder}"
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
        raise AlreadyExists(
            f"can't use --dir {folder}: it isn't empty", hint="a new folder, or no --dir: the demo finds a name itself"
        )
    return folder


def _wrapped(line: str, indent: str = "") -> list[str]:
    """A line of output, wrapped between words to the width of a terminal."""
    hang = " " * (len(line) - len(line.lstrip()) + 4)
    # textwrap counts characters, a terminal columns: a wide one takes a second, which is taken out again.
    wide = "".join(f"{char}\0" if unicodedata.east_asian_width(char) in "WF" else char for char in line)
    lines = textwrap.wrap(
        wide,
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part.replace("\0", "") for part in lines] or [""]


class _Demo:
    """One run in a folder, with holdall as processes of their own that get only the settings they are shown with."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console = console
        self.folder = folder
        self.called = subprocesses.program(sys.argv[0])
        self.environment = subprocesses.without_settings(os.environ)
        self.bundle = folder / "larkmoor.tar.zst"
        self.out = folder / "out"
        self.codes: dict[str, int] = {}

    def play(self, sample: Sample) -> Outcome:
        """The whole demo. The sandbox is stopped at its end, however that comes."""
        say = self.console.say
        say(sample.about)
        say("They live in a sandbox: an OpenAI-compatible server on this machine, where each")
        say("API key is a project. No .env is read, and nothing leaves this machine.")
        server = ["sandbox", "--port", "0", "--data", str(self.folder / "sandbox"), "--serve-assistants-files"]
        self._show(server, {})
        with subprocesses.serving(server, self.environment, self.folder / "sandbox.log") as url:
            say(f"  {url}")
            say("OpenAI refuses to give the files of assistants back. That flag makes the sandbox")
            say("give them, so that originals travel; the last lines say how to see it without.")
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
            f"Made there: {len(sample.assistants)} assistants, {len(sample.stores)} vector stores, "
            f"{len(sample.documents)} files."
        )

    def _steps(self, url: str) -> None:
        """Export, verify, import, compare. A step without the result of the one before is left out."""
        bundle = str(self.bundle)
        # A .env where the user stands may name other projects.
        source = ["--env-file", "none", "--src-base-url", url]
        destination = ["--output-dir", str(self.out), "--env-file", "none", "--dst-base-url", url]
        title = "Export, with the key of the source and no other"
        self._step("export", title, ["export", "-o", bundle, *source], _SOURCE)
        if self.bundle.exists():
            self._step("verify", "Prove the bundle whole, with no key at all", ["verify", bundle], {})
            title = "Import, with the key of the destination and no other"
            self._step("import", title, ["import", bundle, *destination], _DESTINATION)
        if self.out.exists():
            title = "Compare the destination with the bundle, field by field"
            against = ["verify", bundle, "--against", "dst", *destination]
            self._step("verify --against", title, against, _DESTINATION)

    def _step(self, name: str, title: str, arguments: list[str], keys: Mapping[str, str]) -> None:
        self.console.say()
        self.console.say(f"== {len(self.codes) + 1}. {title}")
        self._show(arguments, keys)

        def on_line(line: str) -> None:
            for part in _wrapped(line, "  "):
                self.console.say(part)

        self.codes[name] = subprocesses.run(arguments, {**self.environment, **keys}, on_line)

    def _show(self, arguments: list[str], keys: Mapping[str, str]) -> None:
        for place, line in enumerate(self._command(arguments, keys)):
            self.console.say(f"{' ' if place else '$'} {line}")

    def _command(self, arguments: list[str], keys: Mapping[str, str]) -> list[str]:
        return subprocesses.command_line(self.called, arguments, keys, windows=os.name == "nt")

    def _end(self) -> Outcome:
        result = self.console.result
        report = self.out / "report.md"
        if report.exists():
            result()
            result(f"== {report}")
            for line in report.read_text(encoding="utf-8").splitlines():
                for part in _wrapped(line):
                    result(part)
        failed = {name: code for name, code in self.codes.items() if code}
        whole = not failed and "verify --against" in self.codes
        result()
        if whole:
            result(f"Verdict: {NO_DIFFERENCES}. What was imported equals the bundle, field by field.")
        else:
            ended = ", ".join(f"{name} ended with {code}" for name, code in failed.items())
            result(f"Verdict: not equal, or not known to be: {ended or 'the comparison was not reached'}.")
        if self.bundle.exists():
            result(f"The bundle: {self.bundle} ({human_size(self.bundle.stat().st_size)})")
            self._next()
        return Outcome(
            exit_code=next(iter(failed.values()), 0 if whole else CannotWrite.exit_code),
            result={
                "folder": str(self.folder),
                "bundle": str(self.bundle) if self.bundle.exists() else None,
                "report": str(report) if report.exists() else None,
                "exit_codes": self.codes,
                "verdict": NO_DIFFERENCES if whole else "differences",
            },
        )

    def _next(self) -> None:
        """What to try next: commands that work as they stand, in the folder where the demo was started."""
        bundle, url = str(self.bundle), "http://127.0.0.1:8400/v1"
        refused = self.folder / "refused.tar.zst"

        def show(title: str, *commands: tuple[list[str], Mapping[str, str]]) -> None:
            self.console.result(title)
            for arguments, keys in commands:
                for line in self._command(arguments, keys):
                    self.console.result(f"  {line}")

        self.console.result()
        show(
            "Look inside, take files out:",
            (["inspect", bundle], {}),
            (["extract", bundle, "*.pdf", "--to", str(self.folder / "pdf")], {}),
        )
        show(
            "The same project on a server that refuses files, as OpenAI does (two terminals):",
            (["sandbox", "--port", "8400", "--data", str(self.folder / "sandbox")], {}),
            (["export", "-o", str(refused), "--env-file", "none", "--src-base-url", url], _SOURCE),
        )
        show("Your own project:", (["export"], {"OPENAI_SRC_API_KEY": "sk-…"}))
