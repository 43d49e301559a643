"""The option that a text gives as its answer."""

from __future__ import annotations

import pytest

from archon.answers import read_answer, read_stated, read_target

CITIES = ("Rome", "Paris", "Oslo", "New York")
NUMBERS = ("1", "12", "1.5", "$x+1$")

LETTERS = {
    "B": "B",
    "b": "B",
    "B.": "B",
    "(b)": "B",
    "b)": "B",
    "**B**": "B",
    "Ｂ": "B",  # full width
    "B) 42": "B",
    "option B": "B",
    "Option (b)": "B",
    "A": "A",
    "The answer is (B).": "B",
    "The answer is A.": "A",
    "The answer is A because it is near.": "A",
    "The answer is B, I think.": "B",
    "The answer is not B.": None,
    "The answer is a dog.": None,
    "The answer is A dog": None,
    "A dog barks.": None,
    "I think so.": None,
    "": None,
    "None of the above": None,
    "Answer: [B]": "B",
    "Answer (B)": "B",
    "answer: **C**": "C",
    "Final Answer: C) something": "C",
    "The answer is: \n\n(D)": "D",
    r"\boxed{B}": "B",
    r"So $\boxed{\text{B}}$": "B",
    r"The answer is \(B\).": "B",
    "#### C": "C",
    "<answer>A</answer>": "A",
    '{"answer": "B"}': "B",
    "The correct option is B.": "B",
    "The best choice is C, since it is near.": "C",
    "Option D is the correct answer.": "D",
    "A is wrong. B is wrong. C is correct.": "C",
    "So B is the answer.": "B",
    "I choose B.": "B",
    "I would pick (d).": "D",
    "You can choose a dog.": None,
    "The answer should be B": "B",
    "Answer: **B. Paris**": "B",
    "The answer is: B: Paris": "B",
    "The answer is (B) because (A) is wrong.": "B",
    "I'd go with option C": "C",
    "The answer is B or C.": None,
    "The answer is B, C": None,
    "The answer is B and C.": None,
    "(A) and (B) are wrong": None,
    "It must be (C), I guess.": "C",
    "Both A and B are plausible. The answer is (B).": "B",
    "The answer is (A). Wait. The answer is (C).": "C",
    "The wrong answer is C. The answer is B.": "B",
    "The answer is B. The other options are C and D.": "B",
    "Let me think about option A. Option A is wrong.\n\nAnswer: B": "B",
    "A) Rome\nB) Paris": None,
    "(A) Rome\n(B) Paris\n\nB": "B",
    "B) Paris\n\nExplanation: it is.": "B",
    "<think>\nB?\n</think>\n\nC": "C",
    "The answer is (B).\n\nQuestion: And of Italy?\nAnswer: (C)": "B",
    "Antwort: C": "C",
    "Die richtige Antwort ist (C).": "C",
    "La respuesta correcta es B.": "B",
    "La réponse est D": "D",
    "Ответ: C": "C",
    "答案是 B": "B",
    "答案：（B）": "B",
    "正确答案是【C】。": "C",
    "答えは「B」です": "B",
    "정답은 B": "B",
}


@pytest.mark.parametrize("text", LETTERS)
def test_without_options_the_value_is_the_letter(text: str) -> None:
    assert read_answer(text, "choice") == LETTERS[text]


BY_OPTION = {
    "The answer is (B).": "Paris",
    "The answer is (E).": None,  # there is no such option
    "**B. Paris**": "Paris",
    "Paris": "Paris",
    "The answer is Paris, not Rome.": "Paris",
    "The answer is that it is Paris": "Paris",
    "The answer is New York City": "New York",
    "The answer is A Rome": "Rome",
    "It is the city of Paris": "Paris",
    "The capital is Paris (B).": "Paris",
    "Rome is in Italy, Paris in France.": None,
    "Parisian": None,
    "A. Rome\nB. Paris\nC. Oslo\nD. New York\n\nAnswer: C. Oslo": "Oslo",
}


@pytest.mark.parametrize("text", BY_OPTION)
def test_with_options_the_value_is_the_option_s_text(text: str) -> None:
    assert read_answer(text, "choice", choices=CITIES) == BY_OPTION[text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 12.", "12"),
        ("The answer is 1.5", "1.5"),
        ("The answer is 125.", None),
        ("so it is 12 apples", "12"),
        ("The answer is $x+1$.", "$x+1$"),
        ("The answer is (C) 1.5", "1.5"),
        ("-1", None),
    ],
)
def test_no_part_of_a_number_is_an_option(text: str, value: str | None) -> None:
    assert read_answer(text, "choice", choices=NUMBERS) == value


@pytest.mark.parametrize("choices", [CITIES, NUMBERS, ("a", "b c", "b"), ("All", "All of it")])
def test_a_target_names_an_option_by_its_text_or_its_letter(choices: tuple[str, ...]) -> None:
    for letter, choice in zip("ABCD", choices, strict=False):
        assert read_target(choice, "choice", choices=choices) == choice
        assert read_answer(f"The answer is ({letter}).", "choice", choices=choices) == choice
    assert read_target("E", "choice", choices=CITIES) is None


def test_a_capital_letter_is_never_the_text_of_another_option() -> None:
    notes = ("C", "D", "A", "B")
    assert [read_target(letter, "choice", choices=notes) for letter in "ABCD"] == [*notes]
    assert read_answer("The answer is (A).", "choice", choices=notes) == "C"
    assert read_answer("A", "choice", choices=notes) == "C"


def test_only_a_statement_is_stated() -> None:
    assert read_stated("The answer is (B).", "choice") == "B"
    assert read_stated("B) Paris", "choice", choices=CITIES) is None
