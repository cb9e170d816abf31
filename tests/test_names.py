"""One name, one thing: a module or a public class is found by its name alone, among few and short modules."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "holdall"


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]


def repeated(of: str) -> dict[str, list[str]]:
    places = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if of == "modules":
            names = [path.stem]
        else:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        for name in names:
            if not name.startswith("_"):
                places[name].append(where)
    return {name: found for name, found in places.items() if len(found) > 1}


@pytest.mark.parametrize("of", ["modules", "public classes"])
def test_no_name_is_there_twice(of: str) -> None:
    assert repeated(of) == {}


def test_the_importer_is_44_modules_at_most_and_no_module_is_longer_than_700_lines() -> None:
    lengths = {path.relative_to(PACKAGE).as_posix(): len(path.read_bytes().splitlines()) for path in modules()}
    assert {name: length for name, length in lengths.items() if length > 700} == {}
    assert len([name for name in lengths if name.startswith("importer/")]) <= 44
