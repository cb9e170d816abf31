"""The config of `holdall backup`: all that is wrong is said at once, and no key is ever in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.backups.backup_config import BackupConfig, read_config
from holdall.errors import UsageFault

PATH = Path("/etc/holdall/backup.toml")
SOURCE = '[[source]]\nname = "acme"\nkey_env = "ACME_KEY"\n'


def read(text: str, *keys: str) -> BackupConfig:
    return read_config(text.encode(), PATH, keys)


def mistakes(text: str, *keys: str) -> list[str]:
    with pytest.raises(UsageFault) as raised:
        read(text, *keys)
    found = raised.value.mistakes or [raised.value]
    return [one.message.removeprefix(f"can't use {PATH}: ") + f" | {one.hint}" for one in found]


def test_what_stands_at_the_top_is_for_all_sources_but_those_that_say_otherwise() -> None:
    other = '[[source]]\nname = "b"\nkey_command = "vault read -field=key b"\nmax_shrink = 5\noriginals = "mine"\n'
    config = read(f'folder = "bundles"\nmax_shrink = 50\nunused = true\n{SOURCE}{other}')
    assert config.folder == PATH.parent / "bundles"
    assert [(one.name, one.max_shrink, one.unused) for one in config.sources] == [("acme", 50, True), ("b", 5, True)]
    assert config.sources[1].token_command == ("vault", "read", "-field=key", "b")
    assert config.sources[1].originals == str(PATH.parent / "mine")


def test_all_that_is_wrong_is_said_at_once_with_what_was_meant() -> None:
    found = mistakes(
        'max_shrnk = 3\nconcurrency = 0\n[[source]]\nname = "a/b"\nkey_env = "A"\nkey_command = "b"\nmetrics = "x"\n'
        '[[source]]\nname = "c"\nkey_env = "C-D"\nbase_url = "ftp://x"\nverify = "often"\nfrom_dump = "x"\n'
        '[[source]]\nname = "C"\nkey_env = "E"\n'
    )
    wanted = [
        "max_shrnk: unknown setting | did you mean max_shrink?",
        "concurrency: expected `int` >= 1 | ",
        "folder: is missing | ",
        "source 'a/b': metrics: unknown setting | metrics belongs at the top of the file, above the first [table]",
        "source 'a/b': name: must be up to 60 letters",
        "source 'a/b': key_env: name either a variable (key_env) or a command (key_command) | ",
        "source 'c': key_env: must be the name of an environment variable | ",
        "source 'c': verify: must be a number and h, d or w",
        "can't use base_url of source c: it must be https",
        "source 'c': from_dump: expected `array`, got `str` | ",
        "source 'C': name: is there twice | ",
    ]
    assert [one for one in wanted if not any(each.startswith(one) for each in found)] == [], found
    assert len(found) == len(wanted)


@pytest.mark.parametrize(
    "line",
    [
        'key = "sk-proj-{}"',
        "# sk-proj-{}",
        'key_env = "sk-proj-{}"',
        'key = "\\u0073k-proj-{}"',
    ],
)
def test_what_looks_like_a_key_is_refused_and_not_shown(line: str) -> None:
    word = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7d"
    found = mistakes(f'folder = "b"\n{SOURCE}{line.format(word)}\n')
    assert len(found) == 1
    assert "contains what looks like" in found[0]
    assert word not in found[0]


def test_a_key_of_the_environment_is_refused_whatever_it_looks_like() -> None:
    assert "contains a key" in mistakes(f'folder = "b"\n{SOURCE}only = ["plain-word-0001"]\n', "plain-word-0001")[0]


def test_what_to_keep_is_said_as_to_prune() -> None:
    keep = read(f'folder = "b"\n{SOURCE}keep = {{daily = 7, within = "30d"}}\n').sources[0].keep
    assert keep is not None
    assert (keep.daily, str(keep.within), keep.last) == (7, "30d", 0)
    found = mistakes(f'folder = "b"\n{SOURCE}keep = {{dayly = 7, within = "long", last = -3}}\n')
    assert [one.partition(": ")[2].partition(":")[0] for one in found] == ["keep.dayly", "keep.within", "keep.last"]
    assert "can't be combined" in mistakes(f'folder = "b"\n{SOURCE}form = "folder"\nkeep = {{last = 1}}\n')[0]
    assert "keeps nothing" in mistakes(f'folder = "b"\n{SOURCE}keep = {{last = 0}}\n')[0]


@pytest.mark.parametrize("data", [b"folder = ", b"\xff", b"a = " + b"[" * 5000, b"x" * (2 << 20), b"source = 3"])
def test_what_is_no_config_is_one_error(data: bytes) -> None:
    with pytest.raises(UsageFault):
        read_config(data, PATH)
