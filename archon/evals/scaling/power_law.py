"""A power law of pass@k: log(pass@k) = a k^b, with a and b below 0.

Source: B. Brown et al., "Large Language Monkeys" (arXiv 2407.21787, 2024), section 3. The law is
fitted by least squares to pass@k itself. Its uncertainty is that of the items: the law is fitted
again to resampled items (B. Efron, Annals of Statistics 7, 1979). Whether the law holds for more
samples than were drawn is not part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from archon.errors import require
from archon.evals.statistics import Interval

RESAMPLES = 400
FACTORS = (2, 4, 8)
"""The law is extrapolated to this many times the largest number of samples."""
MIN_POINTS, MIN_ITEMS = 3, 5
MAX_ERROR = 0.02
"""Largest difference to a measured pass@k for which the law is used; more would mislead."""
_LIMIT = 30.0
"""Bound of log(−a) and of −b, which keeps the exponential finite."""


@dataclass(frozen=True)
class Extrapolation:
    """pass@k for more samples than were drawn, as the fitted law predicts it."""

    k: int
    passed: float
    interval: Interval
    """95% interval over resampled items; assumes that the law holds."""


@dataclass(frozen=True)
class PowerLaw:
    """The law fitted to the pass@k of a run."""

    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    largest_error: float
    """Largest difference between the law and pass@k, as a share."""
    extrapolated: tuple[Extrapolation, ...]

    def at(self, k: float) -> float:
        """Return pass@k according to the law."""
        return _law(self.a, self.b, k)

    def to_json(self) -> dict[str, Any]:
        """Return the law as plain data."""
        return asdict(self)


def fit(ks: Sequence[int], item_passes: Sequence[Sequence[float]]) -> PowerLaw | str:
    """Fit the law; return the reason as text if the data do not determine it.

    Parameters
    ----------
    ks
        The numbers of samples.
    item_passes
        For each item, its pass@k for each of ``ks``.

    Raises
    ------
    MissingExtraError
        Scipy is not installed.
    """
    if len(ks) < MIN_POINTS:
        return f"a power law needs at least {MIN_POINTS} numbers of samples, not {len(ks)}"
    if len(item_passes) < MIN_ITEMS:
        return f"a power law needs at least {MIN_ITEMS} items, not {len(item_passes)}"
    means = [fmean(column) for column in zip(*item_passes, strict=True)]
    if means[0] <= 0 or means[0] >= 1 or means[-1] - means[0] < 1e-9:
        return (
            f"pass@k is {100 * means[0]:.0f}% for {ks[0]} and {100 * means[-1]:.0f}% for {ks[-1]} "
            "samples, which determines no power law"
        )
    a, b = _fitted(ks, means)
    error = max(abs(_law(a, b, k) - mean) for k, mean in zip(ks, means, strict=True))
    if error > MAX_ERROR:
        return (
            f"pass@k does not follow a power law: the best one misses a measured value by "
            f"{100 * error:.1f} points"
        )
    larger = [factor * ks[-1] for factor in FACTORS]
    laws = [_fitted(ks, sample) for sample in _resampled(item_passes)]
    return PowerLaw(
        a,
        b,
        _percentiles([law[0] for law in laws], a),
        _percentiles([law[1] for law in laws], b),
        error,
        tuple(
            Extrapolation(
                k, _law(a, b, k), _percentiles([_law(*law, k) for law in laws], _law(a, b, k))
            )
            for k in larger
        ),
    )


def _law(a: float, b: float, k: float) -> float:
    return math.exp(a * k**b)


def _fitted(ks: Sequence[int], means: Sequence[float]) -> tuple[float, float]:
    """Return a and b that minimize the squared differences to pass@k."""
    import numpy as np

    optimize = require("scipy.optimize", "evals")
    k, wanted = np.array(ks, dtype=float), np.array(means, dtype=float)

    def residuals(parameters: Any) -> Any:
        return np.exp(-np.exp(parameters[0]) * k ** parameters[1]) - wanted

    clipped = np.clip(wanted, 1e-4, 1 - 1e-4)
    slope, offset = np.polyfit(np.log(k), np.log(-np.log(clipped)), 1)
    start = np.clip([offset, min(slope, -1e-3)], -_LIMIT + 1e-6, [_LIMIT - 1e-6, -1e-6])
    found = optimize.least_squares(residuals, start, bounds=(-_LIMIT, [_LIMIT, 0.0]))
    return -math.exp(found.x[0]), float(found.x[1])


def _resampled(item_passes: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the means of pass@k over resampled items."""
    import numpy as np

    rows = np.array(item_passes)
    chosen = np.random.default_rng(0).integers(len(rows), size=(RESAMPLES, len(rows)))
    return [rows[own].mean(axis=0).tolist() for own in chosen]


def _percentiles(values: Sequence[float], estimate: float) -> Interval:
    """Return the 2.5% and 97.5% percentiles, extended to contain the estimate."""
    ranked = sorted(values)
    cut = round(0.025 * (len(ranked) - 1))
    return min(ranked[cut], estimate), max(ranked[-1 - cut], estimate)
