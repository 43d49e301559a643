"""Reading of values from texts: examples of model texts, and properties of all texts."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.answers import (
    canonical_number,
    last_number,
    read_answer,
    read_program,
    read_stated,
    same_value,
)
from archon.types import AnswerKind

STATED = [
    ("The answer is 42", "42"),
    ("6 times 7 is 42. The answer is 42.", "42"),
    ("Answer: 42 apples", "42"),
    ("Answer: 18 (see step 3)", "18"),
    ("Answer: 18. She earns 20 and pays 2.", "18"),
    ("**Answer:** $-4$", "-4"),
    ("**Answer**: **42** apples in 3 boxes", "42"),
    ("**Final Answer**: \\(42\\)", "42"),
    ("### Answer\n\n42\n\nChecked in 2 ways.", "42"),
    ("Answer - 42", "42"),
    ("Final answer = 42, found in 3 steps", "42"),
    ("The final answer is: $\\boxed{1,000}$ dollars for 3 people", "1000"),
    ("The answer is:\n\n$$42$$\nfrom step 3", "42"),
    ("The answer is approximately 3.14.", "3.14"),
    ("The correct answer is 12 apples for 3 children.", "12"),
    ("The answer is $18 per day for 3 days.", "18"),
    ("The answer would be 5, not 6.", "5"),
    ("The answer to 3 + 4 is 7. I used 2 numbers.", "7"),
    ("The answer is $5 + $3 = $8.", "8"),
    ("The answer is 5 apples + 3 apples = 8 apples.", "8"),
    ("The answer is 18 = 2 * 9.", "18"),
    ("The answer is x = 5.", "5"),
    ("The answer is 6 * 7 = 42 (see step 3, where x = 1).", "42"),
    ("The answer is 18, since x = 3.", "18"),
    ("The answer is (18).", "18"),
    (r"\boxed{12}", "12"),
    (r"Therefore \boxed{x = 5} in 3 steps.", "5"),
    (r"So $\boxed{18 \text{ apples}}$, as 9 + 9.", "18"),
    (r"$\boxed{\frac{3}{4}}$ of 12", "0.75"),
    (r"\boxed{\dfrac{1}{3}}", "1/3"),
    ("She makes 9 * 2 = 18.\n#### 18", "18"),
    ("#### $1,234.50 dollars in 3 days", "1234.5"),
    ("#### 2. Total cost\nThe total is 15 dollars.", "15"),
]

LAST = [
    ("$1,000.00", "1000"),
    ("18 (see step 3)", "18"),
    ("So she has 18 dollars (9 for each of 2 days).", "18"),
    ("**18** (see step 3)", "18"),
    ("-4", "-4"),
    ("\u22124", "-4"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("It falls to -7 degrees", "-7"),
    ("y = - 5", "-5"),
    ("10 - 4", "4"),
    ("10 -4", "4"),
    ("10-4", "4"),
    ("pages 3\u20135", "5"),
    ("5 - -3", "-3"),
    ("3/4", "0.75"),
    ("-3/4", "-0.75"),
    ("2/6 of it", "1/3"),
    ("1 1/2 cups", "1.5"),
    ("-1 1/2", "-1.5"),
    ("2\u00bd cups", "2.5"),
    (r"2\frac{1}{2}", "2.5"),
    (r"-\frac{3}{4}", "-0.75"),
    (r"\frac34", "0.75"),
    ("1.5e3", "1500"),
    ("2E-3", "0.002"),
    ("1.5 \u00d7 10^3", "1500"),
    (r"1.5 \times 10^{-3}", "0.0015"),
    ("25%", "25"),
    ("25 \\%", "25"),
    ("= 42", "42"),
    ("x = 5", "5"),
    ("It is 42.", "42"),
    ("It is 42!", "42"),
    ("1,234,567 people", "1234567"),
    (r"1{,}000", "1000"),
    (r"12\,500 metres", "12500"),
    ("1\u202f000", "1000"),
    ("1_000", "1000"),
    (r"\$18", "18"),
    ("\uff12\uff15\uff05", "25"),
    ("Rs.500", "500"),
    (".5", "0.5"),
    ("007", "7"),
    ("-0.0", "0"),
    ("42apples", "42"),
    ("答案是42", "42"),
    ("He arrives at 3:00.", "3"),
    ("He arrives at 3:30.", None),
    ("The ratio is 3:2.", None),
    ("On 3/4/2024", None),
    ("version 1.2.3", None),
    ("2^10", None),
    (r"\sqrt{2}", None),
    ("1/0", None),
    ("1e999999999", None),
    ("H2O and GSM8K", None),
    ("On the 3rd day there are 18 of them, as on the 5th.", "18"),
    ("She has 18, as found in step 3", "18"),
    ("1. First, take 5.\n2. Then add 13 to get 18.\n3. Done.", "18"),
    ("Answer: She has 3 + 4 = 7 apples. She eats 2. 5 remain.", "5"),
    ("Answer: 48/2 = 24 clips in May.\nAltogether 48 + 24 = 72.", "72"),
    ("Answer: 48 clips were sold in April. She sold 24 in May. In total 72.", "72"),
    ("Answer:\n1. First add 3 + 4.\n2. So it is 7", "7"),
    ("The answer is clear. There are 5", "5"),
    ("The answer is not 4. It is 5", "5"),
    ("", None),
    ("No number here.", None),
]


@pytest.mark.parametrize(("text", "value"), STATED)
def test_a_stated_answer_wins_over_every_other_number(text: str, value: str) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize(("text", "value"), LAST)
def test_without_a_statement_the_last_number_that_is_one_counts(
    text: str, value: str | None
) -> None:
    assert read_answer(text, "number") == value


@pytest.mark.parametrize("first", ["The answer is 7.", "#### 7", r"\boxed{7}", "Answer: 7"])
@pytest.mark.parametrize("last", ["The answer is 9.", "#### 9", r"\boxed{9}", "Answer: 9"])
def test_the_last_statement_wins_over_a_recited_example(first: str, last: str) -> None:
    assert read_answer(f"Q: 3 + 4?\n{first}\n\nQ: 4 + 5?\n{last}\n", "number") == "9"


# ---------------------------------------------------------------------------------- properties

fractions = st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**6)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)
STATEMENTS = [
    "{}",
    "The answer is {}.",
    "So it is {} (see step 3).",
    "Answer: {}",
    "#### {}",
    "\\boxed{{{}}}",
    "2 + 2 = 4, hence x = {}",
    "**{}**",
    "The answer is ${}$, as 1 + 1 = 2.",
]


@given(value=fractions, statement=st.sampled_from(STATEMENTS))
def test_every_fraction_is_read_exactly(value: Fraction, statement: str) -> None:
    read = read_answer(statement.format(value), "number")
    assert read is not None
    assert Fraction(read) == value


@given(value=st.integers(-(10**30), 10**30), statement=st.sampled_from(STATEMENTS))
def test_thousands_separators_and_trailing_zeros_do_not_matter(value: int, statement: str) -> None:
    assert read_answer(statement.format(f"{value:,}.00"), "number") == str(value)


@given(value=decimals)
def test_the_notation_of_a_decimal_does_not_matter(value: object) -> None:
    plain = canonical_number(f"{value:f}")
    assert plain is not None
    assert plain == canonical_number(f"{value:e}")
    assert Fraction(plain) == Fraction(f"{value:f}")


@given(value=fractions)
def test_a_canonical_number_is_its_own_canonical_form(value: Fraction) -> None:
    canonical = canonical_number(str(value))
    assert canonical is not None
    assert canonical_number(canonical) == canonical


@given(a=fractions, b=fractions)
def test_values_are_the_same_exactly_when_the_numbers_are_equal(a: Fraction, b: Fraction) -> None:
    assert same_value(canonical_number(str(a)), canonical_number(str(b))) == (a == b)


def test_two_missing_values_are_not_the_same_value() -> None:
    assert not same_value(None, None)


texts = st.text() | st.text("0123456789.,/-+eE^*$%(){}\\#= answeriboxdfrac\n", max_size=60)


@given(text=texts, kind=st.sampled_from(["number", "text", "code"]))
def test_any_text_is_read_without_an_error(text: str, kind: str) -> None:
    value = read_answer(text, kind)  # type: ignore[arg-type]
    assert value is None or value
    assert read_stated(text, kind) in (None, value)  # type: ignore[arg-type]
    program = read_program(text)
    assert program is None or program in text


@given(text=texts)
def test_a_number_that_is_read_is_in_canonical_form(text: str) -> None:
    value = read_answer(text, "number")
    assert value is None or canonical_number(value) == value


@pytest.mark.parametrize(
    ("text", "value"), [(" $1,000.00 ", "1000"), ("18 apples", None), ("1 2", None), ("", None)]
)
def test_only_a_text_that_is_one_number_is_a_number(text: str, value: str | None) -> None:
    assert canonical_number(text) == value


# ------------------------------------------------------------------------------------ large texts


@pytest.mark.parametrize("digits", [4_000, 400_000])
def test_numbers_of_many_thousand_digits_are_read(digits: int) -> None:
    assert read_answer(f"The answer is {'9' * digits}.", "number") == "9" * digits
    assert read_answer(f"It is 0.{'0' * digits}1", "number") == f"0.{'0' * digits}1"


@pytest.mark.parametrize("exponent", ["999999999", "-999999999", "9" * 5000])
def test_a_number_with_a_huge_exponent_is_not_read(exponent: str) -> None:
    assert read_answer(f"It is 1e{exponent}", "number") is None
    assert read_answer(f"It is 3 \u00d7 10^{{{exponent}}}", "number") is None


ADVERSARIAL = [
    "1", "1,", "1,000", "1 ", "1/", "1.", "1e", "1:", "1_000", "1 (", "(1", "=1", "1 1/", "-",
    " ", "\n", "a", "\\", "`", "```\n", "{", ".", "answer", "answer ", "answer is ", "answer: 1 a ",
    "answer is 1 = ", "\\boxed{", "####", "#### ", "\\frac{1}{", "10^", "2**", "\u00bd",
    "1 000 ", "1'", "1, ", "(1, ", "1 or ", "1 of ", "x = 1, ", "1 and ", "1 hour 1 minute ", "1-",
    "\\text{", "\\foo{{", "1{,}", "five ", "answer is five ", "answer is (", "answer is that ",
    "5\nHuman: ", "\n\nQuestion: 5\n", "<|im_start|>", "\nNote 1", "- 1\n", "<<1", "\u0663",
    '"answer": "', '"answer": 1, ', "<answer>", "</answer>", "1~", "1...", "\n#### 5\n\nAa",
    "\nCheck:\n5", "\nConfidence: 5", "Answer: 5 a for ", "answer is A. ", "<sup>1</sup>", "+-",
    "\\begin{array}", "[1]. ", "~~1", "1 by ", "Answer: a\nCheck", "$", "负1", "| 1",
]  # fmt: skip


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_time_is_linear_in_hostile_texts(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    for kind in ("number", "text", "code"):
        read_answer(text, kind)  # type: ignore[arg-type]
    read_program(text)
    # About 0.5 s at worst; anything quadratic would take minutes.
    assert time.process_time() - started < 10


# ---------------------------------------------------------------------------------- text and code


@pytest.mark.parametrize(
    "text",
    [
        "New York",
        "  new   york. ",
        "**New York**",
        "I thought of Boston first. The answer is New York.",
        "Answer: NEW YORK",
        r"$\boxed{\text{New York}}$",
        "#### New York\n",
        "\uff2e\uff45\uff57 York",
    ],
)
def test_texts_are_equal_but_for_case_width_spaces_and_punctuation(text: str) -> None:
    assert read_answer(text, "text") == "new york"


def test_a_text_without_words_has_no_value() -> None:
    assert read_answer(" ** ", "text") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("print(1)", "print(1)"),
        ("First:\n```python\na = 1\n```\nthen:\n```\nif a:\n    b = 2\n```\n", "if a:\n    b = 2"),
        ("```python\na = 1\n```\n```\n```\n", "a = 1"),
        ("Cut off:\n```python\ndef f():\n    return 1", "def f():\n    return 1"),
        ("~~~\na = '```'\n~~~", "a = '```'"),
        (" \n ", None),
    ],
)
def test_code_is_the_last_nonempty_fenced_block(text: str, code: str | None) -> None:
    assert read_answer(text, "code") == code


@given(st.lists(st.sampled_from(["18", "(see 3)", "x", "", "of 7.", "1/2"]), max_size=60))
def test_the_size_of_blocks_does_not_change_the_answer(words: list[str]) -> None:
    text = "".join(f"{word} {word[:2]}\n" for word in words)
    with pytest.MonkeyPatch.context() as patched:
        in_one_block = read_answer(text, "number")
        patched.setattr(last_number, "_BLOCK_CHARS", 40)
        assert read_answer(text, "number") == in_one_block


# --------------------------------------------------------------------------------------- programs

PROGRAM = "def solution():\n    return 18"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{PROGRAM}\n```",
        f"Let me see.\n```py\n{PROGRAM}\n```\nThe answer is 18.",
        f"```Python3\n{PROGRAM}",
        f"```python\n{PROGRAM}```",
        f"```\n{PROGRAM}\n```\nIt prints 18.",
        f"~~~python\n{PROGRAM}\n~~~",
        f"{PROGRAM}\n```",
        f"{PROGRAM}\n```\n\nThis returns 18.",
        f"\n python\n{PROGRAM}\n```\nIt prints:\n```\n18\n```",
        PROGRAM,
        f"```python\nx = 1\n```\nBetter:\n```python\n{PROGRAM}\n```",
        f"```python\n{PROGRAM}\n```\nCall it:\n```python\nprint(solution())\n```",
        f"```python\n{PROGRAM}\n```\nOutput:\n```\n18\n```",
        f"```python\n{PROGRAM}\n```\n```bash\npython it.py\n```",
    ],
)
def test_the_program_of_a_text_is_found(text: str) -> None:
    assert read_program(text) == PROGRAM


def test_of_several_blocks_without_a_solution_the_last_counts() -> None:
    assert read_program("```python\nx = 1\n```\n```python\nprint(2)\n```") == "print(2)"


@pytest.mark.parametrize(
    "text",
    ["", "The answer is 18.", "```python\n```", "```json\n{}\n```", "Import x.", "from 5 import"],
)
def test_prose_contains_no_program(text: str) -> None:
    assert read_program(text) is None


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("In 2 steps. The answer is 18.", "number", "18"),
        ("9 + 9 = 18", "number", None),
        ("The answer is Paris.", "text", "paris"),
        ("Paris", "text", None),
        (PROGRAM, "code", None),
    ],
)
def test_a_value_that_is_not_stated_is_not_read(
    text: str, kind: AnswerKind, value: str | None
) -> None:
    assert read_stated(text, kind) == value
