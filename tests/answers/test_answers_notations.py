"""Numbers in many notations within sentences are read completely or not at all."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.answers import canonical_number, read_answer, read_target
from archon.answers.numerals import literals_in, normalize


def grouped(whole: int, separator: str) -> str:
    return f"{whole:,}".replace(",", separator)


def indian(whole: int) -> str:
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    pairs = []
    while head:
        head, pair = head[:-2], head[-2:]
        pairs.insert(0, pair)
    return ",".join([*pairs, tail])


def arabic(text: str) -> str:
    return text.translate({ord(str(digit)): chr(0x0660 + digit) for digit in range(10)})


NOTATIONS: dict[str, Callable[[int, int], tuple[str, Fraction]]] = {
    "plain": lambda n, c: (f"{n}.{c:02}", n + Fraction(c, 100)),
    "commas": lambda n, c: (f"{n:,}.{c:02}", n + Fraction(c, 100)),
    "dollars": lambda n, c: (f"${n:,}.{c:02}", n + Fraction(c, 100)),
    "european": lambda n, c: (f"{grouped(n, '.')},{c:02}", n + Fraction(c, 100)),
    "euros": lambda n, c: (f"{grouped(n, '.')},{c:02} €", n + Fraction(c, 100)),
    "spaces": lambda n, c: (grouped(n, " "), Fraction(n)),
    "thin spaces": lambda n, c: (f"{grouped(n, chr(0x202F))},{c:02}", n + Fraction(c, 100)),
    "apostrophes": lambda n, c: (f"{grouped(n, chr(0x2019))}.{c:02}", n + Fraction(c, 100)),
    "underscores": lambda n, c: (f"{n:_}", Fraction(n)),
    "indian": lambda n, c: (f"₹{indian(n)}", Fraction(n)),
    "latex groups": lambda n, c: (grouped(n, "{,}"), Fraction(n)),
    "latex spaces": lambda n, c: (grouped(n, "\\,"), Fraction(n)),
    "scientific": lambda n, c: (f"{n}.{c:02}e3", (n + Fraction(c, 100)) * 1000),
    "powers": lambda n, c: (f"{n}.{c:02} \\times 10^{{-3}}", (n + Fraction(c, 100)) / 1000),
    "superscripts": lambda n, c: (f"{n}.{c:02} × 10⁶", (n + Fraction(c, 100)) * 10**6),
    "millions": lambda n, c: (f"{n}.{c:02} million", (n + Fraction(c, 100)) * 10**6),
    "thousands": lambda n, c: (f"{n}k", Fraction(n) * 1000),
    "fractions": lambda n, c: (f"{n}/{c + 1}", Fraction(n, c + 1)),
    "latex fractions": lambda n, c: (f"\\frac{{{n}}}{{{c + 1}}}", Fraction(n, c + 1)),
    "mixed": lambda n, c: (f"{n} {c + 1}/{c + 2}", n + Fraction(c + 1, c + 2)),
    "halves": lambda n, c: (f"{n}½", n + Fraction(1, 2)),
    "percent": lambda n, c: (f"{n}.{c:02} \\%", n + Fraction(c, 100)),
    "units": lambda n, c: (f"{n}kg", Fraction(n)),
    "arabic digits": lambda n, c: (arabic(str(n)), Fraction(n)),
    "parentheses": lambda n, c: (f"({n})", Fraction(n)),
}
STATED = [
    "The answer is {}.",
    "So the answer is {}, as 2 + 2 = 4.",
    "Answer: {}",
    "**Final answer:** {}",
    "2 + 2 = 4\n#### {}",
    "Hence $\\boxed{{{}}}$ in 3 steps.",
    "The answer is approximately {}.",
    "The answer is x = {}.",
    "Step 2 gave 9. The answer is {}. I used 2 steps.",
]
UNSTATED = ["{}", "It makes {}.", "In 3 steps it comes to {} (see step 3)", "1 + 1 = 2, and so {}!"]


@given(
    notation=st.sampled_from(list(NOTATIONS)),
    whole=st.integers(1, 10**9),
    cents=st.integers(0, 99),
    sign=st.sampled_from(["", "-", "−", "- "]),
    frame=st.sampled_from(STATED),
)
def test_a_stated_number_is_read_in_every_notation(
    notation: str, whole: int, cents: int, sign: str, frame: str
) -> None:
    written, value = NOTATIONS[notation](whole, cents)
    if notation == "parentheses":
        sign = ""
    read = read_answer(frame.format(sign + written), "number")
    assert read is not None
    assert Fraction(read) == (-value if sign else value)


@given(
    notation=st.sampled_from(list(NOTATIONS)),
    whole=st.integers(1, 10**9),
    cents=st.integers(0, 99),
    frame=st.sampled_from(UNSTATED),
)
def test_a_number_that_is_not_stated_is_read_completely_or_not_at_all(
    notation: str, whole: int, cents: int, frame: str
) -> None:
    written, value = NOTATIONS[notation](whole, cents)
    read = read_answer(frame.format(written), "number")
    assert read is None or Fraction(read) == value


@given(
    groups=st.lists(st.text("0123456789", min_size=1, max_size=4), min_size=2, max_size=5),
    separators=st.lists(st.sampled_from(list(".,'_ \u202f")), min_size=4, max_size=4),
    unit=st.sampled_from(["", " kg", " €", "%"]),
)
def test_no_digits_of_a_run_are_lost(groups: list[str], separators: list[str], unit: str) -> None:
    """A number read from groups and separators has all digits, except zeros at either end."""
    run = groups[0] + "".join(map("".join, zip(separators, groups[1:], strict=False)))
    for frame in ("The answer is {}.", "{}", "So she has {} now"):
        read = read_answer(frame.format(run + unit), "number")
        if read is not None:
            kept = "".join(filter(str.isdigit, read)).strip("0")
            assert kept == "".join(groups).strip("0")


PARTS = [
    "5x", "5n", "3i", "2π", "2^{10}", "2^10", "5²", "x^2+1", "x^2 + 1", "2x + 3", "x - 5",
    "3\\sqrt{2}", "3√2", "\\frac{\\pi}{2}", "\\frac{x}{2}", "\\frac{1+2}{x}", "\\binom{5}{2}",
    "(2,3)", "(2, 3)", "\\left(2,3\\right)", "[0, 1)", "(0, \\infty)", "\\{1, 2\\}", "1,2,3",
    "5 or 6", "5 \\text{ or } 6", "between 3 and 5", "3 to 5", "3 out of 5", "25% of 80",
    "3:45", "3:2", "3 : 2", "3rd", "1,000th", "2024-01-15", "15.01.2024", "May 5, 2024",
    "1.2.3", "192.168.1.1", "0.333...", "0.(3)", "0.\\overline{3}", "1/0", "1/2/3", "5 7/2",
    "2 hours 30 minutes", "5'6\"", "45°30'", "16 remainder 2", "16 R 2", "5 ± 2", "5 \\pm 2",
    "1,23,4567", "12,34,56", "1 000 00", "1000 000", "1__000", "1_0", "1..5", "1,,000", "1,5",
    "1.000 €", "5 Billionen", "2.5 million 300", "5 fifths", "5 squared", "5 mod 3", "10K",
    "|-5|", "sqrt(16)", "3(x+1)", "5 degrees below zero", "0x1F", "2e", "1e99999",
]  # fmt: skip


@pytest.mark.parametrize("frame", ["{}", "The answer is {}.", "\\boxed{{{}}}", "So it is {}"])
@pytest.mark.parametrize("written", PARTS)
def test_a_part_of_a_number_is_not_read(written: str, frame: str) -> None:
    assert read_answer(frame.format(written), "number") is None


@pytest.mark.parametrize("written", PARTS)
def test_a_part_of_a_number_is_not_a_target(written: str) -> None:
    assert read_target(written, "number") is None
    assert canonical_number(written) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("In 2023, 500 people came.", "500"),
        ("The numbers are 1, 2, 3", None),
        ("On day 12 500 people came.", None),
        ("There are 12 500 people.", "12500"),
        ("She bought 3 apples and 4 pears.", None),
        ("It takes 3-5 days.", None),
        ("So she has 6 * 7", None),
        ("The trip begins on 5 May 2024 and costs 18 dollars", "18"),
        ("COVID-19 and H2O", None),
        ("We get:\n- 5 apples\n- 7 pears", "7"),
        ("- 3", "-3"),
        ("18.50 dollars, rounded to 2 decimal places", "18.5"),
        ("She pays 18.\n\nNote: a week has 7 days.", "18"),
        ("3 * 6 = <<3*6=18>>18", "18"),
    ],
)
def test_numbers_in_prose(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("18", "18"),
        ("1,234", "1234"),
        ("$18", "18"),
        ("18 square feet", "18"),
        ("60 km/h", "60"),
        ("5 m^2", "5"),
        ("25%", "25"),
        ("5\\text{ cm}", "5"),
        ("-\\frac{1}{2}", "-0.5"),
        ("3 * 6 = 18\n#### 18", "18"),
        ("So it is $\\boxed{18}$.", "18"),
        ("She has 18 left.", None),
        ("3 apples and 4 pears", None),
        ("about 5 or 6", None),
        ("A", None),
        ("5!", None),
        ("3:00", None),
    ],
)
def test_a_target_is_one_number_or_states_one(target: str, value: str | None) -> None:
    assert read_target(target, "number") == value


@given(st.text("0123456789 .,/-xX^()'½k%$€\\", max_size=40))
def test_literals_do_not_overlap(text: str) -> None:
    text = normalize(text)
    literals = list(literals_in(text))
    assert all(a.end <= b.start for a, b in pairwise(literals))
    assert all(0 <= a.start < a.end <= len(text) for a in literals)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So she has 3. It is 1", "3"),
        ("The answer is 12", None),
        ("The answer is 12.", None),
        ("The answer is 12 apples", "12"),
        ("\\boxed{12}", "12"),
        ("12", None),
        ("She has 12 apples and", "12"),
    ],
)
def test_a_number_at_the_end_of_a_truncated_text_may_lack_digits(
    text: str, value: str | None
) -> None:
    assert read_answer(text, "number", is_truncated=True) == value
