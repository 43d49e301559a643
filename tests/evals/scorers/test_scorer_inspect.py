"""The scorers with the results of Inspect, quirks included."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scorer_doubles import check_size, pairs, score_of, scorer_of

from archon.evals import inspect_ai
from archon.evals.scorers.registry import SCORERS

MANY_SPACES = " " * 500_000
NUMERIC = {"name": "inspect-match", "numeric": True}

NUMERIC_RIGHT = pairs("""
    The answer is 18. | 18 ; It costs $1,018.00 | 1018 ; **18** | 18 ; 18 apples | 18 ; (18) | 18
    -5 | -5 ; −5 | -5 ; 2½ | 2.5 ; 3² | 9 ; 1e3 | 1,000 ; ３ | 3 ; 18! | 18 ; 1234567 | 1234568
    \\$20 | 20 ; 3 then 4 | 4 ; 60% | 60% ; Ⅻ | 12 ; 10⁻² | 0.01 ; ½ | 0.5 ; +7 | 7
""")
NUMERIC_WRONG = pairs("""
    4 then 3 | 4 ; 60% | 60 ; x² | 2 ; 18kg | 18 ; 118 | 18 ; 12/4 | 3 ; 1.2.3 | 1 ; <42 | 42
    nan | 5 ; none | 0 ; 18.5 | 18
""")
MATCH_RIGHT = pairs("""
    The answer is Paris. | paris ; It is 118 | 18 ; "Rome" | Rome ; **Rome** | rome ; x. | X
""")
MATCH_WRONG = pairs("""
    Paris it is | Paris ; Rome, Italy | Rome ; 18 apples | 18 ; 1,018 | 1018
""")
EXACT_RIGHT = pairs("""
    The Eiffel Tower! | eiffel tower ; 18 | 18.0 ; "18." | 18 ; U.S. | us ; a-b | b ; 1_0 | 10
""")
EXACT_WRONG = pairs("""
    It is Rome | Rome ; 1,5 | 1.5 ; the | the ; Rome | Rom
""")
LINE_RIGHT = pairs("""
    ANSWER: 18 | 18 ; answer : Rome | rome ; So it is 3. ANSWER: 4 | 4
""")
LINE_WRONG = pairs("""
    18 | 18 ; ANSWER: 18. | 18 ; The answer is 18 | 18
""")


def test_the_tables_are_large() -> None:
    tables = (NUMERIC_RIGHT, NUMERIC_WRONG, MATCH_RIGHT, MATCH_WRONG)
    check_size(*tables, EXACT_RIGHT, EXACT_WRONG, LINE_RIGHT, LINE_WRONG)


@pytest.mark.parametrize(
    ("scorer", "right", "wrong"),
    [
        (NUMERIC, NUMERIC_RIGHT, NUMERIC_WRONG),
        ("inspect-match", MATCH_RIGHT, MATCH_WRONG),
        ("inspect-exact", EXACT_RIGHT, EXACT_WRONG),
        ("inspect-answer:line", LINE_RIGHT, LINE_WRONG),
    ],
    ids=["numeric", "match", "exact", "line"],
)
async def test_values(scorer: Any, right: list[Any], wrong: list[Any]) -> None:
    judge = scorer_of(scorer, "text")
    for text, target in right:
        assert (await score_of(judge, text, target)).value == 1, (text, target)
    for text, target in wrong:
        assert (await score_of(judge, text, target)).value == 0, (text, target)


async def test_parts_of_words_are_included() -> None:
    judge = scorer_of("inspect-includes")
    assert (await score_of(judge, "It is 180.", "18")).value == 1
    assert (await score_of(judge, "It is Rome.", "x", targets=("x", "ROME"))).value == 1
    assert (await score_of(judge, "", "18")).answer is None


async def test_f1_is_partial() -> None:
    score = await score_of(scorer_of("inspect-f1"), "It is the Eiffel Tower", "Eiffel Tower")
    assert score.value == 0.67


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("ANSWER: B", "B"), ("answer: b.", "B"), ("ANSWER: A\nANSWER: C", "C"),
        ("ANSWER: (B)", "B"),
        ("I think ANSWER: B, surely", ""), ("ANSWER: **B**", "B"), ("ANSWER: $B$", "B"),
        ("ANSWER: B because", ""), ("B", ""), ("ANSWER: E", ""), ("ANSWER: A,B", ""),
        ("ANSWER: A,", "A"), ("ANSWER:\n\nB", "B"), ("It is ANSWER: D!", "D"),
    ],
)  # fmt: skip
def test_one_letter_is_chosen(text: str, letters: str) -> None:
    assert "".join(inspect_ai.chosen_letters(text, "ABCD")) == letters


async def test_all_right_options_must_be_chosen_as_they_are_shown() -> None:
    judge = scorer_of({"name": "inspect-choice", "multiple_correct": True})
    parts: dict[str, Any] = {
        "targets": ("A", "C"), "choices": ("x", "y", "z"), "shown_choices": ("z", "y", "x"),
    }  # fmt: skip
    for text, points in (("ANSWER: A, C", 1), ("ANSWER: CA", 1), ("ANSWER: A", 0), ("AC", 0)):
        assert (await score_of(judge, text, "A", **parts)).value == points, text


@pytest.mark.parametrize(
    "text",
    ["ANSWER:" * 50_000, f"ANSWER: {MANY_SPACES}!", "9" * 500_000, f"$A{MANY_SPACES}",
     "," * 500_000],
    ids=["marks", "spaces", "digits", "emphasis", "commas"],
)  # fmt: skip
def test_megabytes_take_linear_time(text: str) -> None:
    started = time.process_time()
    for name in (name for name in SCORERS if name.startswith("inspect-")):
        given: Any = f"{name}:word" if name == "inspect-answer" else name
        scorer_of(given)(None, text, "A")
    scorer_of(NUMERIC)(None, text, "18")
    assert time.process_time() - started < 5


PIECES = st.sampled_from(
    ["18", "1,018", "-5", "$", "\\$", "**", "_", ".", "5.0", " ", "\n", "%", "(", ")", "½", "2²",
     "x²", "the", "a", "answer", "−7", "1e3", "'", "٣", "ANSWER:", "B", "A,C", "and", ":"]
)  # fmt: skip


@given(
    text=st.lists(PIECES, max_size=8).map("".join), target=st.lists(PIECES, max_size=3).map("".join)
)
def test_scores_are_those_of_the_package(text: str, target: str) -> None:
    common = pytest.importorskip("inspect_ai.scorer._common")
    classification = pytest.importorskip("inspect_ai.scorer._classification")
    for location in ("begin", "end", "any", "exact"):
        for numeric in (False, True):
            theirs = common.match_str(text, target, location, numeric=numeric)
            assert inspect_ai.match(text, target, location, numeric=numeric) == theirs
    exact = classification.max_exact_score(text, [target])
    assert inspect_ai.exact(text, target) == (exact == 1)
    assert inspect_ai.f1(text, target) == classification.max_f1_score(text, [target])
