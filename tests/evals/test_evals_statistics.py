"""Error bars against scipy, against published figures, and in the corners."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.statistics import mean_interval, paired_interval, paired_p_value, wilson_interval

scipy_stats = pytest.importorskip("scipy.stats")

means = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40)
paired = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


@given(trials=st.integers(1, 500), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_is_scipys(trials: int, data: st.DataObject, confidence: float) -> None:
    right = data.draw(st.integers(0, trials))
    expected = scipy_stats.binomtest(right, trials).proportion_ci(confidence, method="wilson")
    ours = wilson_interval(right / trials, trials, confidence)
    assert ours == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40))
def test_with_one_run_an_item_the_interval_is_wilsons(items: list[float]) -> None:
    expected = wilson_interval(sum(items) / len(items), len(items))
    assert mean_interval(items, len(items)) == pytest.approx(expected)


@given(items=means)
def test_an_interval_holds_the_mean_and_stays_between_0_and_1(items: list[float]) -> None:
    low, high = mean_interval(items, 4 * len(items))
    assert 0 <= low <= sum(items) / len(items) + 1e-12
    assert sum(items) / len(items) - 1e-12 <= high <= 1


def test_runs_that_agree_on_each_item_add_no_certainty() -> None:
    once = mean_interval([0.0, 1.0, 1.0, 1.0] * 10, 40)
    assert mean_interval([0.0, 1.0, 1.0, 1.0] * 10, 400) == once


def test_items_that_do_not_differ_count_every_run() -> None:
    assert mean_interval([0.5] * 20, 80) == wilson_interval(0.5, 80)
    assert mean_interval([1.0] * 20, 80) == wilson_interval(1.0, 20)


def test_the_interval_of_clustered_runs_holds_the_truth_as_often_as_it_says() -> None:
    generator = random.Random(1)
    held = 0
    for _ in range(400):
        chances = [generator.choice([0.1, 0.5, 0.9, 0.9]) for _ in range(60)]
        items = [sum(generator.random() < chance for _ in range(4)) / 4 for chance in chances]
        low, high = mean_interval(items, 240)
        held += low <= 0.6 <= high
    assert 0.92 <= held / 400 <= 0.98


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[float], list[float]]:
    a = [1.0] * both + [1.0] * only_a + [0.0] * only_b + [0.0] * neither
    b = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return a, b


def test_the_paired_interval_is_that_of_a_worked_example() -> None:
    # Newcombe 1998, worked by hand from its formulae for e, f, g, h = 43, 7, 2, 0 of 52: the
    # shares 50/52 and 45/52 with Wilson's intervals and phi = -14 / sqrt(50 * 2 * 45 * 7).
    a, b = pairs(43, 7, 2, 0)
    low_a, high_a = wilson_interval(50 / 52, 52)
    low_b, high_b = wilson_interval(45 / 52, 52)
    phi = -14 / (50 * 2 * 45 * 7) ** 0.5
    da, ua, db, ub = 50 / 52 - low_a, high_a - 50 / 52, 45 / 52 - low_b, high_b - 45 / 52
    low = 5 / 52 - (da**2 - 2 * phi * da * ub + ub**2) ** 0.5
    high = 5 / 52 + (ua**2 - 2 * phi * ua * db + db**2) ** 0.5
    assert paired_interval(a, b, 52, 52) == pytest.approx((low, high))


@given(paired)
def test_swapping_the_two_mirrors_the_interval_and_keeps_the_p_value(
    items: list[tuple[int, int]],
) -> None:
    a, b = ([float(pair[side]) for pair in items] for side in (0, 1))
    low, high = paired_interval(a, b, len(a), len(b))
    assert low <= sum(a) / len(a) - sum(b) / len(b) <= high
    assert paired_interval(b, a, len(b), len(a)) == pytest.approx((-high, -low))
    assert paired_p_value(a, b) == pytest.approx(paired_p_value(b, a))


def test_pairing_makes_the_interval_narrower_where_answers_agree() -> None:
    a, b = pairs(40, 8, 2, 50)
    low, high = paired_interval(a, b, 100, 100)
    unpaired = 2 * 1.96 * (0.48 * 0.52 / 100 + 0.42 * 0.58 / 100) ** 0.5
    assert high - low < 0.6 * unpaired


def test_the_paired_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = random.Random(2)
    held = 0
    for _ in range(400):
        items = [
            generator.choices([(1, 1), (1, 0), (0, 1), (0, 0)], [4, 2, 1, 3])[0] for _ in "x" * 80
        ]
        a, b = ([float(pair[side]) for pair in items] for side in (0, 1))
        low, high = paired_interval(a, b, 80, 80)
        held += low <= 0.1 <= high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (8, 2, 112 / 1024)],
)
def test_p_values_are_those_of_mcnemars_exact_test(
    only_a: int, only_b: int, p_value: float
) -> None:
    assert paired_p_value(*pairs(30, only_a, only_b, 30)) == pytest.approx(p_value)


def test_with_several_runs_items_are_tested_by_which_mean_is_greater() -> None:
    a, b = [0.75, 1.0, 0.5, 0.5], [0.5, 0.75, 0.5, 0.25]
    assert paired_p_value(a, b) == pytest.approx(2 / 8)
