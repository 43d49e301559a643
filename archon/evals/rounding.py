"""Rounding of figures, the same in commands and on pages.

The decimal notation of a number is rounded, a half away from zero: 0.0125 is 1.3 %, and −0.0125 is
−1.3 %. Neither Python's formats (half to even, of the binary value) nor the browser's ``toFixed``
do that. ``view/static/format.js`` has the same rule for pages.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def decimal(value: float, digits: int = 0, *, shift: int = 0) -> str:
    """Format a number with ``digits`` decimals, after multiplying it by 10 to the ``shift``.

    >>> decimal(0.0305, 1, shift=2), decimal(-1.25, 1), decimal(-0.001, 1)
    ('3.1', '-1.3', '0.0')
    """
    exact = Decimal(repr(float(value))).scaleb(shift)
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return f"{abs(rounded) if rounded.is_zero() else rounded:f}"


def signed(value: float, digits: int = 0, *, shift: int = 0) -> str:
    """Format like ``decimal``, with a sign unless the result is zero.

    >>> signed(0.125, 1, shift=2), signed(-0.0125, 1, shift=2), signed(0.0, 1)
    ('+12.5', '-1.3', '0.0')
    """
    text = decimal(value, digits, shift=shift)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def percent(share: float, digits: int = 1) -> str:
    """Format a share in percent, without the percent sign.

    >>> percent(0.285), percent(1.0, 0)
    ('28.5', '100')
    """
    return decimal(share, digits, shift=2)
