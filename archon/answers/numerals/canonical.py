"""Compute the canonical form of exact rational numbers, using strings of digits."""

from __future__ import annotations

from fractions import Fraction

MAX_EXPONENT = 1000
"""Maximum power of ten in a literal; a literal with a greater power has no value."""
MAX_FRACTION_CHARS = 400
"""Maximum number of digits in a numerator or denominator; a fraction with more has no value."""


def shifted(decimal: str, exponent: int = 0) -> str:
    """Return the canonical form of a decimal number, such as ``007.50``, times 10^``exponent``.

    >>> shifted("007.50"), shifted("1.2", 6)
    ('7.5', '1200000')
    """
    whole, _, rest = decimal.partition(".")
    return _placed(whole + rest, exponent - len(rest))


def _placed(digits: str, exponent: int) -> str:
    digits = digits.lstrip("0")
    shortest = digits.rstrip("0")
    exponent += len(digits) - len(shortest)
    if not shortest:
        return "0"
    if exponent >= 0:
        return shortest + "0" * exponent
    padded = shortest.rjust(1 - exponent, "0")
    return f"{padded[:exponent]}.{padded[exponent:]}"


def power_of_ten(text: str) -> int | None:
    """Convert an exponent to an integer; None if its absolute value exceeds ``MAX_EXPONENT``."""
    if len(text.lstrip("+-0")) > 4 or abs(int(text)) > MAX_EXPONENT:
        return None
    return int(text)


def quotient(whole: str | None, over: str, under: str) -> str | None:
    """Return the canonical form of ``over/under``, or of the mixed number ``whole over/under``.

    Return None if ``under`` is zero, if a part is too long, or if the fraction of a mixed number is
    not below one.
    """
    if max(len(over), len(under)) > MAX_FRACTION_CHARS:
        return None
    numerator, denominator = Fraction(over), Fraction(under)
    if not denominator:
        return None
    value = numerator / denominator
    if whole is not None:
        if value >= 1:
            return None
        value += int(whole)
    return rational(value)


def rational(value: Fraction) -> str:
    """Return the canonical form of a non-negative fraction."""
    places, rest = 0, value.denominator
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    return _placed(str(value * 10**places), -places)


def scaled(value: str, exponent: int) -> str:
    """Return a non-negative canonical number times 10^``exponent``, in canonical form."""
    if "/" in value:
        return rational(Fraction(value) * 10**exponent)
    return shifted(value, exponent)
