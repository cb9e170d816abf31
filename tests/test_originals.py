"""The owner's folder: one file of that name and size, or none."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdall.errors import UsageFault
from holdall.originals import Original, Originals, Unmatched, copy_original


def lay(folder: Path, **files: bytes) -> Path:
    """Files by their path, in which ``__`` stands for ``/`` and ``_dot_`` for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def found(folder: Path, name: str, size: int) -> Original | Unmatched:
    with Originals(folder) as originals:
        return originals.find(name, size)


def reason(folder: Path, name: str, size: int) -> str:
    result = found(folder, name, size)
    assert isinstance(result, Unmatched)
    return result.reason


def test_a_file_is_found_however_deep_by_its_name_and_exact_size(tmp_path: Path) -> None:
    lay(tmp_path, a__b__report_dot_pdf=b"12345", a__report_dot_pdf=b"1234567")
    result = found(tmp_path, "report.pdf", 5)
    assert isinstance(result, Original)
    assert (result.name, result.size) == ("a/b/report.pdf", 5)
    assert "a/b/report.pdf (5 bytes), a/report.pdf (7 bytes), but 6 bytes are wanted" in reason(
        tmp_path, "report.pdf", 6
    )


def test_several_are_listed_unless_their_bytes_are_the_same(tmp_path: Path) -> None:
    lay(tmp_path, x__n_dot_txt=b"same", y__n_dot_txt=b"same")
    assert isinstance(found(tmp_path, "n.txt", 4), Original)
    lay(tmp_path, z__n_dot_txt=b"else")
    assert reason(tmp_path, "n.txt", 4) == "several originals fit and differ: x/n.txt, y/n.txt, z/n.txt"


def test_another_case_or_name_is_told_and_not_taken(tmp_path: Path) -> None:
    lay(tmp_path, Report_dot_TXT=b"x" * 300)
    assert "Report.TXT (300 bytes)" in reason(tmp_path, "report.txt", 300)
    assert "under another name: Report.TXT" in reason(tmp_path, "summary.txt", 300)
    nothing = found(tmp_path, "summary.md", 300)
    assert nothing == Unmatched(reason="no original of that name and size", near=False)


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


def test_a_folder_that_is_none_is_a_usage_fault(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="no such folder"):
        Originals(tmp_path / "none")


class _Kept:
    def __init__(self) -> None:
        self.data, self.state = b"", "open"

    def write(self, data: bytes) -> None:
        self.data += data

    def commit(self) -> None:
        self.state = "committed"

    def abort(self) -> None:
        if self.state == "open":
            self.state = "aborted"


def test_a_copy_is_whole_or_nothing(tmp_path: Path) -> None:
    lay(tmp_path, a_dot_bin=bytes(3_000_000))
    original = found(tmp_path, "a.bin", 3_000_000)
    assert isinstance(original, Original)
    kept = _Kept()
    copy_original(original, kept)
    assert (kept.state, len(kept.data)) == ("committed", 3_000_000)
    for change in (lambda path: path.write_bytes(b"short"), Path.unlink):
        change(original.path)
        kept = _Kept()
        with pytest.raises(OSError, match=r"changed|No such|cannot find"):
            copy_original(original, kept)
        assert kept.state == "aborted"


@settings(max_examples=30, deadline=None)
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
                result = originals.find(name, size)
                if len(fitting) == 1:
                    assert isinstance(result, Original)
                    assert result.path.read_bytes() in fitting
                else:
                    assert isinstance(result, Unmatched)
