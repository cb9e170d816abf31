"""The entry point: the lazy group of commands, and the one broad except of the program."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from holdall.cli import streams
from holdall.cli.console import Console, Outcome, fitting
from holdall.cli.options import output, way_out
from holdall.credentials import refuse_key
from holdall.errors import (
    EXIT_BUG,
    CannotWrite,
    HoldallError,
    Interrupted,
    MissingExtra,
    OutOfResources,
    UsageFault,
    exhausted,
    exit_codes,
)
from holdall.variables import KEY_VARIABLES
from holdall.version import __version__

# Section -> command -> (module that has the click command as `command`, one line of help). The line stands here so
# that --help opens no command's module: the SDK alone takes longer to import than --help may take.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Backup and restore": {
        "export": ("holdall.cli.export", "Back up a project into one bundle file."),
        "backup": ("holdall.cli.backup", "Back up several projects, unattended."),
        "plan": ("holdall.cli.plan", "Show what an import would do."),
        "import": ("holdall.cli.import_", "Restore a bundle into a project."),
        "clone": ("holdall.cli.clone", "Copy a project: export, then import."),
        "runs": ("holdall.cli.run_list", "List past imports."),
        "undo": ("holdall.cli.undo", "Undo an import."),
        "remap": ("holdall.cli.remap", "Replace old ids in your code and settings."),
        "doctor": ("holdall.cli.doctor", "Check keys, endpoints, permissions and models."),
    },
    "Bundles": {
        "list": ("holdall.cli.bundle_list", "List bundles, newest first, or search them."),
        "prune": ("holdall.cli.prune", "Remove old bundles by a retention policy."),
        "inspect": ("holdall.cli.inspect", "Show the contents of a bundle."),
        "verify": ("holdall.cli.verify", "Check a bundle for damage, or compare an import with it."),
        "diff": ("holdall.cli.diff", "Show what changed between bundles or live projects."),
        "extract": ("holdall.cli.extract", "Extract files from a bundle."),
        "supply": ("holdall.cli.supply", "Add your own originals to a bundle."),
        "unpack": ("holdall.cli.unpack", "Write a bundle as a folder, for git and backup programs."),
        "pack": ("holdall.cli.pack", "Write an unpacked folder as a bundle."),
    },
    "Sandbox": {
        "sandbox": ("holdall.cli.sandbox", "Run an OpenAI-compatible test server on this machine."),
        "demo": ("holdall.cli.demo", "Try export and import without an account."),
    },
}

_MODULES = {name: module for section in COMMANDS.values() for name, (module, _) in section.items()}

EXAMPLES = """\
Back up:   OPENAI_SRC_API_KEY=… holdall export
Restore:   OPENAI_DST_API_KEY=… holdall import archives/NAME.tar.zst
Move:      OPENAI_SRC_API_KEY=… OPENAI_DST_API_KEY=… holdall clone"""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        found: click.Command = importlib.import_module(_MODULES[cmd_name]).command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click looks among commands that are loaded, and none is.
            raise click.NoSuchCommand(error.command_name, possibilities=_MODULES, ctx=ctx) from None
        ctx.ensure_object(Console).command = name
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would end the line, and with it a bar, before it is taken off the screen
            raise Interrupted("interrupted before the end", hint="run the same command again") from None

    def get_help(self, ctx: click.Context) -> str:
        return fitting(super().get_help(ctx), sys.stdout)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"{EXAMPLES}\n\n")
        super().format_usage(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in section.items()])
        super(click.Group, self).format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in exit_codes().items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="holdall")
@output
def cli(console: Console) -> None:
    """Back up OpenAI assistants, vector stores and files into one bundle, and restore it into any project.

    OpenAI shut down the Assistants API on 2026-08-26. Vector stores and files still exist: export saves them, together
    with assistant definitions that you kept as JSON (--from-dump). doctor shows what your key can still read.
    """


def run(argv: Sequence[str], console: Console) -> int:
    """Run one command line and return its exit code. Nothing but SystemExit from the interpreter escapes."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    # Known before parsing, so that a command line that can't be parsed is answered in the form that was asked for.
    console.json, console.typed = "--json" in words, list(argv)
    try:
        try:
            _refuse_keys(argv, os.environ)
            # Standalone, click would print its errors and end the process by itself.
            returned: Any = cli.main(list(argv), prog_name="holdall", standalone_mode=False, obj=console)
        except click.exceptions.NoArgsIsHelpError as error:
            console.help(error.format_message())
            return UsageFault.exit_code
        except BrokenPipeError:
            raise
        except Exception as error:  # the one broad except
            return console.fail(*as_ours(error, console))
        if isinstance(returned, Outcome):
            return console.finish(returned)
        return returned if isinstance(returned, int) else 0
    except CannotWrite as lost:  # the result, or the error, was to be printed
        return console.fail(lost)
    except BrokenPipeError:
        # The reader of our output went away (`holdall … | head`): nobody is left to be told.
        return 1


def _of_sandbox(error: Exception) -> HoldallError | None:
    """One of the sandbox's errors in the program's own terms; None for any other."""
    from holdall.sandbox.sandbox_errors import CannotStart, MachineTooSmall, PackageMissing, SandboxError

    if not isinstance(error, SandboxError):
        return None
    terms = {PackageMissing: MissingExtra, CannotStart: UsageFault, MachineTooSmall: OutOfResources}
    ours = next((ours for theirs, ours in terms.items() if isinstance(error, theirs)), CannotWrite)
    return ours(error.message, hint=error.hint)


def as_ours(error: BaseException, console: Console) -> tuple[HoldallError, int | None]:
    """Map any error to one of holdall's, and to an exit code where that isn't the class's."""
    # A case for each class: which of them is meant is decided in their order, so they stand together.
    match error:
        case HoldallError():
            return error, None
        case click.UsageError():
            return UsageFault(error.format_message(), hint=way_out(error, error.ctx)), None
        case click.ClickException():
            return UsageFault(error.format_message()), None
        case click.Abort():
            console.warn("")  # the question had no line end
            return Interrupted("interrupted"), None
        case Exception() if short := exhausted(error):
            return short, None
        case Exception() if ours := _of_sandbox(error):
            return ours, None
        case OSError():
            where = f" {error.filename}" if error.filename else ""
            hint = "free disk space, also for temporary files (TMPDIR), then run the same command again"
            return CannotWrite(
                f"can't read or write{where}: {error.strerror or error}",
                hint=hint if error.errno == errno.ENOSPC else "",
            ), None
    # Any other error is a bug of holdall.
    console.close_progress()
    if os.environ.get("HOLDALL_TRACEBACK"):
        import traceback

        traceback.print_exception(error, file=console.stderr)
    return HoldallError(
        f"a bug in holdall {__version__}: {type(error).__name__}: {error}",
        hint="run it again with HOLDALL_TRACEBACK=1 and report what it prints",
    ), EXIT_BUG


def _refuse_keys(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raises UsageFault where a key stands on the command line, before anything can print it."""
    keys = {said for name in KEY_VARIABLES if (said := environ.get(name))}
    before = ""
    for word in argv:
        flag, given, value = word.partition("=")
        if not (given and flag.startswith("--")):
            flag, value = (f"the argument after {before}" if before else "an argument"), word
        before = word if word.startswith("-") and value is word else ""
        # What prints a token may well take words that look like one.
        if not flag.endswith("-token-command"):
            refuse_key(value, flag, keys)


def main() -> None:
    """The console script, without what ``holdall.__main__`` sets for the process."""
    os.environ.pop("OPENAI_LOG", None)  # the SDK's own log shows answers as they come
    streams.repair()
    try:
        code = run(sys.argv[1:], Console())
    except KeyboardInterrupt:  # a second one, while the first was reported
        code = Interrupted.exit_code
    # What is left is the interpreter's, which answers Ctrl-C with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)
