"""Arithmetic expressions as trees, which can be evaluated exactly and converted to text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from archon.answers.equations.vocabulary import FACTORS, SCALES

MAX_EXPONENT = 64
MAX_BITS = 1024
"""Maximum number of bits of a numerator or denominator."""


class TooLargeError(ArithmeticError):
    """A value has too many digits. (This error is caught within the package.)"""


class Reading(Enum):
    """A way to interpret units and percent signs.

    - ``plain``: units are ignored, and ``20%`` is 0.2.
    - ``units``: numbers are converted to the smallest unit, so that 2 hours are 7200 seconds.
    - ``percent_of``: an added or subtracted percentage refers to the other operand.
    """

    PLAIN = "plain"
    UNITS = "units"
    PERCENT_OF = "percent_of"


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal.

    ``decimals`` is the number of digits after the decimal point, and ``unit`` is the first word
    after the number. ``factor`` is the size of the unit in the smallest unit of its dimension; for
    a rate such as miles per hour, it is the quotient of two sizes.
    """

    value: Fraction
    text: str
    decimals: int = 0
    percent: bool = False
    unit: str = ""
    factor: Fraction = Fraction(1)


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node


@dataclass(frozen=True, slots=True)
class Operation:
    """A binary operation. ``operator`` is one of ``+ - * / ^`` or ``of``, which multiplies."""

    operator: str
    left: Node
    right: Node


Node = Number | Negative | Operation


def evaluate(
    node: Node, reading: Reading, exact: Mapping[Fraction, Fraction] | None = None
) -> Fraction:
    """Return the exact value of an expression.

    ``exact`` maps rounded results of earlier statements to exact values, which replace them.

    Raises
    ------
    ZeroDivisionError
        The expression divides by zero.
    TooLargeError
        A value has too many digits.
    """
    if isinstance(node, Number):
        value = exact.get(node.value, node.value) if exact else node.value
        if node.percent:
            value /= 100
        return _bounded(value * node.factor if reading is Reading.UNITS else value)
    if isinstance(node, Negative):
        return -evaluate(node.operand, reading, exact)
    left = evaluate(node.left, reading, exact)
    right = evaluate(node.right, reading, exact)
    if node.operator == "^":
        return _power(left, right)
    if node.operator in "+-":
        if reading is Reading.PERCENT_OF and is_percentage(node.right):
            right *= left
        return _bounded(left + right if node.operator == "+" else left - right)
    return _bounded(left / right if node.operator == "/" else left * right)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise TooLargeError
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent.numerator) > MAX_BITS:
        raise TooLargeError
    return Fraction(base**exponent.numerator)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise TooLargeError
    return value


def numbers_of(node: Node) -> Iterator[Number]:
    """Yield the number literals of an expression, from left to right."""
    if isinstance(node, Number):
        yield node
    elif isinstance(node, Negative):
        yield from numbers_of(node.operand)
    else:
        yield from numbers_of(node.left)
        yield from numbers_of(node.right)


def leading(node: Node) -> Node:
    """Return the first operand of an expression, with its sign."""
    while isinstance(node, Operation):
        node = node.left
    return node


def literal(node: Node) -> Number | None:
    """Return the number if an expression consists only of a number and signs; else None."""
    if isinstance(node, Negative):
        node = node.operand
    return node if isinstance(node, Number) else None


def is_percentage(node: Node) -> bool:
    """Return whether an expression is a percentage: ``20%``, ``20% + 5%``, ``20% / 2``."""
    if isinstance(node, Number):
        return node.percent
    if isinstance(node, Negative):
        return is_percentage(node.operand)
    if node.operator in "+-":
        return is_percentage(node.left) and is_percentage(node.right)
    return node.operator == "/" and is_percentage(node.left) and not is_percentage(node.right)


def has_size(number: Number) -> bool:
    """Return whether a number has a unit whose size is known."""
    return number.factor != 1 or number.unit in FACTORS


def mixes_units(node: Node) -> bool:
    """Return whether an expression adds or subtracts numbers with units of different sizes."""
    if isinstance(node, Number):
        return False
    if isinstance(node, Negative):
        return mixes_units(node.operand)
    if node.operator in "+-":
        left, right = literal(node.left), literal(node.right)
        if left and right and has_size(left) and has_size(right) and left.factor != right.factor:
            return True
    return mixes_units(node.left) or mixes_units(node.right)


def last_place(node: Node) -> Fraction | None:
    """Return the value of one unit of the last digit: 0.1 for ``2.5``, 100 for ``1.5 * 10^3``.

    Return None for any other expression.
    """
    if isinstance(node, Operation) and node.operator == "*" and isinstance(node.right, Operation):
        place, power = last_place(node.left), node.right
        base = literal(power.left)
        if place is None or power.operator != "^" or base is None or base.value != 10:
            return None
        return place * evaluate(power, Reading.PLAIN)
    number = literal(node)
    return None if number is None else Fraction(10) ** -number.decimals


# ----------------------------------------------------------------------------------- as text

_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "of": 2, "^": 4}
_MAX_RENDERED = 120


def render(node: Node) -> str:
    """Return an expression as text without unknown units; shorten it if it is very long."""
    text = _render(node, 0)
    return text if len(text) <= _MAX_RENDERED else f"{text[:_MAX_RENDERED]}…"


def _render(node: Node, context: int) -> str:
    if isinstance(node, Number):
        return node.text + render_unit(node)
    if isinstance(node, Negative):
        text = f"-{_render(node.operand, 3)}"
        return f"({text})" if context > 1 else text
    strength = _STRENGTH[node.operator]
    sign = "^" if node.operator == "^" else f" {node.operator} "
    left = _render(node.left, strength + (node.operator == "^"))
    text = f"{left}{sign}{_render(node.right, strength + 1)}"
    return f"({text})" if strength < context else text


def render_unit(number: Number) -> str:
    """Return a space and the unit of a number, or "" if the unit is unknown."""
    known = number.unit in FACTORS or number.unit in SCALES
    return f" {number.unit}" if known else ""


def render_value(value: Fraction) -> str:
    """Return a value as ``=`` and a decimal number, or ``≈`` if rounded to six decimals.

    >>> render_value(Fraction(5, 2)), render_value(Fraction(10, 3))
    ('= 2.5', '≈ 3.333333')
    """
    scaled = value * 10**6
    exact = scaled.denominator == 1
    digits = str(abs(round(scaled))).rjust(7, "0")
    decimals = digits[-6:].rstrip("0")
    sign = "-" if value < 0 else ""
    whole = f"{sign}{digits[:-6]}{'.' if decimals else ''}{decimals}"
    return f"{'=' if exact else '≈'} {whole}"
