"""Line diffs that rebuild the text at any budget, and paths that an insertion doesn't move."""

from __future__ import annotations

import random

import pytest

from holdall.diff.object_changes import value_changes
from holdall.diff.text_lines import LineBudget, LineDiff, line_diff


def patched(before: str, found: LineDiff) -> str:
    lines, at, made = before.split("\n"), 0, []
    for line in found.lines:
        if line.startswith("@@"):
            begin = int(line.split()[1][1:].partition(",")[0]) - 1
            made += lines[at:begin]
            at = begin
        elif line[0] == "+":
            made.append(line[1:])
        else:
            assert lines[at] == line[1:]
            made += [line[1:]] if line[0] == " " else []
            at += 1
    return "\n".join(made + lines[at:])


@pytest.mark.parametrize("steps", [3, 10_000])
def test_a_line_diff_makes_the_one_text_the_other(steps: int) -> None:
    choose = random.Random(steps)
    for _ in range(500):
        texts = ["\n".join(choose.choices("abcd", k=choose.randrange(20))) for _ in range(2)]
        found = line_diff(texts[0], texts[1], LineBudget(steps))
        assert patched(texts[0], found) == texts[1], texts
        kept = [
            len(text.split("\n")) - number for text, number in zip(texts, (found.removed, found.added), strict=True)
        ]
        assert kept[0] == kept[1], texts


def test_texts_without_a_common_line_cost_no_more_than_the_budget() -> None:
    budget = LineBudget(1_000_000)
    one, other = ("\n".join(f"{side}{n}" for n in range(50_000)) for side in "ab")
    assert line_diff(one, other, budget).added == 50_000
    assert budget.left > 0


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ([{"type": "a", "x": 1}], [{"type": "b"}, {"type": "a", "x": 2}], ["t[1].x", "t[0]"]),
        (["x", "y", "z"], ["x", "z"], ["t[1]"]),
        (["x", "y"], ["y", "x"], ["t"]),
        ([{"name": "f", "p": 1}, {"name": "g"}], [{"name": "f", "p": True}, {"name": "g"}], ["t[0].p"]),
        ({"a": None}, {}, ["t.a"]),
        ({"a b": 3}, {"a b": 3.0}, []),
        ({"a b": {"c": 1}}, {"a b": {"c": 2}}, ['t["a b"].c']),
    ],
)
def test_paths(before: object, after: object, paths: list[str]) -> None:
    assert [change.path for change in value_changes(before, after, "t")] == paths
