"""Simulations: 95% intervals cover the true value in 95% of samples, tests err in 5%."""

from __future__ import annotations

import random
from functools import cache
from itertools import combinations
from statistics import fmean

import pytest

from archon.evals.statistics import (
    Interval,
    holm,
    mean_interval,
    paired_interval,
    paired_p_value,
    wilson_interval,
)

pytest.importorskip("scipy")

SAMPLES = 2_000
NUM_ITEMS = 200


def differences(num_items: int, only_a: int, only_b: int) -> list[float]:
    return [1.0] * only_a + [-1.0] * only_b + [0.0] * (num_items - only_a - only_b)


@cache
def interval_of(num_items: int, only_a: int, only_b: int) -> Interval:
    return paired_interval(differences(num_items, only_a, only_b))


@cache
def p_value_of(only_a: int, only_b: int) -> float:
    return paired_p_value(differences(only_a + only_b, only_a, only_b))


@pytest.mark.parametrize("truth", [0.3, 0.65, 0.9])
def test_intervals_of_accuracy_cover_the_truth(truth: float) -> None:
    generator, held = random.Random(1), 0
    for _ in range(SAMPLES):
        items = [float(generator.random() < truth) for _ in range(NUM_ITEMS)]
        low, high = mean_interval(items, NUM_ITEMS)
        assert (low, high) == pytest.approx(wilson_interval(fmean(items), NUM_ITEMS))
        held += low <= truth <= high
    assert 0.93 <= held / SAMPLES <= 0.97


@pytest.mark.parametrize("truth", [0.3, 0.65, 0.9])
@pytest.mark.parametrize("sameness", [0.5, 2.0])
def test_intervals_cover_the_truth_with_four_runs_per_item(truth: float, sameness: float) -> None:
    """Items of different difficulty: most are nearly certain with 0.5, few with 2."""
    generator, held = random.Random(2), 0
    for _ in range(SAMPLES // 2):
        chances = (
            generator.betavariate(sameness * truth, sameness * (1 - truth))
            for _ in range(NUM_ITEMS)
        )
        items = [sum(generator.random() < chance for _ in "1234") / 4 for chance in chances]
        low, high = mean_interval(items, 4 * NUM_ITEMS)
        held += low <= truth <= high
    assert 0.93 <= held / (SAMPLES // 2) <= 0.97


@pytest.mark.parametrize(
    ("num_items", "only_a", "only_b"), [(200, 0.03, 0), (100, 0.06, 0.03), (60, 0.2, 0.12)]
)
def test_paired_intervals_cover_the_truth(num_items: int, only_a: float, only_b: float) -> None:
    held = paired_coverage(num_items, only_a, only_b)
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize(("only_a", "only_b"), [(0.03, 0), (0.02, 0.02), (0.1, 0.05)])
def test_paired_intervals_of_few_items_are_conservative(only_a: float, only_b: float) -> None:
    assert paired_coverage(30, only_a, only_b) >= 0.95


def paired_coverage(num_items: int, only_a: float, only_b: float) -> float:
    generator, held = random.Random(3), 0
    for _ in range(SAMPLES):
        drawn = generator.choices([1, -1, 0], [only_a, only_b, 1 - only_a - only_b], k=num_items)
        low, high = interval_of(num_items, drawn.count(1), drawn.count(-1))
        held += low <= only_a - only_b <= high
    return held / SAMPLES


def test_paired_intervals_cover_the_truth_with_two_runs_per_item() -> None:
    generator, held, samples = random.Random(4), 0, 300
    for _ in range(samples):
        chances = [generator.betavariate(1, 1) for _ in range(50)]
        items = [
            fmean((generator.random() < 0.8 * chance) - (generator.random() < chance) for _ in "12")
            for chance in chances
        ]
        low, high = paired_interval(items)
        held += low <= -0.1 <= high
    assert 0.93 <= held / samples <= 0.97


def test_the_paired_test_has_one_false_positive_in_twenty() -> None:
    generator, found = random.Random(5), 0
    for _ in range(SAMPLES):
        drawn = generator.choices([1, -1, 0], [0.15, 0.15, 0.7], k=NUM_ITEMS)
        found += p_value_of(drawn.count(1), drawn.count(-1)) <= 0.05
    assert 0.01 < found / SAMPLES <= 0.05


def test_of_many_comparisons_one_in_twenty_families_errs() -> None:
    generator, unadjusted, adjusted = random.Random(6), 0, 0
    for _ in range(SAMPLES // 4):
        runs = [[generator.random() < 0.5 for _ in range(60)] for _ in "abcde"]
        p_values = [
            p_value_of(sum(x > y for x, y in pairs), sum(x < y for x, y in pairs))
            for pairs in (list(zip(a, b, strict=True)) for a, b in combinations(runs, 2))
        ]
        unadjusted += min(p_values) <= 0.05
        adjusted += min(holm(p_values)) <= 0.05
    assert unadjusted / (SAMPLES // 4) > 0.1
    assert adjusted / (SAMPLES // 4) <= 0.05
