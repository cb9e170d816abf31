"""No function is more than a reader takes in at once, but where it says at its beginning why it stays whole.

The complexity is radon's: one for the function, and one for each branch, loop, handler, case, comprehension and ``and``
or ``or`` in it.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from radon.complexity import cc_visit_ast

PACKAGE = Path(__file__).parents[1] / "src" / "holdall"

COMPLEXITY = 15
LINES = 60


def problems(module: str, text: str) -> Iterator[str]:
    """Where a function of the module is too complex without a comment, or too long."""
    tree, lines = ast.parse(text), text.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        where = f"{module}:{node.lineno} {node.name}"
        (function,) = cc_visit_ast(node)
        if function.complexity > COMPLEXITY and not begins_with_a_comment(node, lines):
            yield f"{where}: complexity {function.complexity}, and no comment at its beginning that says why"
        length = (node.end_lineno or 0) - node.lineno + 1 - help_lines(node)
        if length > LINES:
            yield f"{where}: {length} lines"


def begins_with_a_comment(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> bool:
    """Whether a comment is what comes first in the body, behind the docstring if there is one."""
    has_docstring = ast.get_docstring(node, clean=False) is not None
    first, *rest = node.body
    start = first.end_lineno if has_docstring else node.lineno
    end = rest[0].lineno if has_docstring and rest else first.lineno
    return any(line.lstrip().startswith("#") for line in lines[start : end - 1])


def help_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a command's docstring, which are no code: they are what --help prints."""
    is_command = any(
        isinstance(each, ast.Call) and ast.unparse(each.func) == "click.command" for each in node.decorator_list
    )
    if not is_command or ast.get_docstring(node, clean=False) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def test_each_function_over_15_says_why_and_none_is_over_60_lines() -> None:
    modules = {path.relative_to(PACKAGE): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert [found for path, text in sorted(modules.items()) for found in problems(path.as_posix(), text)] == []


BRANCHES = "".join(f"    if x == {number}:\n        return {number}\n" for number in range(15))
FEWER = "".join(f"    if x == {number}:\n        return {number}\n" for number in range(14))
COMPLEX = ["m.py:1 f: complexity 16, and no comment at its beginning that says why"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"def f(x):\n{FEWER}", []),
        (f"def f(x):\n{BRANCHES}", COMPLEX),
        (f"def f(x):\n    # A table.\n{BRANCHES}", []),
        (f"def f(\n    x\n):\n    # A table.\n{BRANCHES}", []),
        (f'def f(x):\n    """Two\n    lines."""\n    # A table.\n{BRANCHES}', []),
        (f'def f(x):\n    """Text."""\n{BRANCHES}', COMPLEX),
        (f'def f(x):\n    """# No comment."""\n{BRANCHES}', COMPLEX),
        (f"# Above.\ndef f(x):\n{BRANCHES}", [COMPLEX[0].replace(":1", ":2")]),
        (f"def f(x):\n{BRANCHES}    # Below.\n", COMPLEX),
        (f"async def f(x):\n{BRANCHES}", COMPLEX),
        (
            f"class C:\n    def f(self, x):\n{textwrap.indent(BRANCHES, '    ')}",
            [COMPLEX[0].replace(":1", ":2")],
        ),
        (f"def outer():\n    def f(x):\n{textwrap.indent(BRANCHES, '    ')}", [COMPLEX[0].replace(":1", ":2")]),
        ("def f(x):\n" + "    x += 1\n" * 59, []),
        ("def f(x):\n" + "    x += 1\n" * 60, ["m.py:1 f: 61 lines"]),
        ('def f(x):\n    """\n' + "    text\n" * 30 + '    """\n' + "    x += 1\n" * 30, ["m.py:1 f: 63 lines"]),
        ('@click.command("f")\ndef f(x):\n    """\n' + "    help\n" * 30 + '    """\n' + "    x += 1\n" * 30, []),
    ],
)
def test_what_is_too_complex_or_too_long_is_found(text: str, said: list[str]) -> None:
    assert list(problems("m.py", text)) == said
