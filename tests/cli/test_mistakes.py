"""Everything that is wrong with a command line is told of at once; what would be ignored is an error or a warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, box: Running, tmp_path: Path) -> Terminal:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    box.behave(serve_assistants_files=True)
    return Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_DST_API_KEY": DESTINATION,
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_BASE_URL": box.url,
        },
    )


def fill(box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        store = hand.store("books", [hand.file("a.txt", b"a text")])
        hand.assistant("Reader", stores=[store])
        hand.assistant(None)
    box.forget_requests()


def errors(done: Done) -> list[str]:
    return [line.removeprefix("Error: ") for line in done.err.splitlines() if line.startswith("Error: ")]


def test_flags_and_settings_that_cannot_be_meant(holdall: Terminal, box: Running) -> None:
    Path(".env").write_text("INCLUDE_FILE_SEARCH=flase\nMAX_CONCURRENCY=many\nLOG_LEVLE=debug\n")
    done = holdall(
        "export", "--min-fidelity", "best", "--colour", "red", "--nonsense=1", "--log-level", "loud", "--json"
    )
    assert done.code == 2
    for word in ("--min-fidelity", "--colour", "--nonsense", "INCLUDE_FILE_SEARCH", "MAX_CONCURRENCY", "--log-level"):
        assert len([line for line in errors(done) if word in line]) == 1, word
    assert len(errors(done)) == 6
    assert done.err.count("did you mean LOG_LEVEL?") == 1
    error = done.document["error"]
    assert len(error["mistakes"]) == 6
    assert all(each["message"] in error["message"] for each in error["mistakes"])
    assert box.requests() == []


def test_of_an_import(holdall: Terminal, box: Running) -> None:
    done = holdall("import", "b.tar.zst", "--as", "both", "--max-loss", "all", "--env-file", "none", DRY_RUN="yep")
    assert len(errors(done)) == 3
    done = holdall("import", "b.tar.zst", "--map-model", "a", "--map-model", "=b", "--map-model", "a=b", "--delete",
                   "--even-if-changed", "--only", "store:", "--settle", "x", "--env-file", "none")  # fmt: skip
    assert done.code == 2
    assert len(errors(done)) == 6
    for word in ("'a'", "'=b'", "--delete", "--even-if-changed", "store:", "--settle"):
        assert word in done.err
    assert box.requests() == []


def test_a_missing_argument_and_a_wrong_flag(holdall: Terminal) -> None:
    done = holdall("plan", "--as", "both", "--env-file", "none")
    assert done.code == 2
    assert len(errors(done)) == 2
    assert "BUNDLE" in done.err
    one = holdall("plan", "b.tar.zst", "more", "--env-file", "none")
    assert errors(one) == ["Got unexpected extra argument (more)"]


def test_of_a_clone(holdall: Terminal, box: Running) -> None:
    done = holdall("clone", "--env-file", "none", "--delete", OPENAI_SRC_BASE_URL="x", OPENAI_DST_BASE_URL="y",
                   MAX_CONCURRENCY="0")  # fmt: skip
    assert len(errors(done)) == 4, done.err
    assert box.requests() == []


def test_every_dump_that_cannot_be_read(holdall: Terminal) -> None:
    Path("a.json").write_text("{'broken'")
    Path("b.json").write_text("[]")
    done = holdall("export", "--env-file", "none", "--from-dump", "a.json", "--from-dump", "b.json", "--from-dump",
                   "gone.json", MAX_CONCURRENCY="0")  # fmt: skip
    assert done.code == 2
    for name in ("a.json", "b.json", "gone.json", "MAX_CONCURRENCY"):
        assert [line for line in errors(done) if name in line], name
    missing = holdall("export", "--env-file", "none", "--from-dump", "gone.json")
    assert missing.code == 15


def test_every_selection_that_fits_nothing(holdall: Terminal, box: Running) -> None:
    fill(box)
    done = holdall("export", "--env-file", "none", "--only", "reader", "--only", "store:nothing")
    assert done.code == 2
    assert len(errors(done)) == 2
    assert "did you mean 'Reader'" in done.err


def test_a_list_without_its_mode_exports_nothing(holdall: Terminal, box: Running) -> None:
    fill(box)
    done = holdall("export", "--env-file", "none", CLONE_NAMES="Reader")
    assert done.code == 2
    assert "CLONE_NAMES" in done.err
    assert "CLONE_MODE" in done.err
    assert box.requests() == []


def test_a_name_that_is_nearly_ours_is_warned_of_once(holdall: Terminal, box: Running) -> None:
    fill(box)
    Path(".env").write_text("MAX_CONCURENCY=1\nOPENAI_API_KEY=sk-other\n")
    done = holdall("clone", "--quiet", OPENAI_API_KEY="sk-ambient")
    lines = [line for line in done.err.splitlines() if "is ignored" in line]
    assert len(lines) == 1
    assert "MAX_CONCURENCY" in lines[0]
    assert lines[0].endswith("did you mean MAX_CONCURRENCY?")


def test_what_has_no_name_is_selected_by_a_star(holdall: Terminal, box: Running) -> None:
    fill(box)
    for number, flags in enumerate((["--only", "asst:*"], ["--name", "*"], ["--id", "asst_*"])):
        done = holdall("export", "-o", f"{number}.tar.zst", "--env-file", "none", "--json", *flags)
        assert done.document["result"]["counts"]["assistants"] == 2
    done = holdall(
        "export", "-o", "mode.tar.zst", "--env-file", "none", "--json", CLONE_MODE="by_name", CLONE_NAMES="*"
    )
    assert done.document["result"]["counts"]["assistants"] == 2


@pytest.mark.parametrize("name", ["-", "", " "])
def test_no_output_goes_to_a_file_named_minus(holdall: Terminal, box: Running, bundle: Path, name: str) -> None:
    for argv in (
        *([["export", "-o", name]] if name != "-" else []),  # tests/cli/test_piped.py
        ["plan", str(bundle), "-o", name],
        ["supply", str(bundle), "--originals", ".", "-o", name],
    ):
        done = holdall(*argv, *([] if argv[0] == "supply" else ["--env-file", "none"]))
        assert done.code == 2
        assert ("can't write to stdout" if name == "-" else "the file name is empty") in done.err
    assert box.requests() == []
    assert list(Path().iterdir()) == []


def test_a_dry_run_of_a_clone_leaves_nothing_behind(
    holdall: Terminal, box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(box)
    passing = tmp_path / "passing"
    passing.mkdir()
    monkeypatch.setenv("TMPDIR", str(passing))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = holdall("clone", "--dry-run", "--env-file", "none", "--json")
    assert done.code == 3, done.err
    assert done.document["result"]["export"]["bundle"] is None
    assert done.document["result"]["import"]["dry_run"] is True
    assert "prove it" not in done.err
    plain = holdall("clone", "--dry-run", "--env-file", "none")
    assert "DRY RUN: nothing written" in plain.out
    assert str(passing) not in plain.out + plain.err
    assert list(Path().iterdir()) == []
    assert list(passing.iterdir()) == []
    assert box.writes() == 0


def test_a_clone_into_itself_is_refused_before_anything_is_read(holdall: Terminal, box: Running) -> None:
    fill(box)
    done = holdall("clone", "--env-file", "none", OPENAI_DST_API_KEY=SOURCE)
    assert done.code == 2
    assert "--same-project" in done.err
    assert box.requests() == []
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("named", [True, False])
def test_two_keys_of_one_project_are_one_project(holdall: Terminal, box: Running, named: bool) -> None:
    """By the project's id in the answers, else by what both list."""
    fill(box)
    box.behave(names_project=named)
    for key in ("sk-other", "sk-source"):
        same = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": SOURCE, "OPENAI_DST_PROJECT_ID": ""}
        same["OPENAI_DST_BASE_URL"] = f"{box.url}?key={key}"  # another way in to the same
        done = holdall("clone", "--env-file", "none", **same)
        assert done.code == 2, done.err
        assert "the same project" in done.err
    assert list(Path().iterdir()) == []
    assert box.writes() == 0


def test_a_clone_into_itself_makes_everything_anew(holdall: Terminal, box: Running) -> None:
    fill(box)
    clone = ["clone", "--same-project", "--env-file", "none"]
    assert "--prefix" in holdall(*clone, OPENAI_DST_API_KEY=SOURCE).err
    refused = holdall(*clone, "--on-conflict", "update", OPENAI_DST_API_KEY=SOURCE)
    assert len(errors(refused)) == 2
    assert box.requests() == []
    done = holdall(*clone, "--prefix", "Copy of ", "--settle", "0", OPENAI_DST_API_KEY=SOURCE)
    assert done.code == 0, done.err
    assert "adopted" not in done.out
    with Hand(box.url, SOURCE) as hand:
        names = sorted(str(each["name"]) for each in hand.everything("/assistants"))
        assert "Copy of Reader" in names
        assert len(names) == 4
        assert len(hand.everything("/vector_stores")) == 2
    mapping = json.loads(Path("out/mapping.json").read_text())
    assert all(row["srcId"] != row["dstId"] for row in mapping["mappings"])


def test_a_model_that_is_mapped_and_not_there_is_said(holdall: Terminal, box: Running) -> None:
    fill(box)
    assert holdall("export", "-o", "b.tar.zst", "--env-file", "none").code == 0
    done = holdall(
        "plan", "b.tar.zst", "--env-file", "none", "--map-model", "gtp-4o=gpt-4o", "--map-model", "gpt*=gpt-4o"
    )
    assert "warning: --map-model gtp-4o=gpt-4o matches no model" in done.err
    assert done.err.count("matches no model") == 1


def test_what_only_a_comparison_reads_is_refused_without_one(holdall: Terminal, bundle: Path) -> None:
    done = holdall("verify", str(bundle), "--env-file", "none", "--output-dir", "x", "--prefix", "p", "--search")
    assert done.code == 2
    assert len(errors(done)) == 3
    assert holdall("verify", str(bundle), "--env-file", "none", OUTPUT_DIR="x").code == 0


def test_one_hint_that_is_about_several_is_printed_once(holdall: Terminal) -> None:
    done = holdall("export", "--colour", "red", "--nonsense", "--env-file", "none")
    assert len(errors(done)) == 2
    assert done.err.count("--help") == 1


def hints(done: Done) -> list[str]:
    return [line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: ")]


def test_a_mistyped_command_suggests_the_right_one(holdall: Terminal) -> None:
    done = holdall("exprt")
    assert (done.code, errors(done)) == (2, ["No such command 'exprt'. Did you mean 'export'?"])
    assert "Did you mean" not in holdall("xyzzy").err


def test_a_mistyped_flag_suggests_the_right_one(holdall: Terminal) -> None:
    assert "Did you mean '--on-conflict'?" in holdall("import", "b", "--on-conflct", "skip", "--env-file", "none").err


def test_a_flag_of_another_command_says_whose_it_is(holdall: Terminal, box: Running) -> None:
    done = holdall("export", "--on-conflict", "skip", "--env-file", "none")
    assert done.code == 2
    assert hints(done) == ["--on-conflict belongs to: holdall plan, holdall import, holdall clone"]
    assert hints(holdall("inspect", "b.tar.zst", "--salvage")) == ["--salvage belongs to: holdall extract"]
    assert hints(holdall("inspect", "b.tar.zst", "--version")) == ["--version belongs to: holdall"]
    assert hints(holdall("--salvage", "extract", "b.tar.zst")) == ["--salvage belongs to: holdall extract"]
    assert hints(holdall("inspect", "b.tar.zst", "--nothing")) == ["holdall inspect --help"]
    assert box.requests() == []


def test_an_error_names_the_flag_as_it_was_typed(holdall: Terminal, box: Running) -> None:
    fill(box)
    assert errors(holdall("export", "--output", "", "--env-file", "none"))[0].startswith(
        "Invalid value for '--output': "
    )
    assert errors(holdall("export", "-o", "", "--env-file", "none"))[0].startswith("Invalid value for '-o': ")
    for flag in ("--token-command", "--src-token-command"):
        assert errors(holdall("export", flag, '"', "--env-file", "none"))[0].startswith(f"can't use {flag}: ")
    for flag, value in (("--id", "asst_none"), ("--name", "none*"), ("--only", "asst:none")):
        done = holdall("export", flag, value, "--env-file", "none")
        assert errors(done)[0].startswith(f"can't select {flag} {value}: "), done.err
    done = holdall("export", "--env-file", "none", CLONE_MODE="by_name", CLONE_NAMES="none")
    assert errors(done)[0].startswith("can't select CLONE_NAMES=none: "), done.err
    assert errors(holdall("export", "--id", "", "--env-file", "none"))[0].startswith("can't select --id : ")
