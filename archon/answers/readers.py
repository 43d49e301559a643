"""The public functions that extract an answer from a model's text and compare answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archon.answers import choice, json_values, math_text, numbers, texts
from archon.answers.code_blocks import find_program, read_code
from archon.answers.equivalence import are_equivalent, first_equivalent
from archon.answers.kinds import ANSWER_TYPES
from archon.reasoning import split_reasoning
from archon.types import AnswerKind

READING_VERSION = 3
"""Version of the extraction rules. A run can be resumed only with the version with which it was
started."""

Choices = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The functions that read answers of one type.

    Each gets the text and the question's options, which are empty except for choices, and returns
    the canonical value or None.
    """

    answer: Callable[[str, Choices, bool], str | None]
    """The answer of a model's text without reasoning. The last argument is ``is_truncated``."""
    stated: Callable[[str, Choices], str | None]
    """The answer that a model's text states explicitly."""
    target: Callable[[str, Choices], str | None]
    """The reference answer of a data set."""


READERS: Mapping[AnswerKind, Reader] = {
    "number": Reader(
        answer=lambda text, choices, cut: numbers.read_number(text, is_truncated=cut),
        stated=lambda text, choices: numbers.read_stated_number(text),
        target=lambda text, choices: numbers.read_target_number(text),
    ),
    "text": Reader(
        answer=lambda text, choices, cut: texts.read_text(text),
        stated=lambda text, choices: texts.read_stated_text(text),
        target=lambda text, choices: texts.read_text(split_reasoning(text).answer),
    ),
    "choice": Reader(
        answer=lambda text, choices, cut: choice.read_choice(text, choices),
        stated=choice.read_stated_choice,
        target=choice.read_target_choice,
    ),
    "math": Reader(
        answer=lambda text, choices, cut: math_text.read_math(text, is_truncated=cut),
        stated=lambda text, choices: math_text.read_stated_math(text),
        target=lambda text, choices: math_text.read_target_math(text),
    ),
    "code": Reader(
        answer=lambda text, choices, cut: read_code(text),
        stated=lambda text, choices: None,
        target=lambda text, choices: read_code(split_reasoning(text).answer),
    ),
    "json": Reader(
        answer=lambda text, choices, cut: json_values.read_json(text),
        stated=lambda text, choices: json_values.read_json(text),
        target=lambda text, choices: json_values.read_target_json(text),
    ),
}
"""Type of answer → the functions that read it."""


def read_answer(
    text: str, kind: AnswerKind, *, is_truncated: bool = False, choices: Choices = ()
) -> str | None:
    r"""Return the canonical value of the answer in a text, or None if there is none.

    Reasoning is not part of the answer. A text that ends during its reasoning has no answer.

    - ``number``: an exact rational number: ``1000``, ``0.75``, ``-4`` or, without a finite decimal
      expansion, ``p/q`` in lowest terms. Percent signs, currencies and units are dropped, so
      ``25%`` is 25.
    - ``text``: the stated answer or, without one, the first 100,000 characters of the text. Letter
      case, character width, white space and surrounding punctuation are ignored.
    - ``choice``: the option's text; without ``choices``, its letter (``choice.py``).
    - ``math``: a number as above, or an expression in LaTeX (``math_text.py``).
    - ``code``: the last fenced code block or, without one, the complete text.
    - ``json``: the last JSON value, with sorted keys and canonical numbers (``json_values.py``).

    Parameters
    ----------
    is_truncated
        True if the text was cut off. A number at the very end of the text may lack digits, so it is
        not read. If the text states no answer, only complete sentences are searched.
    choices
        The options in the order in which the prompt shows them (``Question.choices``).

    >>> read_answer("She pays 2 * 9 = 18 dollars (see step 3).", "number")
    '18'
    >>> read_answer(r"So the answer is $\\boxed{\\frac{3}{4}}$.", "number")
    '0.75'
    >>> read_answer("The answer is (B).", "choice", choices=("Rome", "Paris"))
    'Paris'
    """
    return READERS[kind].answer(split_reasoning(text).answer, choices, is_truncated)


def read_stated(text: str, kind: AnswerKind, *, choices: Choices = ()) -> str | None:
    """Return the value that a text states explicitly, as in "The answer is 18.", or None.

    >>> read_stated("The answer is 18. Step 2 gave 9.", "number"), read_stated("9 + 9", "number")
    ('18', None)
    """
    return READERS[kind].stated(split_reasoning(text).answer, choices)


def read_program(text: str) -> str | None:
    """Return the Python program in a text, or None.

    The result is the first of the following that the text contains: the last Python block that
    defines ``solution``; the last Python block; a program at the beginning of the text, up to the
    next fence; the last code block without a language.

    >>> read_program("def solution():\\n    return 18\\n```\\nThis adds 9 and 9.")
    'def solution():\\n    return 18'
    """
    return find_program(split_reasoning(text).answer)


def read_target(text: str, kind: AnswerKind, *, choices: Choices = ()) -> str | None:
    """Return the canonical value of a data set's reference answer (target), or None.

    For the kind *number*, the target must be a number, with or without a currency or a unit, or a
    worked solution that states a number as its answer. Numbers in other texts are not read. For the
    kind *choice*, it is an option's letter or its text.

    >>> read_target("$1,234", "number"), read_target("(2,3)", "number")
    ('1234', None)
    """
    return READERS[kind].target(text, choices)


def same_value(a: str | None, b: str | None, kind: AnswerKind = "text") -> bool:
    """Return whether two canonical values are the same; None equals nothing, not even None.

    Values of most kinds are the same if they are the same string. Expressions of the kind *math*
    are the same if they are equivalent (``equivalence.py``).
    """
    if a is None or b is None:
        return False
    return are_equivalent(a, b) if _has_equivalence(kind) else a == b


def first_same(values: list[str], kind: AnswerKind) -> list[str]:
    """Return the first value that is the same as each value, in order.

    >>> first_same(["0.5", "Rome", "0.5"], "text")
    ['0.5', 'Rome', '0.5']
    """
    return first_equivalent(values) if _has_equivalence(kind) else values


def _has_equivalence(kind: AnswerKind) -> bool:
    return ANSWER_TYPES[kind].grouping == "equivalence"
