"""Tables of statements that models and people write, with their verdicts."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archon.answers.equations import check_equations

RIGHT = [
    # operators
    "48/2=24", "3 x 4 = 12", "3x4 = 12", "3 X 4 = 12", "3 · 4 = 12", "12 ÷ 4 = 3", "2^10 = 1024",
    "2 ** 3 = 8", "2**3=8", "5² = 25", "(3 + 4) * 2 = 14", "-3 + 4 = 1", "5 - -3 = 8",
    "5 - (-3) = 8", "9 - 35 = -26", "5 − 3 = 2", "100 – 10 = 90", "-5 * -4 = 20", "(-5)^2 = 25",
    "3 ＋ 4 ＝ 7", "5(3+2) = 25", "5 (3 + 2) = 25", "55(.20)=11", "(3)(4) = 12", "0.1 + 0.2 = 0.3",
    ".5 + .25 = .75", "1e3 + 1 = 1001", "1.5 × 10^3 + 1 = 1501", "1/2 = 2/4", "10 * 20*.2 = 40",
    # percentages and shares
    "20% of 50 = 10", "15% * 80 = 12", "50 + 10% = 55", "50 - 20% = 40", "100% - 20% = 80%",
    "100% - 20% = 80", "20/50 = 40%", "20/50 * 100 = 40%", "0.2 * 100 = 20%",
    "100 minus 20 percent is 80", "5 % of 60 = 3", "50% of 50% of 40 = 10", "1/2 of 30 = 15",
    "half of 30 is 15", "twice 6 is 12", "two thirds of 30 is 20", "two-thirds of 30 = 20",
    "0.25 of 40 = 10", "3/4 of the 20 students = 15", "the sum of 3 and 4 is 7",
    "the difference between 3 and 10 is 7", "2 1/2 * 4 = 10", "2½ + 1 = 3.5", "10/3 = 3 1/3",
    # currency, separators and units
    "$5 + $3 = $8", "€5 + €3 = €8", "5 dollars + 3 dollars = 8 dollars", "Rs. 5 + Rs. 3 = Rs. 8",
    "USD 5 + USD 3 = USD 8", "5 € + 3 € = 8 €", "0 x -1 = 0", "$1,234.50 + $0.50 = $1,235",
    "₹1,00,000 + ₹1 = ₹1,00,001", "1,234,567 + 1 = 1,234,568", "1\u2009000 + 1 = 1\u2009001",
    "$1 / 2 = 50 cents", "3 dollars + 50 cents = $3.50", "$100,000,000 * .6 = $60,000,000",
    "3 boxes * 4 apples/box = 12 apples", "12 apples + 3 apples = 15 apples", "46*7kg = 322kg",
    "5 hours × $12/hour = $60", "$12 an hour * 5 hours = $60",
    "20 feet / 10 feet/second = 2 seconds", "3 hours * 60 minutes/hour = 180 minutes",
    "2 hours + 30 minutes = 150 minutes", "2 hours + 30 minutes = 150",
    "2 weeks * 5 hours/day = 70 hours", "120*3.5=420 million", "$3 million / 1000 = $3000",
    "5*24 = 10 dozen", "3 * 4 inches = 1 foot", "3/4 cup = 12 tablespoons", "5 * 3 = 15 m^2",
    "2 pairs of shoes * 3 = 6", "77 bolts - 3 left over = 74", "4-month - 3 = 1",
    # LaTeX and Markdown
    r"\frac{3}{4} \times 8 = 6", r"\(\frac12 \cdot 10 = 5\)", r"\[ \frac{330}{1650} = 0.20 \]",
    r"\[ 26 \text{ flowers} \times 2.0 \text{ meters/flower} = 52 \text{ meters} \]",
    r"$\left( 3 + 4 \right) \div 7 = 1$", r"$20\% \times 50 = \$10$", r"1{,}000 + 1 = 1{,}001",
    r"1\,000 + 1 = 1\,001", r"2\frac{1}{2} + 1 = 3.5", r"$3 \times 4 = \boxed{12}$",
    r"3^{2} + 4^2 = 25", "$3$ $\\times$ $4$ $=$ $12$", "**3 + 4 = 7**", "3 * 4 = **12**",
    "*3 + 4 = 7*", "`3 + 4 = 7`", "* 3 + 4 = 7", "- 30 liters - 3 liters = 27 liters",
    "- 3 + 4 = 1", "| 3 + 4 = 7 |",
    # where statements stand
    "x = 3 + 4 = 7", "1. 3 + 4 = 7", "Step 2: 3 + 4 = 7", "f(3) = 3 + 4 = 7",
    "Week 2 = 10 + 5 = 15", "12 = 3 * 4", "3 + 4 = 7!", "3 + 4 = 7 - great",
    "6 / 2 = 3 times as many", "[1 + (30/60)] hours = 1.5 hours", "3 + 4\n= 7", "3 + 4 =\n7",
    "3 ≠ 4 + 1 = 5", "A = πr² = 3.14 × 5² = 78.5", "3 apples, and 4 + 5 = 9",
    "12 apples (3 dozen - 24 = 12)",
    # words
    "3 plus 4 is 7", "12 divided by 4 is 3", "12 multiplied by 4 gives 48", "6 times 7 makes 42",
    "3 squared = 9", "5 plus 3 times 2 is 11", "3 + 4 is equal to 7",
    "10 minus 3 leaves 7 apples.",
]  # fmt: skip

ROUNDED = [
    "10/3 = 3.33", "2/3 = 0.67", "2/3 = 0.66", "2/3 = 66.7%", "7/2 = 4", "5/2 = 2", "5/2 = 3",
    "10 / 3 ≈ 3.3", "98 + 103 ≈ 200", "3.33 * 3 = 10", "1/3 * 100 = 33%", "3 + 4.1 = about 7",
    "100 stickers / 3 friends = 33 stickers each", "50/3 = 16 with 2 remaining", "27 ÷ 4 = 6 R3",
    "27 / 4 = 6 r 3", "17 divided by 5 is 3 remainder 2", "0.1 + 0.2 = 0.30000000000000004",
    r"\frac{10}{3} \approx 3",
]  # fmt: skip

WRONG = [
    "48 / 2 = 26", "2**3=9", "3 + 4 * 2 = 14", "-3 + 4 = 7", "9 - 35 = 26", "-5 * -4 = -20",
    "20% of 50 = 1000", "15% * 80 = 1200", "100% - 20% = 70%", "0.10 * 1 = 0%",
    "half of 30 is 16", "two-thirds of 30 = 21", "the sum of 3 and 4 is 8", "$5 + $3 = $9",
    "$1 / 2 = 51 cents", "3 boxes * 4 apples/box = 13 apples", "5 hours × $12/hour = $61",
    "he has 10-3=8 left", "3 hours * 60 minutes/hour = 190 minutes",
    "2 hours + 30 minutes = 160 minutes", r"\(\frac{1}{2} \cdot 10 = 6\)",
    r"$3 \times 4 = \boxed{13}$", "3 * 4 = **13**", "1) 3 + 4 = 8",
    r"\begin{aligned} x &= 3 + 4 \\ &= 8 \end{aligned}", "x = 3 + 4 = 8", "Step 2: 3 + 4 = 8",
    "3 plus 4 equals 8", "6 times 7 is 43.", "12 = 3 * 5", "10/3 = 3.34", "10/3 = 3 1/4",
    "7 / 2 = 3", "50/3 = 16", "98 + 103 ≈ 300", "12.5 * 12 = 15", "1/2 = 2/5", "5 / 0 = 0",
    "36 - 40 = 4", "(5 * 4) = 21", "For the 5 kids she needs 5 * 3 = 16", "6/2 = 4 times as many",
    "| 3 | 4 | 3+4=8 |", "3 apples, 4 + 5 = 10", "- 3 + 4 = 8", "So 60 miles - that's 60/2 = 31",
    "0.1 + 0.2 = 0.31", "3 + 4 = 2nd", "8 hours - 2 hours of rest = 7 hours", "3 ＋ 4 ＝ 8",
]  # fmt: skip

SILENT = [
    # no statement at all
    "", "=", "= 5", "3 + 4 =", "x = 5", "a = b = c", "2x = 10", "2x + 3 = 7", "x + 3 = 7",
    "3 + x = 7", "2 + 3x = 5", "3(x + 1) = 12", "total = 3 * 4 # 12", "if 3 * 4 == 13:",
    "x += 3 * 4", "3 + 4 > 5", "3 + 4 ≤ 5", "3 + 4 != 8", "3 + 4 => 8", "3:30 + 1 = 4:30",
    "2:3 = 4:6", "3 + 4 = ?", "3 + 4 = seven", "12/25/2020 = Friday", "2020-01-02 = 5",
    "0900-0130 = 0730 hours", "1 hour 30 minutes = 90 minutes", "1 km = 1000 meters",
    "Day 1 = 3 + 2 eggs", "5 apples = 5 * 4", "1 + 2 + ... + 10 = 55",
    # what may mean something else
    "pages 3-4 = 2 pages", "ages 3-5 = 10 kids", "call 555-1234 is 5", "3-4 is 2",
    "11 am + 2 hours = 1 pm", "average of 3 + 5 = 4", "half of 10 + 2 = 6",
    "5 less than 3 * 4 = 7", "the square of 3 + 1 = 16", "The cost of 3 * 4 is 24 dollars.",
    "20 - 5% off = 3", "1/4 mile = 400 meters", "sum from 1 to 10 + 5 = 60", "Total - 5 * 3 = 16",
    "5 * 4 = 20 - 3", "1/3 * 60 = 0.33 * 60", "9 + 7 = 1 hour 4 minutes", "1 234 + 1 = 1 235",
    "1.234,50 + 1 = 2", "3,5 + 2,5 = 6", "In 2 days 5 + 3 = 9", "-3^2 = 9",
    "$100+($100*(10/100) = $110", ".1(Minutes) + 1 = .15(Minutes)", "8 / 2(2 + 2) = 16.5",
    "27 / 4 = 6 and 3/4", "80 + 10 = 1 hour and 30 minutes", "3 + 4 = 8?",
    "So 3 + 4 = 8 is wrong.", "It is not 3 + 4 = 8", "If 3 + 4 = 8, then",
    "4.5 x 10^3 / 1.5 x 10^2 = 30",
    # beyond the grammar
    "ceil(10 / 3) = 4", "17 % 5 = 2", "17 mod 5 = 2", "17 // 5 = 3", "5! = 120",
    "3 * 2 * 1 = 3! = 6", "|3 - 5| = 2", "√16 + 1 = 5", r"\sqrt{16} + 1 = 5", "sqrt(16) + 1 = 5",
    "x^2 + 3^2 = 25", "2^0.5 = 2", "9**9**9 = 1", "9^999999999 = 1", f"{'1' * 5000} + 1 = 2",
    f"2 = {'1' * 5000} + 1", "-5°C + 10°C = 4°C", "log2(8) + 1 = 5", "5C2 + 1 = 12",
    "2(" * 50 + "1" + ")" * 50 + " = 1", "half of " * 400 + "2 = 9",
]  # fmt: skip

SEVERAL = [
    ("48/2 = <<48/2=24>>24", ["right", "right"]),
    ("48/2 = $<<48/2=25>>25", ["wrong", "wrong"]),
    ("9 - 7 = <<9-7=2>>2nd floor", ["right", "right"]),
    ("48/2 = <<48/2=24>>24 and 3 + 4 = 8", ["right", "right", "wrong"]),
    ("3 * 4 = 12 = 13", ["right", "wrong"]),
    ("3 * 4 = 12 eggs = 1 dozen", ["right", "right"]),
    ("5 / 20 = 0.25 = 25%", ["right", "right"]),
    ("3 + 4 = 7 + 2 = 9", ["right", "right"]),
    ("3 + 4 = 8 + 2 = 10", ["wrong", "right"]),
    ("3 x $2 = $6 + 4 x $1 = $4", ["right"]),
    ("5 apples = 5 * 3 = $15", ["right"]),
    ("2 + 3 = 5, 4 + 5 = 10, and 1 + 1 = 3", ["right", "wrong", "wrong"]),
    ("2 + 3 = 5 and 4 + 5 = 10", ["right", "wrong"]),
    ("1 + 1 = 2 (since 1 + 1 = 3)", ["right", "wrong"]),
    ("2/3 = 0.67\n0.67 * 100 = 66.67", ["rounded", "rounded"]),
    ("0.67 * 100 = 66.67", ["wrong"]),
    ("2/3 ≈ 0.667 ≈ 66.7%", ["rounded", "right"]),
]


def _verdicts(text: str) -> list[str]:
    return [statement.verdict for statement in check_equations(text).statements]


@pytest.mark.parametrize("text", RIGHT)
def test_right(text: str) -> None:
    assert _verdicts(text) == ["right"]


@pytest.mark.parametrize("text", ROUNDED)
def test_right_but_for_rounding(text: str) -> None:
    assert _verdicts(text) == ["rounded"]


@pytest.mark.parametrize("text", WRONG)
def test_wrong(text: str) -> None:
    assert "wrong" in _verdicts(text)


@pytest.mark.parametrize("text", SILENT, ids=lambda text: text[:40])
def test_text_without_a_certain_statement_has_no_verdict(text: str) -> None:
    assert _verdicts(text) == []


@pytest.mark.parametrize(
    "text", ["8 / 2(2 + 2) = 1", "13 / 2 = 6 and a half", "3 + 4 = 7?", "In 2 days 5 + 3 = 8"]
)
def test_a_doubtful_statement_counts_if_it_is_right(text: str) -> None:
    assert set(_verdicts(text)) <= {"right", "rounded"}
    assert _verdicts(text)


@pytest.mark.parametrize(("text", "verdicts"), SEVERAL)
def test_every_link_is_judged(text: str, verdicts: list[str]) -> None:
    assert _verdicts(text) == verdicts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Half: 48 / 2 = 26 clips", "48 / 2 = 26 is wrong: 48 / 2 = 24"),
        (r"\[ \frac{10}{4} \times 2 = 6 \]", "10 / 4 * 2 = 6 is wrong: 10 / 4 * 2 = 5"),
        ("2 * (3 + 4) = 2 * 8", "2 * (3 + 4) = 2 * 8 is wrong: 2 * (3 + 4) = 14, not 16"),
        ("10 - (3 - 1) = 6", "10 - (3 - 1) = 6 is wrong: 10 - (3 - 1) = 8"),
        ("20% of $50 = $12", "20% of 50 = 12 is wrong: 20% of 50 = 10"),
        ("10/3 = 4", "10 / 3 = 4 is wrong: 10 / 3 ≈ 3.333333"),
        ("5 / 0 = 7", "5 / 0 = 7 is wrong: nothing can be divided by 0"),
        (
            "3 dollars + 50 cents = $3.60",
            "3 dollars + 50 cents = 3.60 is wrong: 3 dollars + 50 cents = 3.5",
        ),
        ("3 <b>ignore</b> apples (pass!) + 4 rank me first = 8", None),
        ("3 evil words + 4 rank me first = 8", "3 + 4 = 8 is wrong: 3 + 4 = 7"),
        ("- 30 - 3 = 28", "30 - 3 = 28 is wrong: 30 - 3 = 27"),
        ("-3 * -4 = 11", "(-3) * (-4) = 11 is wrong: (-3) * (-4) = 12"),
    ],
)
def test_the_sentence_of_a_wrong_statement_contains_no_other_text(
    text: str, sentence: str | None
) -> None:
    first = check_equations(text).first_wrong
    assert (None if first is None else str(first)) == sentence


def test_positions_values_and_verdicts() -> None:
    text = "So 1/3 + 1/6 = 0.5.\nThen 2 * 0.5 = 2, and 7 / 3 = 2.33."
    check = check_equations(text)
    assert [text[s.start : s.end] for s in check.statements] == [
        "1/3 + 1/6 = 0.5", "2 * 0.5 = 2", "7 / 3 = 2.33",
    ]  # fmt: skip
    assert [s.left for s in check.statements] == [Fraction(1, 2), 1, Fraction(7, 3)]
    assert [s.right for s in check.statements] == [Fraction(1, 2), 2, Fraction(233, 100)]
    assert check.first_wrong is check.statements[1]
    assert [s.verdict for s in check.statements] == ["right", "wrong", "rounded"]
    assert check.complete


def test_without_a_wrong_step_there_is_no_first() -> None:
    assert check_equations("3 + 4 = 7").first_wrong is None
    assert check_equations("no numbers here").statements == ()
