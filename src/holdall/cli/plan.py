"""``holdall plan``: show what an import would do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome
from holdall.cli.views import again, onward


@click.command("plan", cls=options.Command)
@options.bundle
@options.output_file("Save the plan to FILE, for import --plan.")
@options.what_to_import
@options.how_to_plan
@options.accept_known
@options.accounts("dst")
@options.output
def command(console: Console, /, bundle: Path, output: Path | None, **given: Any) -> Outcome:
    """Show what importing BUNDLE would create, reuse, update or skip, and what can't be imported. Only reads.

    Needs OPENAI_DST_API_KEY. Checks the destination's endpoints, its models with their shutdown dates, and which
    objects of the bundle it already has. Exits 3 if there is something to do; if not, 4 if anything is missing at the
    destination, else 0.
    """
    settings, asked = parameters.read_import(console, given)
    from holdall.cli.import_run import TerminalObserver, open_verified, supply_of
    from holdall.importer.verbs.import_bundle import PlanOptions, plan_import

    wanted = PlanOptions(
        asked=asked,
        output=settings.output_dir,
        accept_known=given["accept_known_losses"],
        save=output,
        supply=supply_of(given),
    )

    if output:
        carry_out = onward(console, "import", bundle, "--plan", output)
    else:
        carry_out = again(console, command="import")
    console.say(f"Planning to import {bundle.name} into {settings.endpoint.title}")
    with open_verified(console, bundle) as reader:
        result = {"plan": str(output) if output else None}
        observer = TerminalObserver(console, reader, settings.output_dir, result=result, commands=[carry_out])
        parameters.at_destination(console, settings, plan_import, reader, wanted, observer.planned, now=time.time())
    return observer.outcome
