"""Intervals and tests against scipy, worked examples, and in edge cases."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.statistics import (
    holm,
    mean_interval,
    paired_interval,
    paired_p_value,
    wilson_interval,
    with_two_added,
)

numpy = pytest.importorskip("numpy")
scipy_stats = pytest.importorskip("scipy.stats")

means = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40)


@given(trials=st.integers(1, 500), data=st.data(), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_is_scipys(trials: int, data: st.DataObject, confidence: float) -> None:
    right = data.draw(st.integers(0, trials))
    expected = scipy_stats.binomtest(right, trials).proportion_ci(confidence, method="wilson")
    ours = wilson_interval(right / trials, trials, confidence)
    assert ours == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40))
def test_with_one_run_per_item_the_interval_is_wilsons(items: list[float]) -> None:
    expected = wilson_interval(sum(items) / len(items), len(items))
    assert mean_interval(items, len(items)) == pytest.approx(expected)


@given(items=means)
def test_an_interval_contains_the_mean_and_is_within_0_and_1(items: list[float]) -> None:
    low, high = mean_interval(items, 4 * len(items))
    assert 0 <= low <= sum(items) / len(items) + 1e-12
    assert sum(items) / len(items) - 1e-12 <= high <= 1


SIGNS = list(itertools.product((1, -1), repeat=8))


def test_runs_that_agree_on_each_item_add_no_certainty() -> None:
    once = mean_interval([0.0, 1.0, 1.0, 1.0] * 10, 40)
    assert mean_interval([0.0, 1.0, 1.0, 1.0] * 10, 400) == once


def test_items_that_do_not_differ_count_every_run() -> None:
    assert mean_interval([0.5] * 20, 80) == wilson_interval(0.5, 80)
    assert mean_interval([1.0] * 20, 80) == wilson_interval(1.0, 20)


def differences(num_items: int, only_a: int, only_b: int) -> list[float]:
    return [1.0] * only_a + [-1.0] * only_b + [0.0] * (num_items - only_a - only_b)


@pytest.mark.parametrize("items", [differences(60, 12, 5), [0.5, 0.25, -0.25, 0.0] * 9])
def test_the_paired_interval_is_scipys_bootstrap_of_the_items_and_two_more(
    items: list[float],
) -> None:
    expected = scipy_stats.bootstrap(
        (with_two_added(items),), numpy.mean, n_resamples=20_000, method="percentile", rng=7
    ).confidence_interval
    assert paired_interval(items) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_two_items_are_added_as_large_as_those_that_differ() -> None:
    assert with_two_added([0.0, 0.0]) == [0.0, 0.0, 1.0, -1.0]
    assert with_two_added([0.6, 0.0, -0.8])[3:] == pytest.approx([0.5**0.5, -(0.5**0.5)])


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=30))
def test_the_paired_interval_contains_the_difference_in_any_order(
    items: list[float],
) -> None:
    low, high = paired_interval(items)
    assert -1 <= low <= sum(items) / len(items) <= high <= 1
    assert low < high
    assert paired_interval(items[::-1]) == (low, high)
    opposite = [-item for item in items]
    assert paired_interval(opposite) == pytest.approx((-high, -low))
    assert paired_p_value(opposite) == pytest.approx(paired_p_value(items))


def test_the_interval_of_equal_runs_is_symmetric() -> None:
    low, high = paired_interval(differences(50, 7, 7))
    assert low == -high < 0


def test_items_that_never_differed_do_not_imply_certainty() -> None:
    low, high = paired_interval([0.0] * 50)
    assert low == -high
    assert high >= 0.04


def test_pairing_narrows_the_interval_if_answers_agree() -> None:
    low, high = paired_interval(differences(100, 8, 2))
    unpaired = 2 * 1.96 * (0.48 * 0.52 / 100 + 0.42 * 0.58 / 100) ** 0.5
    assert high - low < 0.6 * unpaired


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (8, 2, 112 / 1024)],
)
def test_p_values_are_those_of_mcnemars_exact_test(
    only_a: int, only_b: int, p_value: float
) -> None:
    assert paired_p_value(differences(60, only_a, only_b)) == pytest.approx(p_value)


def test_differences_of_one_size_are_tested_exactly_whatever_their_size() -> None:
    assert paired_p_value([0.25, 0.25, 0.0, 0.25]) == pytest.approx(2 / 8)


def test_the_size_of_a_difference_counts() -> None:
    """Twelve large gains and forty small losses: a sign test would prefer the losses."""
    assert paired_p_value([1.0] * 12 + [-0.1] * 40) < 0.05
    assert paired_p_value([1.0] * 4 + [-0.1] * 40) > 0.5


def test_random_signs_agree_with_all_signs() -> None:
    values = [0.5, 0.25, 1.0, -0.25, 0.75, 0.5, -0.5, 1.0]
    means = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in SIGNS]
    exact = sum(mean >= sum(values) - 1e-9 for mean in means) / len(means)
    assert paired_p_value(values) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.2], [0.2]),
        # Worked by hand: sorted, times 4, 3, 2, 1, and never below the one before.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.4, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02, 0.021], [0.06, 0.06, 0.06]),
    ],
)
def test_holms_p_values_are_those_of_worked_examples(
    p_values: list[float], adjusted: list[float]
) -> None:
    assert holm(p_values) == pytest.approx(adjusted)
