"""Confidence intervals and tests. Items are the independent units, not the runs of an item.

Sources: E. B. Wilson, JASA 22 (1927), for one share; N. Dean and M. Pagano, J. Survey Stat.
Methodol. 3 (2015), for the effective sample size of means over several runs; E. L. Korn and B. I.
Graubard, Survey Methodology 24 (1998), for small effective samples; B. Efron, Annals of Statistics
7 (1979), for the bootstrap of paired differences, and D. G. Bonett and R. M. Price, J. Educ. Behav.
Stat. 37 (2012), for the two items added to it; Q. McNemar, Psychometrika 12 (1947), R. A. Fisher,
The Design of Experiments (1935, random signs), and S. Holm, Scand. J. Statist. 6 (1979), for tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from archon.errors import require

CONFIDENCE = 0.95
RESAMPLES = 9_999
_BATCH = 100_000
"""Numbers per batch of the bootstrap: fastest if a batch fits the cache."""

Interval = tuple[float, float]


def wilson_interval(share: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """Compute Wilson's score interval of a share of ``trials``.

    scipy has it for counts only; effective trials and their successes need not be integers.

    >>> low, high = wilson_interval(0.8, 50)
    >>> round(low, 3), round(high, 3)
    (0.67, 0.888)
    """
    assert trials > 0, "a share needs trials"
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def mean_interval(
    item_means: Sequence[float], runs: int, confidence: float = CONFIDENCE
) -> Interval:
    """Compute the interval of the mean over items, each with one or several runs.

    Parameters
    ----------
    item_means
        The share of right runs of each item, in [0, 1].
    runs
        Number of runs of all items together.

    With one run per item this is Wilson's interval; with several, Wilson's interval for the
    effective number of trials.
    """
    trials = effective_trials(item_means, runs)
    return wilson_interval(fmean(item_means), trials, confidence)


def effective_trials(item_means: Sequence[float], runs: int) -> float:
    """Compute the number of independent trials with the same variance as these runs of items.

    The variance comes from the spread between items. The result is the number of items if each item
    is always right or always wrong, and at most the number of runs, if items do not differ.
    """
    share = fmean(item_means)
    between = sum((mean - share) ** 2 for mean in item_means) / len(item_means) ** 2
    if between > 0:
        return min(share * (1 - share) / between, float(runs))
    return float(runs if 0 < share < 1 else len(item_means))


def score_interval(item_scores: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Compute the interval of the mean of scores in [0, 1], partial ones included.

    Parameters
    ----------
    item_scores
        The score of each item, or the mean of its scores.

    This is Wilson's interval for the effective number of trials that follows from the variance of
    the scores, reduced by the squared ratio of normal to Student quantiles (Korn and Graubard). In
    samples of 5 to 200 items from scores of seven distributions it covered the true mean in at
    least 93 %; the t interval fell to 23 % for scores that are nearly always 1. If all scores are
    equal, their variance is unknown, and each counts as one trial.
    """
    num_items, mean = len(item_scores), fmean(item_scores)
    squares = math.fsum((score - mean) ** 2 for score in item_scores)
    if num_items < 2 or squares < 1e-18 or not 0 < mean < 1:
        return wilson_interval(mean, num_items, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    trials = mean * (1 - mean) * num_items * (num_items - 1) / squares
    return wilson_interval(
        mean, trials * (z / student_quantile((1 + confidence) / 2, num_items - 1)) ** 2, confidence
    )


def student_quantile(probability: float, degrees: int) -> float:
    """Compute a quantile of Student's t for a probability above one half.

    Exact for one and two degrees of freedom, else the expansion of R. A. Fisher and E. A. Cornish
    (Technometrics 2 (1960)), whose error is below 1 % at 97.5 %. (Reports must not need scipy.)

    >>> round(student_quantile(0.975, 1), 2), round(student_quantile(0.975, 9), 2)
    (12.71, 2.26)
    """
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        distance = 2 * probability - 1
        return distance * math.sqrt(2 / (1 - distance**2))
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * degrees)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * degrees**4)
    )


def paired_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Compute the bootstrap interval of the mean difference between two architectures.

    Parameters
    ----------
    differences
        For each item, the share of right answers of one architecture minus that of the other.

    This is the percentile interval over resampled items, with two added (``with_two_added``).
    Without these the bootstrap fails if few items differ: in samples of 30 items, 3 % of which
    differ, it covers the true mean in 57 %, corrected for bias and acceleration (BCa) in 53 %, and
    Newcombe's interval (1998, method 8) in 68 %. With them it covered it in at least 93 % of
    samples of 10 to 500 items with one run, and it is no wider if many items differ. The order of
    the differences does not matter; opposite differences have the mirrored interval.

    Raises
    ------
    MissingExtraError
        Scipy is not installed.
    """
    items, opposite = sorted(differences), sorted(-difference for difference in differences)
    if opposite > items:
        low, high = paired_interval(opposite, confidence)
        return -high, -low
    resampled = with_two_added(items)
    low, high = (
        require("scipy.stats", "evals")
        .bootstrap(
            (resampled,),
            lambda samples, axis: samples.mean(axis=axis),
            n_resamples=RESAMPLES,
            batch=max(1, _BATCH // len(resampled)),
            vectorized=True,
            confidence_level=confidence,
            method="percentile",
            rng=0,
        )
        .confidence_interval
    )
    if opposite == items:
        return float(low - high) / 2, float(high - low) / 2
    difference = fmean(differences)
    return min(float(low), difference), max(float(high), difference)


def with_two_added(differences: Sequence[float]) -> list[float]:
    """Add two differences, one in favor of each side, as large as those that are not 0.

    A sample without differences, or with differences to one side only, does not rule out others.

    >>> with_two_added([0.5, 0.0, 0.0])
    [0.5, 0.0, 0.0, 0.5, -0.5]
    """
    squares = [difference**2 for difference in differences if difference]
    size = math.sqrt(fmean(squares)) if squares else 1.0
    return [*differences, size, -size]


def paired_p_value(differences: Sequence[float]) -> float:
    """Compute the two-sided p-value of "neither is better" from the items on which two differ.

    The parameter is that of ``paired_interval``. If neither is better, each difference could as
    well have the opposite sign: p is the share of random signs with a mean at least as far from
    zero. With one run per item this is McNemar's exact test. For differences of several sizes,
    ``RESAMPLES`` random signs are used, with a fixed seed.

    Raises
    ------
    MissingExtraError
        Scipy is not installed.
    """
    stats = require("scipy.stats", "evals")
    differing = [difference for difference in differences if difference]
    if not differing:
        return 1.0
    if len({round(abs(difference), 9) for difference in differing}) == 1:
        better = sum(difference > 0 for difference in differing)
        return float(stats.binomtest(better, len(differing)).pvalue)
    import numpy as np

    test = stats.permutation_test(
        (np.array(differing),),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,
        rng=0,
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Compute Holm's adjusted p-values, in the given order; the tests may be dependent.

    The differences whose adjusted p-value is at most a level contain a false one with at most that
    probability. (scipy corrects for the false discovery rate only.)

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    ranked = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, i in enumerate(ranked):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
