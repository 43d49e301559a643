"""Power: whether the items suffice, and how many would."""

from __future__ import annotations

import random

import pytest

from archon.evals.power import accuracy_warning, pair_power, pair_warning
from archon.evals.statistics import mean_interval, paired_interval

pytest.importorskip("scipy")


def differences(num_items: int, only_a: int, only_b: int) -> list[float]:
    return [1.0] * only_a + [-1.0] * only_b + [0.0] * (num_items - only_a - only_b)


def warning(items: list[float]) -> str | None:
    return pair_warning("a", "b", items, paired_interval(items), pair_power(items))


def test_the_detectable_difference_is_detected_four_times_in_five() -> None:
    generator, num_items, held = random.Random(4), 100, 0
    detectable = pair_power(differences(num_items, 12, 13)).detectable_difference
    shares = [0.125 + detectable / 2, 0.125 - detectable / 2, 0.75]
    known: dict[tuple[int, int], bool] = {}
    for _ in range(400):
        drawn = generator.choices([1, -1, 0], shares, k=num_items)
        counts = (drawn.count(1), drawn.count(-1))
        if counts not in known:
            known[counts] = paired_interval(differences(num_items, *counts))[0] > 0
        held += known[counts]
    assert 0.72 <= held / 400 <= 0.88


def test_with_the_items_needed_the_difference_is_the_detectable_one() -> None:
    power = pair_power(differences(100, 12, 8))
    assert power.items_needed is not None
    assert power.items_needed > 100
    many = power.items_needed // 100
    scaled = pair_power(differences(100 * many, 12 * many, 8 * many))
    assert scaled.detectable_difference == pytest.approx(0.04, rel=0.1)


def test_items_that_never_differed_have_some_power() -> None:
    power = pair_power([0.0] * 50)
    assert power.items_needed is None
    assert 0.05 < power.detectable_difference < 0.15
    assert pair_power([0.0]).detectable_difference == 1.0


def test_a_pair_with_a_clear_difference_needs_no_warning() -> None:
    assert warning(differences(100, 30, 5)) is None
    assert warning(differences(100, 5, 30)) is None


def test_the_warning_of_a_pair_names_the_items_needed() -> None:
    text = warning(differences(40, 5, 3))
    assert text is not None
    assert text.startswith("a and b: 40 items do not show which is better; they detect ")
    assert "; to detect the observed 5.0 points, about " in text
    assert text.endswith(" items are needed")
    same = warning(differences(40, 3, 3))
    assert same is not None
    assert same.endswith("points with 80% power")


def test_the_recommended_items_halve_the_allowed_interval() -> None:
    text = accuracy_warning([1.0] * 12 + [0.0] * 12, 24)
    assert text == "with 24 items the accuracy is uncertain by ±19 points; ±5 needs about 390 items"
    low, high = mean_interval([1.0] * 195 + [0.0] * 195, 390)
    assert high - low == pytest.approx(0.1, abs=0.002)


def test_a_narrow_interval_needs_no_warning() -> None:
    assert accuracy_warning([1.0, 0.0] * 60, 120) is None


def test_epochs_that_agree_save_no_items() -> None:
    once = accuracy_warning([1.0, 0.0] * 12, 24)
    assert accuracy_warning([1.0, 0.0] * 12, 96) == once
    assert accuracy_warning([0.5] * 24, 96) != once


def test_a_warning_does_not_promise_what_few_items_cannot_show() -> None:
    differences = [-1.0, -1.0, -1.0, 1.0]
    power = pair_power(differences)
    warning = pair_warning("a", "b", differences, (-1.0, 0.5), power)
    assert "too few to detect any difference" in (warning or "")


def test_one_item_is_not_called_items() -> None:
    text = accuracy_warning([1.0], 1)
    assert text is not None
    assert text.startswith("with 1 item the accuracy is uncertain by ±")
    pair = warning([1.0])
    assert pair is not None
    assert "1 item does not show which is better; it is too few to detect any" in pair
