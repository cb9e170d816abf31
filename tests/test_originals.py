"""The owner's folder: one file of that name and size, or none."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import UsageFault
from holdall.originals import Chosen, Original, Originals, Unmatched, copy_original
from tests.remote.test_containers import Kept
from tests.sweep import examples


def lay(folder: Path, **files: bytes) -> Path:
    """Files by their path, in which ``__`` stands for ``/`` and ``_dot_`` for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def chosen(originals: Originals, name: str, size: int, text: str | None = None) -> Chosen | Unmatched:
    """What is chosen; ``text`` is the parsed text, where there is one."""
    candidates = originals.candidates(name, size)
    for matcher in candidates.matchers if text is not None else ():
        matcher.compare([text or ""])
    return candidates.choose(compared=text is not None)


def found(folder: Path, name: str, size: int, text: str | None = None) -> Original | Unmatched:
    with Originals(folder) as originals:
        found = chosen(originals, name, size, text)
    return found.original if isinstance(found, Chosen) else found


def reason(folder: Path, name: str, size: int, text: str | None = None) -> str:
    result = found(folder, name, size, text)
    assert isinstance(result, Unmatched)
    return result.reason


def test_a_file_is_found_however_deep_by_its_name_and_exact_size(tmp_path: Path) -> None:
    lay(tmp_path, a__b__report_dot_pdf=b"12345", a__report_dot_pdf=b"1234567")
    result = found(tmp_path, "report.pdf", 5)
    assert isinstance(result, Original)
    assert (result.name, result.size) == ("a/b/report.pdf", 5)
    assert "(6 bytes): a/b/report.pdf (5 bytes), a/report.pdf (7 bytes)" in reason(tmp_path, "report.pdf", 6)


def test_several_are_listed_unless_their_bytes_are_the_same(tmp_path: Path) -> None:
    lay(tmp_path, x__n_dot_txt=b"same", y__n_dot_txt=b"same")
    assert isinstance(found(tmp_path, "n.txt", 4), Original)
    lay(tmp_path, z__n_dot_txt=b"else")
    assert reason(tmp_path, "n.txt", 4) == "several different originals match: x/n.txt, z/n.txt"


def test_another_case_or_name_is_told_and_not_taken(tmp_path: Path) -> None:
    lay(tmp_path, Report_dot_TXT=b"x" * 300)
    assert reason(tmp_path, "report.txt", 300) == (
        "no original with exactly that name: Report.TXT, whose name differs only in case; "
        "words not compared: no parsed text"
    )
    assert "(200 bytes): Report.TXT (300 bytes)" in reason(tmp_path, "report.txt", 200)
    assert "under another name: Report.TXT" in reason(tmp_path, "summary.txt", 300)
    nothing = found(tmp_path, "summary.md", 300)
    assert nothing == Unmatched(reason="no original with that name and size", near=False)


ONE, TWO = b"the river runs past an old stone garden\n" * 9, b"the stone runs past an old river garden\n" * 9
SIZE = len(ONE)


def test_a_name_that_differs_in_case_or_folder_only_is_taken_where_the_words_agree(tmp_path: Path) -> None:
    lay(tmp_path, a__tide_table_dot_TXT=ONE)
    with Originals(tmp_path) as originals:
        for name, how in (("Tide_Table.txt", "differs only in case"), ("b/tide_table.TXT", "has another folder")):
            result = chosen(originals, name, SIZE, ONE.decode())
            assert isinstance(result, Chosen)
            assert (result.original.name, result.check) == (
                "a/tide_table.TXT",
                f"size and words match, the name {how}",
            )
    assert reason(tmp_path, "Tide_Table.txt", SIZE, TWO.decode()) == (
        "no original with exactly that name; same size, but different words: "
        "a/tide_table.TXT, whose name differs only in case"
    )
    lay(tmp_path, b__scan_dot_PDF=b"%PDF" * 99)
    assert reason(tmp_path, "scan.pdf", 396, "words") == (
        "no original with exactly that name: b/scan.PDF, whose name differs only in case; "
        "words not compared: its type can't be read"
    )


def test_of_several_the_one_with_the_words_of_the_text_is_taken(tmp_path: Path) -> None:
    lay(tmp_path, a__n_dot_txt=ONE, b__n_dot_txt=TWO, c__n_dot_txt=ONE)
    for text, name in ((ONE, "a/n.txt"), (TWO, "b/n.txt")):
        result = found(tmp_path, "n.txt", SIZE, text.decode())
        assert isinstance(result, Original)
        assert result.name == name
    assert reason(tmp_path, "n.txt", SIZE) == "several different originals match: a/n.txt, b/n.txt"
    assert reason(tmp_path, "n.txt", SIZE, "all the words are others") == (
        "originals with that name and size have different words: a/n.txt, b/n.txt"
    )
    lay(tmp_path, d__n_dot_txt=ONE.replace(b"\n", b" "))
    assert (
        reason(tmp_path, "n.txt", SIZE, ONE.decode())
        == "several different originals match, and the words of all match: a/n.txt, d/n.txt"
    )


def test_what_is_used_or_says_something_else_is_not_offered_under_another_name(tmp_path: Path) -> None:
    lay(tmp_path, two_dot_txt=ONE)
    with Originals(tmp_path) as originals:
        assert "same size under another name: two.txt" in str(chosen(originals, "shared.txt", SIZE))
        assert chosen(originals, "shared.txt", SIZE, TWO.decode()) == Unmatched(
            reason="no original with that name and size", near=False
        )
        assert "same size and words under another name: two.txt" in str(
            chosen(originals, "shared.txt", SIZE, ONE.decode())
        )
        taken = chosen(originals, "two.txt", SIZE)
        assert isinstance(taken, Chosen)
        originals.use(taken.original)
        for name in ("shared.txt", "TWO.txt"):
            assert chosen(originals, name, SIZE, ONE.decode()) == Unmatched(
                reason="no original with that name and size"
            )
        assert isinstance(chosen(originals, "two.txt", SIZE), Chosen)


def test_what_is_reserved_is_not_offered_before_it_is_used(tmp_path: Path) -> None:
    lay(tmp_path, two_dot_txt=ONE)
    with Originals(tmp_path) as originals:
        originals.reserve("two.txt", SIZE)
        assert chosen(originals, "shared.txt", SIZE) == Unmatched(reason="no original with that name and size")


@pytest.mark.parametrize("name", ["n.txt", "N.txt", "x/n.txt", "other.txt", "n.md"])
@pytest.mark.parametrize("text", [None, ONE, TWO])
def test_never_are_two_equal_sizes_the_reason(tmp_path: Path, name: str, text: bytes | None) -> None:
    lay(tmp_path, a__n_dot_txt=ONE, b__n_dot_txt=TWO)
    result = found(tmp_path, name, SIZE, text.decode() if text else None)
    assert isinstance(result, Original) or f"{SIZE} bytes" not in result.reason


def test_names_are_the_same_however_their_accents_are_encoded(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Café.txt")).write_bytes(b"abc")
    assert isinstance(found(tmp_path, unicodedata.normalize("NFC", "Café.txt"), 3), Original)


def test_folders_in_a_name_have_to_be_there_too_and_lead_nowhere_else(tmp_path: Path) -> None:
    lay(tmp_path / "mine", docs__a_dot_txt=b"in", other__a_dot_txt=b"no")
    lay(tmp_path, a_dot_txt=b"up")
    for name in ("docs/a.txt", "docs\\a.txt"):
        result = found(tmp_path / "mine", name, 2)
        assert isinstance(result, Original)
        assert result.name == "docs/a.txt"
    for name in ("../a.txt", "/etc/passwd", "..", ""):
        assert isinstance(found(tmp_path / "mine", name, 2), Unmatched)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    inner = lay(tmp_path / "mine", deep__a_dot_txt=b"x")
    try:
        (inner / "loop").symlink_to(inner, target_is_directory=True)
        (inner / "nowhere").symlink_to(tmp_path / "none")
    except OSError:
        pytest.skip("no links on this system")
    with Originals(inner) as originals:
        assert originals.files == 1
        assert originals.notes() == ["links to folders are not followed; not searched: loop"]


def test_a_folder_that_is_none_is_a_usage_fault(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="no such folder"):
        Originals(tmp_path / "none")


def test_a_copy_is_whole_or_nothing(tmp_path: Path) -> None:
    lay(tmp_path, a_dot_bin=bytes(3_000_000))
    original = found(tmp_path, "a.bin", 3_000_000)
    assert isinstance(original, Original)
    kept = Kept()
    copy_original(original, kept)
    assert (kept.state, len(kept.data)) == ("committed", 3_000_000)
    for change in (lambda path: path.write_bytes(b"short"), Path.unlink):
        change(original.path)
        kept = Kept()
        with pytest.raises(OSError, match=r"changed|No such|cannot find"):
            copy_original(original, kept)
        assert kept.state == "aborted"


@examples(30)
@given(st.lists(st.tuples(st.sampled_from(["a.txt", "A.txt", "b.txt"]), st.binary(max_size=2)), max_size=6))
def test_what_is_found_always_has_the_name_and_the_size(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("originals")
    for number, (name, content) in enumerate(files):
        (folder / str(number)).mkdir()
        (folder / str(number) / name).write_bytes(content)
    with Originals(folder) as originals:
        for name in ("a.txt", "b.txt"):
            for size in range(3):
                fitting = {content for other, content in files if other == name and len(content) == size}
                result = chosen(originals, name, size)
                if len(fitting) == 1:
                    assert isinstance(result, Chosen)
                    assert result.original.path.read_bytes() in fitting
                else:
                    assert isinstance(result, Unmatched)
