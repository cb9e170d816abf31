"""From losses to results: what is shared weighs on everyone who shares it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from holdall.dialects.loss import Loss, Why
from holdall.importer.apply.context import RunTally
from holdall.importer.plan.steps import CreateAssistant, Unit
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.runs.runreport import Status
from holdall.model import Kind, SourceId, TargetId

A1, A2, A3, VS, F = (SourceId(id) for id in ("a1", "a2", "a3", "vs", "f"))


def unit(id: SourceId, stores: list[SourceId], files: list[SourceId]) -> Unit:
    step = CreateAssistant(id=id, name=id.upper(), model="m", stores=stores, files=files)
    return Unit(kind=Kind.ASSISTANT, id=id, name=id.upper(), steps=[step])


def test_a_loss_counts_for_all_that_share_the_store_and_is_written_down_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, now=lambda: 0.0, token="t")
    units = [unit(A1, [VS], [F]), unit(A2, [], [SourceId("h")]), unit(A3, [VS], [])]
    tally = RunTally(folder, units, {VS: [F, SourceId("g")]})
    tally.lose(Loss(why=Why.REFUSED, kind=Kind.FILE, id=F, text="too large"))
    tally.lose(Loss(why=Why.LEFT_OUT, kind=Kind.FILE, id=SourceId("g"), inside=VS, field="x", text="gone"))
    tally.lose(Loss(why=Why.AS_TEXT, kind=Kind.FILE, id=SourceId("h"), text="as text"))
    tally.finish(units[0], TargetId("t1"))
    tally.finish(units[1], TargetId("t2"))
    tally.fail(units[2], "no such model")
    one, two, three = tally.results(otherwise="later")[Kind.ASSISTANT]
    assert (one.status, [loss.id for loss in one.losses]) == (Status.PARTIAL, ["g", "f"])
    assert one.error == "file g: x: gone (and 1 more)"
    assert (two.status, [loss.why for loss in two.losses]) == (Status.SUCCESS, [Why.AS_TEXT])
    assert (three.status, three.error, len(three.losses)) == (Status.FAILED, "no such model", 2)
    asyncio.run(folder.close())
    audit = [json.loads(line) for line in (folder.path / "audit.jsonl").read_text().splitlines()]
    assert [(line["operation"], line["outcome"]) for line in audit] == [
        ("loss", "refused"),
        ("loss", "left_out"),
        ("loss", "as_text"),
    ]


def test_what_was_not_reached_says_so(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, now=lambda: 0.0, token="t")
    tally = RunTally(folder, [unit(A1, [], [])], {})
    (result,) = tally.results(otherwise="the run ended")[Kind.ASSISTANT]
    assert (result.status, result.error, result.target) == (Status.NOT_ATTEMPTED, "the run ended", None)
    asyncio.run(folder.close())
