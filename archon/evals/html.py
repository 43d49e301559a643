"""Figures with their intervals, as they stand in reprs and in the HTML of notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from archon.evals.rounding import decimal, percent, signed


def interval_text(share: float | None, interval: Sequence[float] | None) -> str:
    """Return a share as a percentage with its interval; a dash if it is unknown.

    >>> interval_text(0.5, (0.25, 0.75))
    '50.0% [25.0, 75.0]'
    """
    if share is None:
        return "–"
    ends = "" if interval is None else f" [{', '.join(map(percent, interval))}]"
    return f"{percent(share)}%{ends}"


def points_text(difference: float, interval: Sequence[float] | None) -> str:
    """Return a difference of shares in percentage points, with its interval.

    >>> points_text(0.05, (-0.02, 0.12))
    '+5.0 [-2.0, +12.0]'
    """
    shown = [signed(value, 1, shift=2) for value in (difference, *(interval or ()))]
    return shown[0] if interval is None else f"{shown[0]} [{', '.join(shown[1:])}]"


def number_text(value: float | None, digits: int = 0) -> str:
    """Return a number with ``digits`` decimals; a dash if it is unknown."""
    return "–" if value is None else decimal(value, digits)
