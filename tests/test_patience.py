"""No test depends on how fast the machine is: none measures time and asserts it, none gives up within a minute."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import STANDSTILL

TESTS = Path(__file__).parent
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}
# Calls whose only argument without a name is a time, and where it stands.
WAITS = {"wait": 0, "join": 0, "settimeout": 0, "timeout": 0, "communicate": 1, "wait_for": 1, "result": 0}


def hurried(source: str) -> Iterator[tuple[int, str]]:
    """The places where a test looks at the clock to judge, or gives up within a minute."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from ((node.lineno, f"{seconds:g} s at most") for seconds in _limits(node) if seconds < STANDSTILL)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            times = _times(node)
            for judged in ast.walk(node):
                if isinstance(judged, ast.Assert | ast.While) and _is_duration(judged.test, times):
                    yield judged.lineno, "judged by the clock"


def _limits(call: ast.Call) -> Iterator[float]:
    """The seconds after which a call gives up, where they are written out."""
    name = "deadline" if isinstance(call.func, ast.Name) and call.func.id == "settings" else "timeout"
    given = [each.value for each in call.keywords if each.arg == name]
    place = WAITS.get(call.func.attr) if isinstance(call.func, ast.Attribute) else None
    if place is not None and place < len(call.args):
        given.append(call.args[place])
    for value in given:
        if isinstance(value, ast.Constant) and type(value.value) in (int, float):
            yield value.value


def _is_clock(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in {("time", clock) for clock in CLOCKS}
    )


def _times(function: ast.AST) -> set[str]:
    """The names that are given what a clock says, or something reckoned from that."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and (_is_clock(node.value) or _is_duration(node.value, found)):
            found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def _is_duration(expression: ast.AST, times: set[str]) -> bool:
    """Whether a clock is reckoned with, or one time is compared with another."""

    def is_time(node: ast.AST) -> bool:
        return any(_is_clock(each) or (isinstance(each, ast.Name) and each.id in times) for each in ast.walk(node))

    for node in ast.walk(expression):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and is_time(node):
            return True
        if isinstance(node, ast.Compare) and any(_is_clock(each) for each in (node.left, *node.comparators)):
            return True
    return False


@pytest.mark.parametrize(
    "source",
    [
        "def test(): assert time.monotonic() - begun < 2.5",
        "def test():\n    begun = time.time()\n    took = time.time() - begun\n    assert took - 1 < 2",
        "def test():\n    end = time.monotonic() + 5\n    while time.monotonic() < end: pass",
        "process.wait(10)",
        "process.communicate(timeout=30)",
        "subprocess.run(command, timeout=59)",
        "asyncio.timeout(5)",
        "@settings(deadline=20)\ndef test(): ...",
    ],
)
def test_what_is_found(source: str) -> None:
    assert len(list(hurried(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "process.wait()",
        "', '.join(words)",
        "register.wait(first)",
        "connect(timeout=STANDSTILL)",
        "event.wait(60)",
        "@settings(deadline=None)\ndef test(): ...",
        "def test():\n    now = time.time()\n    assert made(now) == now",
    ],
)
def test_what_is_let_be(source: str) -> None:
    assert list(hurried(source)) == []


def test_no_test_is_in_a_hurry() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}: {why}"
        for path in sorted(TESTS.rglob("*.py"))
        for line, why in hurried(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "wait with tests.waiting, or let tests.clock pass the time"
