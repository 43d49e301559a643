"""Consistent rounding for commands and HTML pages.

Numbers are rounded in decimal, with ties away from zero: 0.0125 becomes 1.3%, and −0.0125 becomes
−1.3%. Python's formatting rounds the exact binary value, with ties to even. The browser's
``toFixed`` also differs, so pages apply the same rule in ``archon/pages/static/format.js``.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def decimal(value: float, digits: int = 0, *, shift: int = 0) -> str:
    """Format ``value`` · 10^``shift`` with ``digits`` decimals.

    >>> decimal(0.0305, 1, shift=2), decimal(-1.25, 1), decimal(-0.001, 1)
    ('3.1', '-1.3', '0.0')
    """
    exact = Decimal(repr(float(value))).scaleb(shift)
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return f"{abs(rounded) if rounded.is_zero() else rounded:f}"


def signed(value: float, digits: int = 0, *, shift: int = 0) -> str:
    """Format as ``decimal`` does, with a plus or minus sign unless the result is zero.

    >>> signed(0.125, 1, shift=2), signed(-0.0125, 1, shift=2), signed(0.0, 1)
    ('+12.5', '-1.3', '0.0')
    """
    text = decimal(value, digits, shift=shift)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def percent(share: float, digits: int = 1) -> str:
    """Format a share as a percentage, without the percent sign.

    >>> percent(0.285), percent(1.0, 0)
    ('28.5', '100')
    """
    return decimal(share, digits, shift=2)
