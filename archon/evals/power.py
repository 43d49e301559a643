"""The statistical power of a comparison, and warnings about runs with too few items.

Normal approximations are used, as is common for planning (J. Cohen, Statistical Power Analysis,
1988).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pvariance

from archon.evals.rounding import percent
from archon.evals.statistics import (
    CONFIDENCE,
    Interval,
    effective_trials,
    wilson_interval,
    with_two_added,
)

POWER = 0.8
WIDE = 0.10
"""A warning is given if the interval of an accuracy is wider than plus or minus this."""
WANTED = 0.05
"""The warning says how many items are needed for an interval of plus or minus this."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_Z_POWER = NormalDist().inv_cdf(POWER)
_ROUNDING = 1e-12
"""Upper bound on the rounding error of a mean of differences."""


@dataclass(frozen=True, slots=True)
class PairPower:
    """The statistical power of a paired comparison."""

    detectable_difference: float
    """The smallest difference that the items detect with a probability of 80%; at most 1."""
    items_needed: int | None
    """The number of items that detect the observed difference with a probability of 80%; None if
    the observed difference is 0."""


def pair_power(differences: Sequence[float]) -> PairPower:
    """Compute the power of a paired comparison, given the difference for each item.

    As ``paired_interval`` does, this adds two differences, so that the variance is above 0 even if
    all differences are 0.
    """
    spread = (_Z + _Z_POWER) * math.sqrt(pvariance(with_two_added(differences)))
    difference = fmean(differences)
    needed = math.ceil((spread / difference) ** 2) if abs(difference) > _ROUNDING else None
    return PairPower(min(1.0, spread / math.sqrt(len(differences))), needed)


def pair_warning(
    a: str, b: str, differences: Sequence[float], interval: Interval, power: PairPower
) -> str | None:
    """Return a warning if the interval of the difference contains 0; otherwise None.

    In this case, the items do not show whether run ``a`` or run ``b`` is better.
    """
    low, high = interval
    if low > _ROUNDING or high < -_ROUNDING:
        return None
    number = len(differences)
    verb, they, few = (
        ("does", "it detects", "it is") if number == 1 else ("do", "they detect", "they are")
    )
    if power.detectable_difference < 1:
        points = percent(power.detectable_difference)
        detects = f"{they} a difference of {points} points with 80% power"
    else:
        detects = f"{few} too few to detect any difference with 80% power"
    warning = f"{a} and {b}: {_items(number)} {verb} not show which is better; {detects}"
    if power.items_needed is None:
        return warning
    observed = percent(abs(fmean(differences)))
    needed = _items(_about(power.items_needed))
    return f"{warning}; to detect the observed {observed} points, about {needed} are needed"


def accuracy_warning(item_means: Sequence[float], runs: int) -> str | None:
    """Return a warning if the interval of the mean is wider than ±10 points; otherwise None.

    The parameters are the same as for ``mean_interval``. The warning recommends a number of items
    for ±5 points. It assumes that the accuracy is in the middle of the interval, and that each item
    has the same number of runs as now.
    """
    trials = effective_trials(item_means, runs)
    low, high = wilson_interval(fmean(item_means), trials)
    if high - low <= 2 * WIDE:
        return None
    middle = (low + high) / 2
    needed = middle * (1 - middle) * (_Z / WANTED) ** 2 * len(item_means) / trials
    half = percent((high - low) / 2, 0)
    return (
        f"with {_items(len(item_means))} the accuracy is uncertain by ±{half} points; "
        f"±{percent(WANTED, 0)} needs about {_items(_about(needed))}"
    )


def _items(number: int) -> str:
    return f"{number:,} {'item' if number == 1 else 'items'}"


def _about(number: float) -> int:
    """Round up to two significant digits.

    >>> _about(1234), _about(96)
    (1300, 96)
    """
    unit = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return math.ceil(number / unit) * unit
