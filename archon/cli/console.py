"""Where words go: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from archon.evals.rounding import decimal, percent, signed

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> Console:
    """The console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def emit(result: Mapping[str, Any]) -> None:
    """Print the one JSON object of a command's ``--json``."""
    print(json.dumps(result, allow_nan=False, indent=2 if sys.stdout.isatty() else None))


def megabytes(num_bytes: int) -> str:
    """A size as people read it.

    >>> megabytes(98_362_432), megabytes(1_117_320_768)
    ('98 MB', '1117 MB')
    """
    return f"{num_bytes / 1e6:.0f} MB"


def with_interval(share: float | None, interval: tuple[float, float] | None) -> str:
    """A share and its interval as people read them.

    >>> with_interval(0.425, (0.285, 0.578)), with_interval(None, None)
    ('42.5 % [28.5, 57.8]', '–')
    """
    if share is None or interval is None:
        return "–"
    low, high = interval
    return f"{percent(share)} % [{percent(low)}, {percent(high)}]"


def points(difference: float, interval: tuple[float, float]) -> str:
    """A difference of shares and its interval, in points.

    >>> points(0.125, (-0.004, 0.254))
    '+12.5 [-0.4, +25.4]'
    """
    shown = [signed(value, 1, shift=2) for value in (difference, *interval)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def p_text(p_value: float) -> str:
    """A p-value as people read it.

    >>> p_text(0.0401), p_text(0.00004)
    ('0.040', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else decimal(p_value, 3)
