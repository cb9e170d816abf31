from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall.safe_files import MAX_NAME, MAX_PATH, fold, is_safe, numbered, safe_name
from holdall.spilling import Taken
from tests.sweep import examples

ANY_TEXT = st.text(st.characters(), max_size=200)
NASTY = st.text(st.sampled_from(' .~-%\\/:*?"<>|\x00\n\r\u202e\u2028\u200dé\u0301ßCONconAUX1漢🏺a0'), max_size=150)


@examples(300)
@given(ANY_TEXT | NASTY, st.sampled_from(["", ".json", ".files.jsonl"]))
def test_a_safe_name_keeps_every_rule_whatever_it_was_made_of(name: str, suffix: str) -> None:
    safe = safe_name(name, suffix=suffix)
    assert 0 < len(safe.encode()) <= MAX_NAME
    assert safe.endswith(suffix)
    assert unicodedata.normalize("NFC", safe) == safe
    assert not set(safe) & set('%\\/:*?"<>|')
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in safe)
    assert safe[0] not in ".~-"
    assert safe.rstrip(". \u00a0\u3000") == safe
    assert safe_name(safe) == safe
    assert is_safe(safe)


@examples(200)
@given(st.lists(ANY_TEXT | NASTY | st.sampled_from(["data", "Con.txt", "nul", "a b", "b ", "x" * 121]), max_size=4))
def test_a_path_is_safe_if_each_of_its_names_is(names: list[str]) -> None:
    path = "/".join(names)
    known = [0 < len(name) <= MAX_NAME and safe_name(name) == name for name in path.split("/")]
    assert is_safe(path) is (all(known) and len(path.encode(errors="replace")) <= MAX_PATH)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report 2024.pdf", "report 2024.pdf"),
        ("e\u0301te\u0301.txt", "\u00e9t\u00e9.txt"),
        ("100%.csv", "100_.csv"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("con", "_con"),
        ("Com¹.tar.gz", "_Com¹.tar.gz"),
        ("console.log", "console.log"),
        ("-rf", "_rf"),
        (".env", "_env"),
        ("~root", "_root"),
        ("trailing. . ", "trailing"),
        ("", "_"),
        ("...", "_"),
        ("a\u202eb\x1b.txt", "a_b_.txt"),
        ("\ud800x", "_x"),
        ("x" * 200 + ".md", "x" * 117 + ".md"),
        ("漢" * 100, "漢" * 40),
    ],
)
def test_examples(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_the_percent_sign_stays_where_no_manifest_has_to_hold_it() -> None:
    assert safe_name("100%.csv", percent=True) == "100%.csv"


@examples(100)
@given(NASTY, st.integers(2, 10**6))
@example(" .0", 2)
def test_a_numbered_name_is_safe_too(name: str, number: int) -> None:
    assert is_safe(numbered(safe_name(name), number))


def test_names_that_a_file_system_may_take_for_one_are_kept_apart() -> None:
    taken = Taken()
    given_out = [
        taken.first_free("d/", safe_name(name))
        for name in ("Straße.txt", "STRASSE.TXT", "straße.txt", "\u212bngstrom", "a\u030angstrom", "other")
    ]
    assert given_out == [
        "d/Straße.txt",
        "d/STRASSE-2.TXT",
        "d/straße-3.txt",
        "d/\u00c5ngstrom",
        "d/\u00e5ngstrom-2",
        "d/other",
    ]
    assert len({fold(name) for name in given_out}) == len(given_out)


def test_thousands_of_clashes_are_told_apart_quickly() -> None:
    taken = Taken()
    assert len({taken.first_free("", "same.txt") for _ in range(5000)}) == 5000


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "a/../b", "a\\b", "a/b.", "a/NUL"])
def test_an_unsafe_path_is_known(path: str) -> None:
    assert not is_safe(path)
