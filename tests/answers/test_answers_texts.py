"""Answers that are texts include signs and brackets, but not the markup around them."""

from __future__ import annotations

import pytest

from archon.answers import read_answer, read_stated, read_target
from archon.evals.scorers import plain_scorer

WRITTEN = [
    ("-5", "-5"),
    ("−5", "-5"),
    (".5", ".5"),
    ("+5", "+5"),
    (">5", ">5"),
    ("(2,3)", "(2,3)"),
    ("[0,1)", "[0,1)"),
    ("{1, 2}", "{1, 2}"),
    ("-x", "-x"),
    ("x = -3", "x = -3"),
    ("$x^2+1$", "x^2+1"),
    ("$(2,3)$", "(2,3)"),
    ("\\((2,3)\\)", "(2,3)"),
    ("**-5**", "-5"),
    ("`[1]`", "[1]"),
    ('"Paris"', "paris"),
    ("Dr. Smith", "dr. smith"),
    ("St. Louis, Mo.", "st. louis, mo"),
    ("J. K. Rowling", "j. k. rowling"),
    ("C. S. Lewis", "c. s. lewis"),
    ("George W. Bush", "george w. bush"),
]
FRAMES = ["{}", "The answer is {}.", "Answer: {}", "**Final answer:** {}", "#### {}"]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("written", "value"), WRITTEN)
def test_a_text_keeps_its_signs_and_brackets(frame: str, written: str, value: str) -> None:
    assert read_answer(frame.format(written), "text") == value
    assert read_target(written, "text") == value
    assert plain_scorer("text-exact")(None, frame.format(written), value).value == 1


@pytest.mark.parametrize("written", ["-5", "(2,3)", "[0,1)", "x = -3", ">5"])
def test_a_box_is_read_like_its_target(written: str) -> None:
    assert read_answer(f"\\boxed{{{written}}}", "text") == read_target(written, "text")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is B. It is the largest.", "b"),
        ("The answer is B. Paris is in France.", "b"),
        ("The answer is vitamin C. It is healthy.", "vitamin c"),
        ("The answer is Dr. Smith. She is a doctor.", "dr. smith"),
        ("The answer is Paris. Dr. Smith lives there.", "paris"),
        ("<answer>Paris</answer>", "paris"),
        ("<answer>\nParis\n</answer> This is it.", "paris"),
        ('{"answer": "Paris", "confidence": 0.9}', "paris"),
        ('{"final_answer": "New York, N.Y."}', "new york, n.y"),
    ],
)
def test_a_stated_text_ends_with_its_sentence_element_or_value(text: str, value: str) -> None:
    assert read_answer(text, "text") == value
    assert read_stated(text, "text") == value
