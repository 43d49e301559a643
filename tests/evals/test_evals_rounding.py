"""Rounding: half away from zero, in decimal notation."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.cli.console import points, with_interval
from archon.evals.rounding import decimal, percent, signed


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-1.25, 1, "-1.3"),
        (1.25, 1, "1.3"),
        (0.5, 0, "1"),
        (2.5, 0, "3"),
        (-2.5, 0, "-3"),
        (3.05, 1, "3.1"),
        (1e-7, 1, "0.0"),
        (-0.04, 1, "0.0"),
        (1e22, 0, "10000000000000000000000"),
        (0.0, 2, "0.00"),
        (-0.0, 1, "0.0"),
    ],
)
def test_a_half_is_rounded_away_from_zero(value: float, digits: int, text: str) -> None:
    assert decimal(value, digits) == text


@given(st.integers(-(10**7), 10**7), st.integers(0, 3))
def test_opposites_round_to_opposites_and_by_half_a_unit_at_most(number: int, digits: int) -> None:
    value = number / 10_000
    text = decimal(value, digits)
    assert decimal(-value, digits).lstrip("-") == text.lstrip("-")
    assert abs(Decimal(text) - Decimal(repr(value))) <= Decimal(5).scaleb(-digits - 1)


@given(st.integers(0, 10_000))
def test_a_share_is_rounded_as_it_is_written(number: int) -> None:
    """0.285 is 28.5%, though a hundred times it is 28.499999999999996."""
    assert percent(number / 10_000, 2) == f"{number // 100}.{number % 100:02}"


def test_commands_round_by_this_rule() -> None:
    assert points(-0.0125, (-0.0305, 0.0125)) == "-1.3 [-3.1, +1.3]"
    assert with_interval(0.0125, (0.0025, 0.285)) == "1.3% [0.3, 28.5]"
    assert signed(0.0) == "0"
