"""Every text is checked in bounded time, and the statements are within it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon.answers.equations import check_equations

MEGABYTE = 10**6
HOSTILE = [
    "1=", "1+", "(", "1(", "-1", "=", "1 (1) ", "\n", "\n=", "<<1+1=2>>", "<", "9^", "9**9*",
    "\\", "3 + 4 is 7. ", "3 * 4 = 12\n", "half of ", "sum of ", "1.", "1,", ",000", "%", "$",
    "**", "* ", "a ", "3 apples ", r"\frac{", r"\frac{1}{2}+", "1/3=0.33 ", "1(a)", "½", "x",
    "3x", "a-", "'", "((1+2)*", "1e9*", "a_", "{,}", "\\text{", "≈", "1/" + "9" * 40 + "+",
    "(" * 15 + "1" + ")" * 15,
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=lambda piece: repr(piece)[:24])
def test_a_megabyte_of_anything_is_read_in_bounded_time(piece: str) -> None:
    text = piece * (MEGABYTE // len(piece)) + "1 = 2"
    started = time.process_time()
    check = check_equations(text)
    assert time.process_time() - started < 5
    assert not check.complete


def test_nested_parentheses_that_never_close_or_fail_late() -> None:
    for text in ("(" * 50_000 + "1" + ")" * 50_000 + " = 1", "(1 + " * 50_000 + "x" + ")" * 50_000):
        assert check_equations(f"{text} = 2").statements == ()


def test_text_after_the_limit_is_not_read_and_the_check_is_incomplete() -> None:
    check = check_equations("3 + 4 = 7. " * 30_000 + "3 + 4 = 8")
    assert check.first_wrong is None
    assert not check.complete


ALPHABET = "0123456789.,+-*/^()[]{}=≈%$€x×÷−\\ \n<>abfrc'\"½²!:;#_|~&"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(ALPHABET, max_size=200)))
def test_any_text_is_read(text: str) -> None:
    check = check_equations(text)
    places = [(statement.start, statement.end) for statement in check.statements]
    assert places == sorted(places)
    for statement in check.statements:
        assert 0 <= statement.start < statement.end <= len(text)
        assert str(statement)
        assert (statement.left == statement.right and statement.left is not None) <= (
            statement.verdict == "right"
        )


WORDS = [
    *("3", "4", "7", "12", "0.5", "20%", "$5", "1/2", "2½", "+", "-", "*", "/", "=", "≈", "(", ")"),
    *("of", "half", "twice", "sum", "and", "is", "x", "×", "÷", "^", "2", "hours", "minutes"),
    *("apples", "\\frac", "{1}", "{2}", "\\times", "\\(", "<<", ">>", ",", ".", ":", "plus"),
    *("times", "divided", "by", "a", "per", "mod", "dozen", "third", "difference", "between"),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_any_words_of_arithmetic_are_read(text: str) -> None:
    for statement in check_equations(text).statements:
        assert str(statement)
