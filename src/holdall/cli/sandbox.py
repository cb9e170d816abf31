"""``holdall sandbox``: an OpenAI-compatible project on this machine, until Ctrl-C."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome
from holdall.errors import UsageFault

# Spelt out, so that --help loads no server.
_PROFILES = ("openai-2025", "openai-today", "foundry-classic", "foundry-new", "foundry-both", "look-alike")

if TYPE_CHECKING:
    from holdall.sandbox.oddities.oddity import Oddity


@click.command("sandbox", cls=options.Command, epilog="Example:  holdall sandbox --port 8400 --data ./sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="0: any free port.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sandbox"),
    show_default=True,
    help="Folder for the projects; created if missing.",
)
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    default="openai-2025",
    show_default=True,
    help="Server to imitate: OpenAI with or without assistants, Azure AI Foundry, or a self-hosted one.",
)
@click.option(
    "--index-delay",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds to index a file.",
)
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, help="Seconds to delay every answer.")
@click.option(
    "--serve-assistants-files",
    is_flag=True,
    help="Allow downloads of files with purpose assistants or user_data, which OpenAI refuses.",
)
@click.option(
    "--rate-limits",
    is_flag=True,
    help="Apply OpenAI's limits per minute: 300 writes to a store, 2,000 files.",
)
@click.option(
    "--oddity",
    multiple=True,
    metavar="NAME",
    help="Imitate a quirk of self-hosted servers; NAME is listed in docs/sandbox.md, or all. Repeatable.",
)
@click.option(
    "--storm",
    type=int,
    metavar="SEED",
    help="Make three of ten requests fail, in ways chosen by SEED.",
)
@click.option(
    "--max-file-bytes",
    type=click.IntRange(min=1),
    default=512 * 1024 * 1024,
    help="Largest upload accepted.  [512 MiB]",
)
@click.option("--control", is_flag=True, help="Enable the control endpoint /_sandbox (faults, request log).")
@options.output
def command(
    console: Console,
    /,
    port: int,
    data: Path,
    profile: str,
    serve_assistants_files: bool,
    oddity: tuple[str, ...],
    storm: int | None,
    control: bool,
    **behaving: Any,
) -> Outcome:
    """Run an OpenAI-compatible test server on this machine, until Ctrl-C.

    Each API key (sk- and at least six letters) is a project of its own, created on first use. The server is reachable
    from this machine only, and sends nothing elsewhere.
    """
    from holdall.sandbox.behaviour import Storm
    from holdall.sandbox.entra import token
    from holdall.sandbox.profiles import PROFILES
    from holdall.sandbox.server import serve

    whole = PROFILES[profile]
    behaviour = msgspec.structs.replace(
        whole,
        serve_assistants_files=serve_assistants_files or whole.serve_assistants_files,
        oddities=_oddities(oddity) | whole.oddities,
        **behaving,
    )

    def ready(url: str) -> None:
        console.result(url)
        # Whoever reads --json waits for the address, too.
        console.finish(Outcome(result={"base_url": url, "data": str(data.resolve())}))
        which = "name in the path" if behaviour.foundry else "API key (sk-…)"
        console.verbatim(f"Projects: {data.resolve()} (one for each {which})")
        if behaviour.foundry:
            console.say("In another terminal (the token is good for an hour):")
            key, other = token(time.time() + 3600), url.replace("/projects/sandbox", "/projects/destination")
            console.verbatim(f"  export OPENAI_SRC_BASE_URL='{url}' OPENAI_SRC_API_KEY={key}")
            console.verbatim(f"  export OPENAI_DST_BASE_URL='{other}' OPENAI_DST_API_KEY={key}")
        else:
            console.say("In another terminal:")
            console.verbatim(f"  export OPENAI_SRC_BASE_URL={url} OPENAI_SRC_API_KEY=sk-source-0001")
            console.verbatim(f"  export OPENAI_DST_BASE_URL={url} OPENAI_DST_API_KEY=sk-destination-0001")
        console.say("Ctrl-C stops it.")

    fault = None if storm is None else Storm(seed=storm)
    serve(data, port=port, behaviour=behaviour, control=control, fault=fault, ready=ready)
    console.fresh_line()
    console.say("The sandbox has stopped.")
    return Outcome()


def _oddities(names: tuple[str, ...]) -> frozenset[Oddity]:
    from holdall.sandbox.oddities.oddity import Oddity

    if "all" in names:
        return frozenset(Oddity)
    unknown = [name for name in names if name not in set(Oddity)]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(Oddity), cutoff=0.3)
        raise UsageFault(
            f"the sandbox can't start: unknown oddity {unknown[0]!r}",
            hint=f"like it: {', '.join(near)}" if near else "docs/sandbox.md lists the names",
        )
    return frozenset(oddity for oddity in Oddity if oddity in names)
