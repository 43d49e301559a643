"""The pace of an evaluation and its remaining time."""

from __future__ import annotations

import pytest

from archon.cli.pace import Pace, duration, seconds_left


def test_a_count_that_has_not_grown_has_no_rate() -> None:
    pace = Pace()
    assert pace.per_second(0) is None
    pace.add(0, 7)
    pace.add(5, 7)
    assert pace.per_second(5) is None


def test_the_pace_covers_the_last_seconds() -> None:
    pace, count = Pace(window_seconds=10), 0
    for now in range(60):
        pace.add(now, count)
        count += 100 if now < 30 else 20
    assert pace.per_second(59) == 20


def test_a_pause_lowers_the_pace_but_not_to_zero() -> None:
    pace = Pace(window_seconds=10)
    for now in range(21):
        pace.add(now, 50 * now)
    paces = [pace.per_second(now) for now in (20, 25, 40)]
    assert paces == sorted(paces, reverse=True)
    assert paces[0] == 50
    assert paces[2] > 0


def test_rare_large_steps_are_spread_over_the_time_between_them() -> None:
    pace = Pace(window_seconds=10)
    for now in range(121):
        pace.add(now, now // 30 * 3000)
    assert pace.per_second(120) == 100


def test_a_decreasing_count_is_ignored() -> None:
    pace = Pace()
    for now, count in [(0, 0), (1, 10), (2, 0), (3, 30)]:
        pace.add(now, count)
    assert pace.per_second(3) == 10


@pytest.mark.parametrize(
    ("seconds", "num_done", "num_left", "num_running", "expected"),
    [
        (10, 0, 100, 64, None),
        (100, 50, 50, 0, 100),
        (60, 20, 100, 20, 180),
        (30, 1, 63, 63, 30 * 31.5 / 32.5),
        (30, 5, 0, 0, 0),
    ],
)
def test_the_remaining_time_follows_from_the_pace(
    seconds: float, num_done: int, num_left: int, num_running: int, expected: float | None
) -> None:
    assert seconds_left(seconds, num_done, num_left, num_running) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (72.4, "1:12"), (3723, "1:02:03")]
)
def test_durations_are_formatted_like_clocks(seconds: float, text: str) -> None:
    assert duration(seconds) == text
