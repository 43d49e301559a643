"""Confidence intervals and statistical tests for accuracies and scores.

Items are treated as independent, but several runs of one item are not.

Sources: E. B. Wilson, JASA 22 (1927), for the interval of a share; N. Dean and M. Pagano, J. Survey
Stat. Methodol. 3 (2015), for the effective sample size of means over several runs; E. L. Korn and
B. I. Graubard, Survey Methodology 24 (1998), for small effective samples; B. Efron, Annals of
Statistics 7 (1979), for the bootstrap; D. G. Bonett and R. M. Price, J. Educ. Behav. Stat. 37
(2012), for the two differences added to it; Q. McNemar, Psychometrika 12 (1947), and R. A. Fisher,
The Design of Experiments (1935), for the paired tests; S. Holm, Scand. J. Statist. 6 (1979), for
multiple tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from archon.errors import require

CONFIDENCE = 0.95
RESAMPLES = 9_999
_BATCH = 100_000
"""Numbers in one batch of the bootstrap, which is fastest if a batch fits in the CPU cache."""

Interval = tuple[float, float]


def wilson_interval(share: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """Compute Wilson's score interval for a share of successes among ``trials``.

    The number of trials, and thus of successes, need not be an integer; scipy requires integers.

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
    """Compute the confidence interval of an accuracy, with one or more runs per item.

    This is Wilson's interval for the effective number of trials (``effective_trials``).

    Parameters
    ----------
    item_means
        For each item, the share of its runs that are right, in [0, 1].
    runs
        Number of runs of all items together.
    """
    trials = effective_trials(item_means, runs)
    return wilson_interval(fmean(item_means), trials, confidence)


def effective_trials(item_means: Sequence[float], runs: int) -> float:
    """Compute the number of independent trials whose mean has the same variance as the items'.

    The parameters are the same as for ``mean_interval``. The variance is estimated from the
    differences between items. If each item is always right or always wrong, the result is the
    number of items. The more similar the items are, the larger the result, up to the number of
    runs.
    """
    share = fmean(item_means)
    between = sum((mean - share) ** 2 for mean in item_means) / len(item_means) ** 2
    if between > 0:
        return min(share * (1 - share) / between, float(runs))
    return float(runs if 0 < share < 1 else len(item_means))


def score_interval(item_scores: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Compute the confidence interval of a mean of scores in [0, 1], which may be fractions.

    This is Wilson's interval. The effective number of trials follows from the variance of the
    scores, and is reduced by the squared ratio of the normal to the Student quantile (Korn and
    Graubard). If all scores are equal, their variance is unknown, and each counts as one trial.

    In simulations with 5 to 200 items and seven distributions of scores, the interval contained the
    true mean in at least 93% of the samples. If scores were nearly always 1, the t interval
    contained it in only 23% of them.

    Parameters
    ----------
    item_scores
        The score of each item, or the mean of its scores.
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
    """Compute a quantile of Student's t distribution for a probability above one half.

    The result is exact for one and two degrees of freedom. Otherwise it is the expansion of R. A.
    Fisher and E. A. Cornish (Technometrics 2, 1960), with an error below 1% at 97.5%. Scipy is not
    used, because reports must not depend on it.

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
    """Compute the confidence interval of the mean difference between two architectures.

    This is the percentile bootstrap over items, after two differences have been added
    (``with_two_added``). The order of the differences does not matter, and opposite differences
    have the mirrored interval.

    Without the two added differences, the bootstrap is unreliable if few items differ. For 30 items
    of which 3% differ on average, its interval contains the true mean in 57% of samples (with
    correction for bias and acceleration, BCa: 53%; Newcombe's interval, 1998, method 8: 68%). With
    the two differences, the interval contained the true mean in at least 93% of samples of 10 to
    500 items with one run each, and it is not wider if many items differ.

    Parameters
    ----------
    differences
        For each item, the difference between the two architectures' shares of right answers.

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
    """Add two opposite differences, one in favor of each architecture.

    Their size is the root mean square of the differences that are not 0, or 1 if all are 0. They
    represent possible differences that a small sample happens not to contain.

    >>> with_two_added([0.5, 0.0, 0.0])
    [0.5, 0.0, 0.0, 0.5, -0.5]
    """
    squares = [difference**2 for difference in differences if difference]
    size = math.sqrt(fmean(squares)) if squares else 1.0
    return [*differences, size, -size]


def paired_p_value(differences: Sequence[float]) -> float:
    """Compute the two-sided p-value of the hypothesis that neither architecture is better.

    The parameter is the same as for ``paired_interval``. Under the hypothesis, each difference is
    equally likely to have the opposite sign. p is the share of all choices of signs for which the
    mean is at least as far from zero as the observed mean. With one run per item, this is McNemar's
    exact test. If the differences have several sizes, ``RESAMPLES`` random choices with a fixed
    seed are used.

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
    """Compute Holm's adjusted p-values of several tests, in the order of the tests.

    If all differences with an adjusted p-value of at most 5% are called significant, the
    probability that any of these decisions is wrong is at most 5%. The tests may be dependent.
    (Scipy only provides corrections for the false discovery rate.)

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
