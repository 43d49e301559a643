"""Statistical power: the differences that the items can detect, and the items that are needed.

Normal approximations, as usual for planning: J. Cohen, Statistical Power Analysis (1988).
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
"""Half the width of an accuracy's interval above which there is a warning."""
WANTED = 0.05
"""Half the width that the warning recommends."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_Z_POWER = NormalDist().inv_cdf(POWER)
_ROUNDING = 1e-12
"""Upper bound of the rounding error of sums of fractions."""


@dataclass(frozen=True, slots=True)
class PairPower:
    """The power of a paired comparison."""

    detectable_difference: float
    """The difference that the items detect with 80 % probability; at most 1."""
    items_needed: int | None
    """Items that detect the observed difference with this probability; None if it is 0."""


def pair_power(differences: Sequence[float]) -> PairPower:
    """Compute the power of a paired comparison from its differences.

    The variance is that of ``paired_interval``, so that it is above 0 even if no item differs.
    """
    spread = (_Z + _Z_POWER) * math.sqrt(pvariance(with_two_added(differences)))
    difference = fmean(differences)
    needed = math.ceil((spread / difference) ** 2) if abs(difference) > _ROUNDING else None
    return PairPower(min(1.0, spread / math.sqrt(len(differences))), needed)


def pair_warning(
    a: str, b: str, differences: Sequence[float], interval: Interval, power: PairPower
) -> str | None:
    """Return a warning if the items cannot tell ``a`` and ``b`` apart: 0 is in the interval."""
    low, high = interval
    if low > _ROUNDING or high < -_ROUNDING:
        return None
    if power.detectable_difference < 1:
        points = percent(power.detectable_difference)
        detects = f"they detect a difference of {points} points with 80 % power"
    else:
        detects = "they are too few to detect any difference with 80 % power"
    warning = f"{a} and {b}: {len(differences):,} items do not show which is better; {detects}"
    if power.items_needed is None:
        return warning
    observed = percent(abs(fmean(differences)))
    return f"{warning}; the observed {observed} need about {_about(power.items_needed):,} items"


def accuracy_warning(item_means: Sequence[float], runs: int) -> str | None:
    """Return a warning if the interval of the mean is wider than ±10 points.

    The parameters are those of ``mean_interval``. The recommended number of items, for ±5, assumes
    an accuracy in the middle of the interval and the same number of runs per item.
    """
    trials = effective_trials(item_means, runs)
    low, high = wilson_interval(fmean(item_means), trials)
    if high - low <= 2 * WIDE:
        return None
    middle = (low + high) / 2
    needed = middle * (1 - middle) * (_Z / WANTED) ** 2 * len(item_means) / trials
    half = percent((high - low) / 2, 0)
    return (
        f"with {len(item_means):,} items the accuracy is uncertain by ±{half} points; "
        f"±{percent(WANTED, 0)} needs about {_about(needed):,} items"
    )


def _about(number: float) -> int:
    """Round up to two digits.

    >>> _about(1234), _about(96)
    (1300, 96)
    """
    unit = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return math.ceil(number / unit) * unit
