"""Values of several numbers, in various spellings and languages, are read completely or not."""

from __future__ import annotations

import pytest

from archon.answers import read_answer, read_target

BOXES = [
    "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}",
    "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
    "\\begin{vmatrix}1\\\\2\\end{vmatrix}",
    "\\begin{Bmatrix}1\\\\2\\end{Bmatrix}",
    "\\begin{array}{cc} 1 & 2 \\end{array}",
    "\\begin{cases} 1 \\\\ 2 \\end{cases}",
    "\\left(\\begin{smallmatrix} 1 \\\\ 2 \\end{smallmatrix}\\right)",
]
IN_BOXES = [
    *BOXES,
    "1 \\\\ 2",
    "1 \\leq x \\leq 2",
    "1 < x < 2",
    "2 \\ne 3",
    "2 \\to 3",
    "2x = 4",
    "x^2 = 4",
    "|x| = 2",
    "7!",
]


@pytest.mark.parametrize("written", IN_BOXES)
def test_a_box_with_more_than_one_number_has_no_value(written: str) -> None:
    assert read_answer(f"\\boxed{{{written}}}", "number") is None
    assert read_answer(f"It has 5 parts: $\\boxed{{{written}}}$.", "number") is None


@pytest.mark.parametrize("written", BOXES)
def test_a_heading_with_more_than_one_number_has_no_value(written: str) -> None:
    assert read_answer(f"5 of them\n#### {written}", "number") is None
    assert read_target(written, "number") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\boxed{x = 4}", "4"),
        ("\\boxed{2x = 8 \\Rightarrow x = 4}", "4"),
        ("\\boxed{6 * 7 = 42}", "42"),
        ("\\boxed{\\begin{aligned} x &= 3 + 4 \\\\ &= 7 \\end{aligned}}", "7"),
        ("\\begin{align*} x &= 3 + 4 \\\\ &= 7 \\end{align*}", "7"),
        ("It is $5!$", None),
        ("2x + 3 = 11, so 2x = 8, x = 4.", "4"),
        ("She pays 18.33 to 2 decimal places.", "18.33"),
        ("It takes 3 – 5 days.", None),
        ("The answer is as follows: 18", "18"),
        ("The answer is as follows: 18. It has 2 digits", "18"),
        ("Answer: 18; 9 each", "18"),
        ("Answer: 18; 9", None),
        ("Die Antwort ist minus 5.", "-5"),
        ("答案是18。（保留2位小数）", "18"),
        ("答案是18元。（保留2位小数）", "18"),
        ("答案是负3", "-3"),
        ("22/7 ≈ 3.14", "3.14"),
        ("18 <br>", "18"),
        ("The total is 18 (9 * 2).", "18"),
        ("18... 2 left", "2"),
        ("<b>18</b>", "18"),
    ],
)
def test_a_single_number_is_still_read(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value


PARTS = [
    "5 thousand two hundred", "5 million two hundred thousand", "1 million two", "1`000",
    "3 pi", "3 sqrt(2)", "3 root 2", "3 xy", "3 e^2", "3 (x + 1)", "(3)(5)", "18 over 2",
    "18 +/- 2", "18+/-2", "18 +- 2", "3~5", "3 ~ 5", "3〜5", "3—5", "3...5", "3…5",
    "3 through 5", "3 up to 5", "3 vs 5", "3 by 5 feet", "3 feet by 5 feet", "3、5", "3、50",
    "3|5", "2<sup>10</sup>", "3千人", "5百元", "3분之1", "3又1/2", "5천", "5 mila", "5 tusen",
    "5 duizend", "5 miljoen", "5 milyon", "5 miljoner", "5 milionów", "5 juta", "5 triệu",
    "5 tysięcy",
]  # fmt: skip


@pytest.mark.parametrize("frame", ["{}", "The answer is {}.", "\\boxed{{{}}}", "So it is {}"])
@pytest.mark.parametrize("written", PARTS)
def test_a_part_of_a_value_is_not_read(written: str, frame: str) -> None:
    assert read_answer(frame.format(written), "number") is None


@pytest.mark.parametrize("frame", ["{}", "The answer is {}.", "Answer: {}", "\\boxed{{{}}}"])
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.5 × 10 ^ 6", "1500000"),
        ("1.5 × 10^ 6", "1500000"),
        ("1.5 × 10<sup>6</sup>", "1500000"),
        ("负3", "-3"),
        ("5만원", "50000"),
        ("5 млн", "5000000"),
        ("5 миллионов", "5000000"),
        ("5 milhões", "5000000"),
        ("2 млрд", "2000000000"),
    ],
)
def test_a_complete_value_is_read(written: str, value: str, frame: str) -> None:
    assert read_answer(frame.format(written), "number") == value
