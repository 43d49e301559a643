"""Error bars. Items are the units of chance; several runs of one item are never taken for more.

Sources: E. B. Wilson, JASA 22 (1927), for one share; R. G. Newcombe, Statistics in Medicine 17
(1998), 2635-2650, method 8, for the difference of two shares on the same items; Q. McNemar,
Psychometrika 12 (1947), for the test. Means of several runs take the place of right or wrong
through the effective sample size (N. Dean and M. Pagano, J. Survey Stat. Methodol. 3 (2015)) and
the rule by which Newcombe's interval is made from two others (G. Y. Zou and A. Donner, Statistics
in Medicine 27 (2008)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean

from archon.errors import require

CONFIDENCE = 0.95

Interval = tuple[float, float]


def wilson_interval(share: float, trials: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share of ``trials`` (which need not be whole).

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
    """Interval of the mean over items, each of which was run once or several times.

    Parameters
    ----------
    item_means : for each item the share of its runs that were right, in [0, 1].
    runs : runs of all items together.

    The variance comes from the spread between items. It is turned into an effective number of
    trials for Wilson's interval: the number of items where each item is always right or always
    wrong, up to the number of runs where items do not differ. With one run an item this is
    Wilson's interval itself.
    """
    share = fmean(item_means)
    between = sum((mean - share) ** 2 for mean in item_means) / len(item_means) ** 2
    trials = float(len(item_means))
    if between > 0:
        trials = min(share * (1 - share) / between, float(runs))
    elif 0 < share < 1:
        trials = float(runs)
    return wilson_interval(share, trials, confidence)


def paired_interval(
    a: Sequence[float],
    b: Sequence[float],
    runs_a: int,
    runs_b: int,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Interval of mean(a) - mean(b), where ``a[i]`` and ``b[i]`` are means of the same item."""
    mean_a, mean_b = fmean(a), fmean(b)
    low_a, high_a = mean_interval(a, runs_a, confidence)
    low_b, high_b = mean_interval(b, runs_b, confidence)
    correlation = _correlation(a, b)
    difference = mean_a - mean_b

    def reach(over: float, under: float) -> float:
        return math.sqrt(max(0.0, over**2 + under**2 - 2 * correlation * over * under))

    return (
        difference - reach(mean_a - low_a, high_b - mean_b),
        difference + reach(high_a - mean_a, mean_b - low_b),
    )


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one side does not vary."""
    mean_a, mean_b = fmean(a), fmean(b)
    together = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    apart = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return together / apart if apart else 0.0


def paired_p_value(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided exact p of "neither is better", from the items on which the two differ.

    With one run an item this is McNemar's exact test; with several, the sign test of item means.

    Raises
    ------
    MissingExtraError : scipy is not installed.
    """
    better = sum(x > y for x, y in zip(a, b, strict=True))
    differing = sum(x != y for x, y in zip(a, b, strict=True))
    if not differing:
        return 1.0
    return float(require("scipy.stats", "evals").binomtest(better, differing).pvalue)
