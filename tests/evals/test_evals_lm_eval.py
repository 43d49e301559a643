"""The scorers with the results of lm-eval, quirks included."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.evals.benchmarks.rows import item_from_row
from archon.evals.benchmarks.tables import Row
from archon.evals.lm_eval import cot_strict_match, flexible_extract, strict_match
from archon.evals.scorers import find_scorer, plain_scorer
from archon.spec.benchmark import BenchmarkCard

CARD = BenchmarkCard.model_validate(
    {"version": 1, "name": "t", "source": {"jsonl": "t"}, "answer_after": "####"}
)


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("2 * 9 = 18\n#### 18", "18"),
        ("#### 18\nQuestion: What is 2 + 2?\n#### 4", "18"),  # the first match wins
        ("#### 1,000", "1000"),
        ("#### 18.", "18"),
        ("#### 18..", "18."),
        ("#### -18", "-18"),
        ("#### 5.00", "5.00"),
        ("##### 18", "18"),
        ("#### .", ""),
        ("#### $18", None),
        ("####18", None),
        ("####  18", None),
        ("#### ١٨", None),
        ("The answer is 18.", None),
        ("", None),
    ],
)
def test_strict_match(text: str, compared: str | None) -> None:
    assert strict_match(text) == compared


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("So she has 18 left. The answer is 18.", "18"),
        ("The answer is 42", "4"),  # the last digit matches the full stop of the pattern
        ("The answer is 4", None),
        ("The answer is 4\nThe answer is 5.", "5"),
        ("The answer is 42\n", "4"),
        ("The answer is 42 dollars.", "42"),
        ("The answer is 1,000.", "1000"),
        ("The answer is $1,000.00.", None),
        ("The answer is -7.", "-7"),
        ("The answer is 3. The answer is 8.", "3"),
        ("the answer is 42.", None),
        ("The answer is: 42.", None),
        ("The answer is 42...", "42."),
    ],
)
def test_cot_strict_match(text: str, compared: str | None) -> None:
    assert cot_strict_match(text) == compared


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("She pays $1,042.", "1042"),
        ("She pays $1,042.00.", "1042.00"),
        ("18 apples in 3 boxes", "3"),
        ("She has 18 apples. Great...", ".."),  # the last stray signs are a number
        ("18, I think.", "18"),
        ("10-4", "-4"),
        ("--4", "-4"),
        ("a-", None),
        (".", None),
        ("$", None),
        ("-5", "-5"),
        ("$$", ""),
        ("7 ١٢", "7"),
        ("no number", None),
    ],
)
def test_flexible_extract(text: str, compared: str | None) -> None:
    assert flexible_extract(text) == compared


@given(st.text(alphabet="-$09.,a \n", max_size=30))
def test_flexible_extract_finds_what_the_patterns_of_the_tasks_find(text: str) -> None:
    found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)
    last = next(filter(None, found[-1])) if found else None
    if last is not None:
        last = re.sub(r"\.$", "", last.replace(",", "").replace("$", ""))
    assert flexible_extract(text) == last


@pytest.mark.parametrize(
    ("name", "text", "gold", "right"),
    [
        ("lm-eval-strict-match", "#### 1,000", "2 * 500 = 1000\n#### 1,000", 1),
        ("lm-eval-strict-match", "#### 1000", "#### 1,000", 1),
        ("lm-eval-strict-match", "#### 1000.00", "#### 1,000", 0),
        ("lm-eval-cot-strict-match", "The answer is -3.", "#### -3", 1),
        ("lm-eval-cot-strict-match", "The answer is 42", "#### 42", 0),
        ("lm-eval-cot-strict-match", "The answer is 42", "#### 4", 1),
        ("lm-eval-flexible-extract", "It costs $1,000.", "#### 1,000", 1),
        ("lm-eval-flexible-extract", "It costs $1,000. Right...", "#### 1,000", 0),
        ("lm-eval-flexible-extract", "none", "#### 0", 0),
    ],
)
@pytest.mark.parametrize("value", [None, "1000", "-3"])
def test_the_text_is_judged_regardless_of_the_value(
    name: str, text: str, gold: str, right: int, value: str | None
) -> None:
    target = item_from_row(Row("1", "here", {"question": "?", "answer": gold}), CARD).target
    score = find_scorer(CARD, name=name)(value, text, target)
    assert score.value == right


def test_an_explanation_names_the_compared_values() -> None:
    score = plain_scorer("lm-eval-cot-strict-match")(None, "The answer is 42", "42")
    assert (score.answer, score.explanation) == ("4", "'4' is not '42'")
    score = plain_scorer("lm-eval-strict-match")(None, "42", "42")
    assert (score.answer, score.explanation) == (None, "no '#### N' in the text")
