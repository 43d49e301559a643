"""Statements and mentions of an answer, and the end of the model's turn."""

from __future__ import annotations

import pytest

from archon.answers import read_answer, read_program, read_stated

STATED = [
    ("The answer is 18 dollars. She had 20 and paid 2.", "18"),
    ("The answer is 12. Wait, no. The answer is 15.", "15"),
    ("I think the answer is 12, not 15.", "12"),
    ("The answer, rounded to 2 decimal places, is 18.50.", "18.5"),
    ("The answer is the sum of 3 and 4, which is 7.", "7"),
    ("The answer is found by adding 48 and 24 to get 72.", "72"),
    ("The answer is that she has 5 apples. She had 7.", "5"),
    ("The answer is 7, since 3 + 4 = 7.", "7"),
    ("The answer is 18 = 2 * 9.", "18"),
    ("The answer is P(A) = 1/3.", "1/3"),
    ("The answer is (B) 12, not 15.", "12"),
    ("The answer is negative 5. It fell by 8.", "-5"),
    ("She had 3. The answer is zero.", "0"),
    ("3 of them. The answer is twenty-five dollars.", "25"),
    ("The answer is five (5). It takes 3 steps.", "5"),
    ("The answer is at most 5, for 3 people.", "5"),
    ("2 - 5 makes less than nothing.\n#### - 3", "-3"),
    ("The answer is - 5.", "-5"),
    ("\\boxed{- 5}", "-5"),
    ("Answer: - 5", "-5"),
    ("#### 18 apples\n3", "18"),
    ("The total is 72 clips, altogether.", "72"),
    ("\\boxed{$9{,}500}", "9500"),
    ("The answer is 42!", "42"),
    (r"So it is $\\boxed{\\frac{3}{4}}$.", "0.75"),
    ("The answer is **$18.** She paid 2.", "18"),
    ("The final answer is $\\boxed{18}$. I hope it is correct in 2 ways.", "18"),
]
MENTIONED = [
    ("The answer is 18 dollars.\n\nNote: the answer is rounded to 2 decimal places.", "18"),
    ("The answer is 18. (The answer is in dollars, for 7 days.)", "18"),
    ("The answer is 18. The answer is consistent with 2 earlier steps.", "18"),
    ("### Answer\n18\n\n### Explanation\nThe answer was found in 3 steps.", "18"),
    (
        "The answer is 451. The answer is always the correct answer, as it is the result of "
        "multiplying 17 and 23.\nThe answer is N.",
        "451",
    ),
    (
        "The answer is always the correct answer, as it is the result of multiplying 17 and 23.",
        None,
    ),
    ("She pays 18.50. The answer is rounded to 2 decimal places.", "18.5"),
    ("The answer is 12.\nThe answer is [number].", "12"),
    ("The answer is 12. The answer is ___.", "12"),
    ("7. \\boxed{}", "7"),
    ("The answer is 18. A wrong answer would be 20.", "18"),
    ("The answer is 15. The previous answer was 12.", "15"),
    ("The answer is 18. If she had 20 friends, the answer would be 25.", "18"),
    ("If she sells all 5, the answer would be 25.", "25"),
    ("3 * 5 = 15. The answer is correct.", "15"),
    ("#### Step 2\nSo she has 18", "18"),
    ("#### Two methods\nSo she has 18", "18"),
]
NOT_NUMERIC = [
    "The answer is unknown. 3 apples remain",
    "3 * 6 = 18. The answer is undefined.",
    "The answer cannot be determined from the 3 facts.",
    "The answer is not a number. It has 3 parts",
    "The answer is yes. 5 is more than 3.",
    "The answer is 5x. It has 1 term",
    "The answer is x^2+1. It has 2 terms",
    "The answer is (2,3). It has 2 parts",
    "The answer is two thirds of 9.",
    "The answer is 3 + 4",
    "The answer is A, of 4 choices: 1, 2, 3, or 5x. The answer is A.",
    "The answer is x = 2, y = 3.",
    "The answer is more than 5.",
    "\\boxed{\\text{B}} is one of 4",
    "\\boxed{2} and \\boxed{3}",
    "Answer: unknown\n3 apples",
    "Answer: 18 or 19",
    "Answer: (2, 3)",
    "#### unknown\n3",
    "18 * 2 = 36. No answer is possible. 3",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), STATED + MENTIONED)
def test_a_statement_counts_and_a_mention_does_not(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize("text", NOT_NUMERIC)
def test_a_statement_without_a_number_has_no_value(text: str) -> None:
    assert read_answer(text, "number") is None
    assert read_stated(text, "number") is None


TURNS = [
    "\n\nQuestion: Tom has 5 apples and buys 3.\nAnswer: 8",
    "\n\nQ: What is 3 + 4?\nA: The answer is 7.",
    "\n\nQ2: What is 3 + 4?\n#### 7",
    "\n\nProblem: What is 3 + 4?\nThe answer is 7.",
    "\n\n**Problem 2:** What is 3 + 4?\n\\boxed{7}",
    "\n\nNext question: What is 3 + 4?\n#### 7",
    "\n\nExercise 2. What is 3 + 4?\n#### 7",
    "\nHuman: What is 5+5?\nAssistant: #### 10",
    "\n\nUser: What is 5+5?\nThe answer is 10.",
    "\n\n### Question\nWhat is 5+5?\n\n### Answer\n10",
    "\n### Instruction:\nWhat is 5+5?\n### Response:\nThe answer is 10.",
    "<|im_end|>\n<|im_start|>user\nWhat is 5+5? The answer is 10.",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n5+5? The answer is 10.",
    "<end_of_turn>\n<start_of_turn>user\n5+5? The answer is 10.",
    "</s> [INST] 5+5? [/INST] The answer is 10.",
]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("stated", ["She sells 9. The answer is 18.", "#### 18", "\\boxed{18}"])
def test_text_after_an_invented_turn_is_not_the_answer(stated: str, turn: str) -> None:
    assert read_answer(stated + turn, "number") == "18"
    assert read_stated(stated + turn, "number") == "18"


@pytest.mark.parametrize("turn", TURNS)
def test_an_invented_turn_does_not_change_a_number_that_is_not_stated(turn: str) -> None:
    assert read_answer(f"So she has 18 apples.{turn}", "number") in ("18", None)
    assert read_answer(f"Paris{turn}", "text") == "paris"


def test_a_question_restated_before_the_answer_is_not_a_new_turn() -> None:
    text = "Let us see.\n\n**Problem:** Tom has 5 and buys 3.\n\n**Solution:** The answer is 8."
    assert read_answer(text, "number") == "8"
    assert read_answer("Question: Tom has 5 and buys 3.\nAnswer: 8", "number") == "8"


def test_code_of_an_invented_turn_is_not_the_reply() -> None:
    own = "def solution():\n    return 18  # Question: why?"
    text = (
        f"```python\n{own}\n```\n\nQuestion: 3 + 4?\n```python\ndef solution():\n    return 7\n```"
    )
    assert read_program(text) == own
    assert read_answer(text, "code") == own


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>\nMaybe the answer is 20.\n</think>\n\nShe has 18 apples.", "18"),
        ("<think>\nSo the answer is 12? Wait, 3 * 5 = 15.\n</think>\n\n**15**", "15"),
        ("First guess: the answer is 4. Not so.\n</think>\n\nIt is 5.", "5"),
        ("<think>\n5 + 5 = 10, hmm, and then", None),
        ("[THINK]20[/THINK]18", "18"),
    ],
)
def test_reasoning_is_not_the_answer(text: str, value: str | None) -> None:
    assert read_answer(text, "number") == value


def test_reasoning_that_was_cut_off_has_no_answer() -> None:
    text = "<think>\nThe answer is 5.\n```python\ndef solution():\n    return 5\n```"
    assert read_answer(text, "text") is None
    assert read_answer(text, "code") is None
    assert read_stated(text, "number") is None
    assert read_program(text) is None
