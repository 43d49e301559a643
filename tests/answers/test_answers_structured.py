"""Answers in JSON values and XML elements."""

from __future__ import annotations

import pytest

from archon.answers import read_answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": 18, "confidence": 0.95}', "18"),
        ('{"confidence": 95, "answer": 18}', "18"),
        ('{"answer":-18,"confidence":95}', "-18"),
        ('{"answer": "18 apples", "confidence": 95}', "18"),
        ('{"answer": "She has 18", "confidence": 95}', "18"),
        ('{"final_answer": 18, "steps": 3}', "18"),
        ("{'answer': 18, 'steps': 3}", "18"),
        ('```json\n{\n  "answer": 1000,\n  "steps": 3\n}\n```', "1000"),
        ('{"answer": null, "n": 3}', None),
        ('{"answer": [1, 2], "n": 3}', None),
        ('{"answer": true, "n": 3}', None),
        ("<answer>\n18 apples\n</answer>\n<confidence>95</confidence>", "18"),
        ("<answer>3 * 6 = 18</answer>\n<confidence>95</confidence>", "18"),
        ("<final_answer>18</final_answer><score>3</score>", "18"),
        ("<answer>18", "18"),
        ("<answer>unknown</answer><n>3</n>", None),
        ("<answer>48 in April. 72 in total</answer>", None),
        ("<answer>\\boxed{18}</answer> in 3 steps", "18"),
        ("The answer is <answer>. I see 18", "18"),
    ],
)
def test_a_value_that_is_named_the_answer_counts(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value
