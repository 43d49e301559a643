"""Labelled answers, and text after an answer."""

from __future__ import annotations

import pytest

from archon.answers import read_answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Answer: 12 days for 6 workers", "12"),
        ("Answer: 18 eggs in 3 cartons", "18"),
        ("Answer: 18 minutes to walk 3 miles", "18"),
        ("Answer: 18 dollars every 2 days.\n\nShe sells 9 eggs.", "18"),
        ("**Answer:** She has 18 apples.\n\n**Explanation:** 3 boxes of 6.", "18"),
        ("### Answer\nJanet makes 18 dollars every day.\n\n### Check\n9*2 = 18, 16-7 = 9", "18"),
        ("### Final Answer\n\nJanet makes **$18** every day.", "18"),
        ("Answer: 16 - 3 = 13", "13"),
        ("Answer: 16 eggs minus 3 leaves 13 eggs.", None),
        ("Answer: 5 apples at 2 dollars each cost 10 dollars.", "10"),
        ("Answer: 48 clips in boxes of 2 for April. 24 in May. In total 72.", "72"),
        ("Answer: She has 16 eggs.\n\nShe eats 3, so that 13 are left.", "13"),
    ],
)
def test_labelled_answers(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("She makes $18 per day.\n\nConfidence: 95%", "18"),
        ("She makes $18 per day.\n\n**Confidence:** 95%\nTokens: 120\n", "18"),
        ("She makes $18 per day.\n- Certainty: 9/10", "18"),
        ("She makes $18 per day.\nScore: 0.9", "18"),
        ("He plays 3 games.\nScore: 18", "18"),
        ("Confidence: 95%", "95"),
        ("18 apples. [2]", "18"),
        ("18 apples.\n\nReferences:\n[1] A book of 2005", "18"),
        ("18 apples.\n\nSources: 2 books", "18"),
        ("**x = 5**\n\nCheck: 2(5) + 3 = 13 ✓", "5"),
        ("x = 5\n\nVerification:\n2 * 5 + 3 = 13", "5"),
        ("x = 5\n\nCheck: 2 * 5 + 3 = 13\n\nSo the number is 5", "5"),
        ("x is 4.\n\nCheck: 2 * 4 + 3 = 11\n\nSo the number is 5", None),
        ("Total: 42 ~~41~~", "42"),
    ],
)
def test_text_that_supports_or_judges_an_answer_is_not_the_answer(
    text: str, value: str | None
) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#### 18\n\nJohn has 3 apples. He buys 2.\n#### 5", "18"),
        ("9 * 2 = 18\n#### 18\n\nJohn has 3 apples.\n#### 5", "18"),
        ("#### 18\n\nWait, this is wrong. She has 3 left.\n#### 15", "15"),
        ("9 * 2 = 18\n#### 18", "18"),
    ],
)
def test_a_line_of_four_hashes_and_a_number_ends_an_answer(text: str, value: str) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize("word", ["Frage", "Pregunta", "Question ", "Pergunta", "Domanda", "问题"])
def test_questions_in_other_languages_begin_a_turn(word: str) -> None:
    turn = f"\n\n{word}: Tom 3 + 4?\nThe answer is 7."
    assert read_answer(f"The answer is 18.{turn}", "number") == "18"
    assert read_answer(f"Paris{turn}", "text") == "paris"
