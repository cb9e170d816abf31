from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.backups.retention import UNLIMITED, Duration, RetentionPolicy, parse_count, reasons_to_keep
from tests.backups.restic_choices import FROZEN, POLICIES, RESTIC, Choice, Repository, times

NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
RECORDED: Any = json.loads(FROZEN.read_text(encoding="utf-8"))


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def policy_of(options: str) -> RetentionPolicy:
    words = options.replace("--keep-", "").replace("-", "_").replace("_1", "-1").split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return RetentionPolicy(
        **{name: (Duration.parse if "within" in name else parse_count)(value) for name, value in pairs}
    )


def chosen(moments: Sequence[str], policy: str) -> Choice:
    found = reasons_to_keep([at(moment) for moment in moments], policy_of(policy), NOW)
    return sorted(((moment, why) for moment, why in zip(moments, found, strict=True) if why), reverse=True)


def as_before_0_16(choice: Choice) -> Choice:
    """Without what is kept only as the oldest, which restic does since 0.16; it says why since 0.17."""
    kept = [(time, [reason for reason in why if not reason.startswith("oldest ")]) for time, why in choice]
    return [(time, why) for time, why in kept if why]


@pytest.mark.parametrize("number", range(12))
def test_it_keeps_what_restic_keeps(number: int) -> None:
    recorded = RECORDED["choices"][number]
    assert recorded["policy"] == POLICIES[number]
    kept = as_before_0_16(chosen(RECORDED["times"], recorded["policy"]))
    assert [list(one) for one in kept] == recorded["kept"]
    # A policy that keeps all, or one, would tell little.
    assert 3 <= len(kept) < len(RECORDED["times"])


@pytest.mark.slow
@pytest.mark.skipif(RESTIC is None, reason="no restic here")
def test_it_keeps_what_the_restic_of_this_machine_keeps(tmp_path: Path) -> None:
    repository = Repository(tmp_path, times())
    for policy in POLICIES:
        kept, expected = chosen(times(), policy), repository.choice(policy)
        if repository.version < (0, 16):
            kept = as_before_0_16(kept)
        elif repository.version < (0, 17):
            kept = [(time, [reason.removeprefix("oldest ") for reason in why]) for time, why in kept]
        assert kept == expected, policy


def test_the_oldest_is_said_to_be_kept_as_such() -> None:
    moments = ["2024-01-02 10:00:00", "2024-01-01 12:00:00", "2024-01-01 09:00:00"]
    assert chosen(moments, "--keep-daily 3") == [
        (moments[0], ["daily snapshot"]),
        (moments[1], ["daily snapshot"]),
        (moments[2], ["oldest daily snapshot"]),
    ]
    assert [moment for moment, _ in chosen(moments, "--keep-daily 2")] == moments[:2]


def test_nothing_is_kept_within_a_duration_of_what_is_in_the_future() -> None:
    moments = ["2090-01-01 00:00:00", "2024-01-03 00:00:00", "2024-01-02 00:00:01", "2024-01-02 00:00:00"]
    assert [moment for moment, _ in chosen(moments, "--keep-within 1d")] == moments[:3]
    # Where all are, the newest of them is as good as none.
    assert [moment for moment, _ in chosen(moments[:1] * 2, "--keep-within 1h")] == moments[:1] * 2


def test_of_equal_times_the_first_is_the_newer_one() -> None:
    assert reasons_to_keep([5, 5, 5], RetentionPolicy(last=1), NOW) == [["last snapshot"], [], []]


def test_a_policy_without_a_number_or_a_duration_is_none() -> None:
    assert not RetentionPolicy()
    assert not RetentionPolicy(last=0, within=Duration.parse("0d"))
    assert RetentionPolicy(yearly=UNLIMITED)
    assert reasons_to_keep([1, 2], RetentionPolicy(), NOW) == [[], []]
    assert reasons_to_keep([], RetentionPolicy(last=1), NOW) == []


def test_durations() -> None:
    assert Duration.parse("2h1d") == Duration(days=1, hours=2)
    assert str(Duration.parse("7d1y2h5m")) == "1y5m7d2h"


@pytest.mark.parametrize("text", ["", "7", "d", "7w", "-2d", "1d1d", "1 d", "1d ", "1.5d", "٣d", "9" * 10 + "d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["", "-2", "1.5", "many", "٣", "9" * 10, "+1"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        parse_count(text)


def test_a_day_that_the_month_lacks_is_in_the_next_one() -> None:
    def before(text: str, moment: str) -> str:
        return datetime.fromtimestamp(Duration.parse(text).before(at(moment)), UTC).strftime("%Y-%m-%d %H:%M:%S")

    assert before("1m", "2024-03-31 12:00:00") == "2024-03-02 12:00:00"
    assert before("1y", "2024-02-29 12:00:00") == "2023-03-01 12:00:00"
    assert before("14m", "2024-01-15 00:00:00") == "2022-11-15 00:00:00"
    assert before("1d36h", "2024-03-01 00:00:00") == "2024-02-27 12:00:00"
    assert Duration.parse("2025y").before(at("2024-01-01 00:00:00")) == -math.inf
    assert Duration.parse("999999999d").before(at("2024-01-01 00:00:00")) == -math.inf


@given(
    st.lists(st.integers(0, 253_402_300_799), max_size=30),
    st.sampled_from(POLICIES),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_times_and_what_is_no_longer_there_change_nothing(
    moments: list[int], options: str, draw: Any
) -> None:
    policy = policy_of(options)
    kept = sorted(time for time, why in zip(moments, reasons_to_keep(moments, policy, NOW), strict=True) if why)
    mixed = draw.sample(moments, len(moments))
    assert kept == sorted(time for time, why in zip(mixed, reasons_to_keep(mixed, policy, NOW), strict=True) if why)
    # Whatever the policy, the newest is kept: prune counts on that.
    assert not moments or max(moments) in kept
    # Pruned a second time, the same are kept.
    assert all(reasons_to_keep(kept, policy, NOW))
