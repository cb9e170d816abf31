"""The options that several commands have, each declared once. ``--help`` imports this, so it imports no settings."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from holdall.cli.console import Console, fitting
from holdall.errors import Mistakes, UsageFault
from holdall.kinds import KIND_NAMES

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command that reports all mistakes in its options and settings at once."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        lenient: dict[str | None, click.Parameter] = ctx.meta.get(_LENIENT, {})
        return [lenient.get(param.name, param) for param in super().get_params(ctx)]

    def get_help(self, ctx: click.Context) -> str:
        return fitting(super().get_help(ctx), sys.stdout)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # click stops at the first mistake, so it is asked again without what was wrong.
        mistakes, words = Mistakes(), list(args)
        typed = ctx.meta.setdefault(_TYPED, self._typed(args))
        lenient = ctx.meta.setdefault(_LENIENT, {})
        while True:
            try:
                rest = super().parse_args(ctx, list(words))
                break
            except click.exceptions.NoArgsIsHelpError:
                raise
            except click.UsageError as error:
                if isinstance(error, click.BadParameter) and error.param and error.param.name in typed:
                    error.param_hint = repr(typed[error.param.name])
                mistakes.add(UsageFault(error.format_message(), hint=way_out(error, ctx)))
                if not _pass_over(error, words, lenient):
                    rest = []
                    break
            # What stood behind an unknown option may have been its value.
            ctx.allow_extra_args = len(words) < len(args)
            ctx.params.clear()
        if mistakes:
            from holdall.cli import parameters  # the settings' room takes longer to import than --help may take

            names = {param.name for param in self.params}
            for fault in parameters.faults(ctx.ensure_object(Console), ctx.params, names):
                mistakes.add(fault)
        mistakes.raise_all()
        return rest

    def _typed(self, args: list[str]) -> dict[str | None, str]:
        """The spelling in which an option stands on the command line, by the name of its parameter."""
        words = [word.partition("=")[0] for word in (args[: args.index("--")] if "--" in args else args)]
        spelled = ((param, {*param.opts, *param.secondary_opts}) for param in self.params)
        return {param.name: word for param, names in spelled for word in words if word in names}


def typed_flags(ctx: click.Context | None) -> Mapping[str, str]:
    """As they stand on the command line, the flags that have several names, by the one that settings know them by."""
    typed = ctx.meta.get(_TYPED, {}) if ctx else {}
    return {f"--{name.replace('_', '-')}": word for name, word in typed.items()}


def way_out(error: click.UsageError, ctx: click.Context | None) -> str:
    """The hint for a mistake on the command line: the help, or the commands that have the option that was given."""
    if isinstance(error, click.NoSuchOption) and ctx:
        root = ctx.find_root()
        group = root.command
        assert isinstance(group, click.Group)
        commands = {f"{root.command_path} {name}": group.get_command(root, name) for name in group.list_commands(root)}
        have = [
            path
            for path, command in {root.command_path: group, **commands}.items()
            if command and any(error.option_name in (*param.opts, *param.secondary_opts) for param in command.params)
        ]
        if have:
            return f"{error.option_name} belongs to: {', '.join(have)}"
    return f"{ctx.command_path if ctx else 'holdall'} --help"


_LENIENT = "holdall.lenient"
_TYPED = "holdall.typed"


def _pass_over(error: click.UsageError, words: list[str], lenient: dict[str | None, click.Parameter]) -> bool:
    """Change ``words`` or ``lenient`` so that the next try doesn't end in ``error`` again. Returns whether it could."""
    if isinstance(error, click.NoSuchOption):
        kept = [word for word in words if word.partition("=")[0] != error.option_name]
        done = len(kept) < len(words)
        words[:] = kept
        return done
    param = error.param if isinstance(error, click.BadParameter) else None
    if param is None or param.name in lenient:
        return False
    taken = copy.copy(param)
    taken.type, taken.required, taken.callback = click.STRING, False, None
    lenient[param.name] = taken
    return True


class OutputFile(click.ParamType[Path | str]):
    """A file to write, as a Path. ``-`` means stdout: it stays a str, or is refused where nothing is written there."""

    name = "file"

    def __init__(self, *, stdout: bool = False) -> None:
        self._stdout = stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        if value == "-":
            if self._stdout:
                return "-"
            self.fail("can't write to stdout; name a file (./- for one of that name)", param, ctx)
        # A shell makes this of a variable that isn't set.
        if not str(value).strip():
            self.fail("the file name is empty", param, ctx)
        return Path(value)


def output_file(help: str, *, stdout: bool = False) -> Callable[[F], F]:
    return click.option("-o", "--output", metavar="FILE", type=OutputFile(stdout=stdout), help=help)


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which ``--help`` shows them."""

    def decorate(command: F) -> F:
        # A decorator puts its option before those that are there.
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _several(name: str, metavar: str, help: str) -> Callable[[Any], Any]:
    return click.option(name, multiple=True, metavar=metavar, help=f"{help} Repeatable.")


def _turn_on(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value:
        setattr(ctx.ensure_object(Console), str(param.name), True)
    return value


def _choose_color(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value:
        ctx.ensure_object(Console).color = value
    return value


def _flag(*names: str, help: str) -> Callable[[Any], Any]:
    return click.option(*names, is_flag=True, expose_value=False, callback=_turn_on, help=help)


output = together(
    _flag("--json", help="Print one JSON document to stdout."),
    _flag("--quiet", "-q", help="Print the verdict and the result only."),
    _flag("--verbose", "-v", help="List every item instead of counts."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        callback=_choose_color,
        help="Color the verdict. Default: on a terminal, unless NO_COLOR is set.",
    ),
    click.pass_obj,
)
"""The options of every command. They are kept in the Console, which the command gets as its first argument."""


env_file = click.option(
    "--env-file",
    metavar="FILE|none",
    help="Read settings from this file instead of the nearest .env; none: read no file.",
)


def accounts(*sides: str) -> Callable[[F], F]:
    """Where the account of each side (``src`` or ``dst``) is, and the options of every command that uses an account.

    A key has no flag: a command line is visible to every process of the machine.
    """
    return together(
        *(option for side in sides for option in _account(side, alone=len(sides) == 1)),
        click.option("--concurrency", metavar="N", help="Parallel requests, 1 to 256, default 3 (MAX_CONCURRENCY)."),
        click.option("--log-level", metavar="LEVEL", help="debug | info | warning | error (LOG_LEVEL)."),
        env_file,
    )


def _account(side: str, *, alone: bool) -> Iterator[Callable[[Any], Any]]:
    """``alone``: the command knows one side only, so a flag may do without the side's name."""
    title, variable = "Source" if side == "src" else "Destination", f"OPENAI_{side.upper()}"
    for name, metavar, text in (
        ("base-url", "URL", "server, if it isn't OpenAI"),
        ("org-id", "ID", "organisation, for user keys"),
        ("project-id", "ID", "project, for user keys"),
    ):
        setting = f"{variable}_{name.upper().replace('-', '_')}"
        yield click.option(f"--{side}-{name}", metavar=metavar, help=f"{title} {text} ({setting}).")
    yield click.option(
        f"--{side}-insecure-http",
        is_flag=True,
        # None where it isn't given: then the environment has the word. So with all flags that are settings too.
        default=None,
        help=f"Allow unencrypted http:// to another machine ({variable}_INSECURE_HTTP).",
    )
    yield click.option(
        f"--{side}-token-command",
        *(("--token-command",) if alone else ()),
        f"{side}_token_command",
        metavar="CMD",
        help=f"Command that prints a bearer token; rerun before expiry ({variable}_TOKEN_COMMAND).",
    )


bundle = click.argument("bundle", type=click.Path(path_type=Path))

accept_known = click.option(
    "--accept-known-losses",
    is_flag=True,
    help="Exit 0 if nothing is missing that the bundle has.",
)

what_to_import = together(
    _several("--only", "[KIND:]ID|GLOB", f"Only matching objects and what they use; KIND is {KIND_NAMES}."),
    _several("--exclude", "[KIND:]ID|GLOB", "Leave out matching objects."),
)

what_to_export = together(
    click.option("--all", is_flag=True, default=None, help="Every assistant (the default)."),
    click.option("--id", multiple=True, metavar="ID", help="Only this assistant (CLONE_IDS). Repeatable."),
    click.option(
        "--name", multiple=True, metavar="GLOB", help="Only assistants with a matching name (CLONE_NAMES). Repeatable."
    ),
    what_to_import,
    click.option(
        "--no-assistants",
        is_flag=True,
        help="Export all vector stores and files only (automatic without an Assistants API).",
    ),
    click.option("--unused", is_flag=True, help="Also vector stores and files that no assistant uses."),
    click.option(
        "--versions",
        type=click.Choice(["latest", "all"]),
        default="latest",
        show_default=True,
        help="Versions of Foundry agents to export.",
    ),
    click.option(
        "--from-dump",
        multiple=True,
        metavar="FILE",
        help="Read assistants from a file (JSON, printed objects, logs, CSV) instead of the API; - is stdin. "
        "Repeatable.",
    ),
    click.option(
        "--file-search/--no-file-search",
        default=None,
        help="Include vector stores and their files; on by default (INCLUDE_FILE_SEARCH).",
    ),
    click.option(
        "--code-interpreter/--no-code-interpreter",
        default=None,
        help="Include code interpreter files; on by default (INCLUDE_CODE_INTERPRETER).",
    ),
    click.option("--label", metavar="NAME", help="Name of the source in file names (OPENAI_SRC_LABEL)."),
)

how_to_export = together(
    click.option(
        "--originals",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Search DIR recursively for your own copies of files that can't be downloaded; name, size and "
        "words must match.",
    ),
    click.option(
        "--via-container",
        is_flag=True,
        help="Read files that can't be downloaded through containers. Costs money and needs a key that may "
        "write; the containers are deleted afterwards.",
    ),
    click.option(
        "--min-fidelity",
        type=click.Choice(["original", "container", "text", "any"]),
        default="text",
        show_default=True,
        help="Exit 4 if a file falls below this fidelity.",
    ),
    _several("--allow-missing", "ID", "Don't exit 4 if this object is missing or incomplete."),
    click.option(
        "--parent",
        metavar="BUNDLE|auto|none",
        default="auto",
        help="Reuse unchanged files from this bundle; auto (default): the newest bundle of the same project "
        "in the same folder.",
    ),
    click.option(
        "--resume/--no-resume",
        default=None,
        help="Resume an unfinished export of any age, or discard it. Default: resume if less than 7 days old.",
    ),
)

how_to_plan = together(
    click.option(
        "--as",
        "form",
        type=click.Choice(["auto", "assistants", "responses", "foundry"]),
        default="auto",
        help="Import assistants as assistants, as agents of a Foundry project, or as Responses API requests in "
        "OUTPUT_DIR/responses; auto (default): whichever the destination supports.",
    ),
    click.option(
        "--max-loss",
        type=click.Choice(["none", "minor", "any"]),
        default="any",
        help="Write nothing if more than this would be lost; default any.",
    ),
    click.option("--prefix", metavar="TEXT", help="Prefix for the names of assistants and agents (CLONE_NAME_PREFIX)."),
    _several("--map-model", "OLD=NEW", "Use model NEW for assistants whose model is OLD (or a GLOB)."),
    _several("--map-connection", "OLD=NEW", "Use connection NEW of a Foundry project in place of OLD."),
    click.option(
        "--supply-template",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="JSON with what no server returns of environment templates, by id or name: env, setup_commands, "
        "blocked_domains, inline files, skills and plugins. Never stored or logged.",
    ),
    click.option(
        "--skip-unmapped", is_flag=True, help="Leave out assistants whose model the destination does not have."
    ),
    _several("--keep-metadata", "KEY", "Import this metadata key even if it looks like the server's own."),
    _several("--drop-metadata", "GLOB", "Leave out matching metadata keys."),
    click.option(
        "--on-conflict",
        type=click.Choice(["stop", "skip", "update", "duplicate"]),
        default="stop",
        help="If an object exists and differs: stop and write nothing (default), skip it, update it, or "
        "duplicate everything.",
    ),
    click.option(
        "--mapping",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="A mapping.json of source ids to existing objects.",
    ),
    click.option(
        "--delete",
        is_flag=True,
        help="With --on-conflict update: remove files from vector stores that the bundle does not have there.",
    ),
    click.option(
        "--even-if-changed",
        is_flag=True,
        help="With --on-conflict update: also update what others have changed since the last import.",
    ),
    click.option("--output-dir", metavar="DIR", help="Folder for mapping and report, default ./out (OUTPUT_DIR)."),
)

how_to_import = together(
    how_to_plan,
    click.option("--dry-run", is_flag=True, default=None, help="Show what would be done; write nothing (DRY_RUN)."),
    click.option(
        "--settle",
        metavar="SECONDS",
        help="How long to look for an object whose creation got no answer before retrying; default 60 "
        "(HOLDALL_SETTLE).",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Import even if another import created the same objects within the last hour.",
    ),
    click.option("--yes", "-y", is_flag=True, help="Don't ask before changing existing objects."),
    accept_known,
)
