"""Judge a statement by comparing its two sides, with units, percentages and rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from archon.answers.equations.expressions import (
    Node,
    Operation,
    Reading,
    TooLargeError,
    evaluate,
    has_size,
    is_percentage,
    last_place,
    literal,
    mixes_units,
    numbers_of,
)

Verdict = Literal["right", "rounded", "wrong"]

_NOISE = Fraction(1, 10**12)
"""Relative error that is accepted as floating-point noise, as in 0.30000000000000004."""
_NEAR = Fraction(1, 50)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the values of both sides; a side that divides by zero has the value None.

    The values ignore units. If the left side adds different units, its value is in the unit of the
    right side.
    """

    verdict: Verdict
    left: Fraction | None
    right: Fraction | None


def judge(
    left: Node,
    right: Node,
    *,
    approximate: bool = False,
    with_remainder: bool = False,
    exact: Mapping[Fraction, Fraction] | None = None,
) -> Judgement | None:
    """Judge the statement ``left = right``.

    Return None if a side is too large to evaluate, or if the sides differ only slightly and the
    right side has decimals that may have been rounded.

    Parameters
    ----------
    approximate
        Whether the text says ``≈`` or "about".
    with_remainder
        Whether the text names a remainder, so that a quotient is rounded down.
    exact
        Rounded results of earlier statements → their exact values.
    """
    try:
        value = _value(left)
        stated = _value(right)
        if value is None or stated is None:
            return Judgement("wrong", value, stated)
        if value == stated:
            return Judgement("right", value, stated)
        if mixes_units(left):
            value = _converted(left, right)
        readings = list(_readings(left, right, exact or {}))
    except TooLargeError:
        return None
    if any(a == b for a, b, _ in readings):
        return Judgement("right", value, stated)
    for a, b, place in readings:
        if place is not None and (
            _rounds_to(a, b, place)
            or (approximate and _is_near(a, b, place))
            or (with_remainder and _is_quotient(left) and b == a.__floor__())
        ):
            return Judgement("rounded", value, stated)
    if _is_coarse(right) and abs(value - stated) <= _NEAR * abs(value):
        return None
    return Judgement("wrong", value, stated)


def _value(node: Node) -> Fraction | None:
    try:
        return evaluate(node, Reading.PLAIN)
    except ZeroDivisionError:
        return None


def _converted(left: Node, right: Node) -> Fraction:
    """Return the left value in the right side's unit, by default in the left side's last unit."""
    result = literal(right)
    if result is None or not has_size(result):
        *_, result = numbers_of(left)
    return evaluate(left, Reading.UNITS) / result.factor


def _readings(
    left: Node, right: Node, exact: Mapping[Fraction, Fraction]
) -> Iterator[tuple[Fraction, Fraction, Fraction | None]]:
    """Yield (left value, right value, place) for each interpretation of units and percentages.

    ``place`` is the value of one unit in the last digit of the right side. If it is None, rounding
    is not allowed.
    """
    value, stated = evaluate(left, Reading.PLAIN), evaluate(right, Reading.PLAIN)
    place, result = last_place(right), literal(right)
    percent = result is not None and result.percent
    if place is not None and percent:
        yield value, stated * 100, place if abs(value) >= 1 else None
        place /= 100
    yield value, stated, place
    factors = {number.factor for number in numbers_of(left)}
    if any(map(has_size, numbers_of(left))) or (result is not None and result.factor != 1):
        yield from _in_units(left, right, factors, place)
    if any(number.percent for number in numbers_of(left)):
        yield evaluate(left, Reading.PERCENT_OF), stated, place
        if is_percentage(left) and not percent:
            yield value * 100, stated, place
    if exact:
        try:
            yield evaluate(left, Reading.PLAIN, exact), stated, place
            if place is not None and percent:
                yield evaluate(left, Reading.PLAIN, exact), stated * 100, place * 100
        except ZeroDivisionError:
            return


def _in_units(
    left: Node, right: Node, factors: set[Fraction], place: Fraction | None
) -> Iterator[tuple[Fraction, Fraction, Fraction | None]]:
    """Yield the interpretations in which units are converted, as tuples like in ``_readings``.

    A result without a unit may have the unit of any number on the left. An integer result must be
    exact; for example, 91 minutes are not 2 hours.
    """
    value = evaluate(left, Reading.UNITS)
    result = literal(right)
    size = result.factor if result is not None else Fraction(1)
    if place == 1 or not any(map(has_size, numbers_of(left))):
        place = None
    yield value, evaluate(right, Reading.UNITS), None if place is None else place * size
    if result is not None and not has_size(result):
        for factor in sorted(factors):
            stated = evaluate(right, Reading.PLAIN)
            yield value, stated * factor, None if place is None else place * factor


# ----------------------------------------------------------------------------------- rounding


def _rounds_to(value: Fraction, stated: Fraction, place: Fraction) -> bool:
    """Return whether ``value`` rounds to ``stated``; ``place`` is the value of its last place.

    Ties may be rounded up, away from zero, or to an even digit. A value without a finite decimal
    expansion may also be truncated after the decimal point: for 2 / 3, both 0.67 and 0.66 are
    accepted.
    """
    distance = abs(value - stated)
    if distance * 2 < place or (place < _NOISE and distance < _NOISE * abs(value)):
        return True
    if distance * 2 == place:
        return stated > value or abs(stated) > abs(value) or stated / place % 2 == 0
    return (
        place < 1
        and distance < place
        and abs(stated) < abs(value)
        and value * stated >= 0
        and not _has_finite_expansion(value)
    )


def _has_finite_expansion(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _is_near(value: Fraction, stated: Fraction, place: Fraction) -> bool:
    """Return whether ``value`` is approximately ``stated``.

    This is the case if ``value`` rounds to ``stated`` at the last nonzero digit of ``stated``, or
    if the difference is both less than one unit of that digit and at most 10% of ``value``.
    """
    while stated and stated % (place * 10) == 0:
        place *= 10
    distance = abs(value - stated)
    return distance * 2 <= place or (distance < place and distance * 10 <= abs(value))


def _is_quotient(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator == "/"


def _is_coarse(node: Node) -> bool:
    """Return whether an expression calculates with decimals that may have been rounded."""
    return literal(node) is None and any(number.decimals > 1 for number in numbers_of(node))
