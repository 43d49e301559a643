"""The value of an answer, read from a model's text, and equality of values."""

from __future__ import annotations

import re
import unicodedata

from archon.answers import statements, turns
from archon.answers.characters import OPAQUE
from archon.answers.code_blocks import find_blocks, find_program
from archon.answers.last_number import last_number
from archon.answers.marks import stated_texts
from archon.answers.numerals import normalize, sole_number
from archon.reasoning import split_reasoning
from archon.types import AnswerKind

READING_VERSION = 3
"""Of the rules by which values are read; a run is resumed under the rules that it began with."""

_LONGEST_BLOCK = 5_000
_LONGEST_TEXT = 100_000
_BEFORE_TEXT = re.compile(r"(?:[\s*_`\"'“”\u2018\u2019$:!,;]|\\[(\[]|\.(?![0-9]))*+")
_AFTER_TEXT = " \t\r\n*_`\"'“”\u2018\u2019$.!,;:"
_LATEX_END = re.compile(r"\\[)\]]\Z")


def read_answer(text: str, kind: AnswerKind, *, is_truncated: bool = False) -> str | None:
    r"""The canonical value of the answer that a text gives, or None if it gives none.

    Reasoning is not part of the answer; a text that ends within its reasoning has no answer.

    - ``number``: an exact rational: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest terms.
      Percent signs, currencies and units are dropped: ``25%`` is 25.
    - ``text``: what is stated as the answer, else the whole text, of which 100,000 characters
      count; letter case, width of characters, white space, and punctuation around it do not.
    - ``code``: the last fenced block of code, else the whole text.

    Parameters
    ----------
    is_truncated
        The text was cut off. A number at its very end may lack digits and is not read; where
        nothing is stated, the sentences that are complete count.

    >>> read_answer("She pays 2 * 9 = 18 dollars (see step 3).", "number")
    '18'
    >>> read_answer(r"So the answer is $\\boxed{\\frac{3}{4}}$.", "number")
    '0.75'
    """
    text = split_reasoning(text).answer
    if kind == "number":
        return _read_number(normalize(text), is_truncated=is_truncated)
    return _read_code(text) if kind == "code" else _read_text(turns.own_turn(text))


def read_stated(text: str, kind: AnswerKind) -> str | None:
    """The value that a text says is its answer; None where it says so of none.

    >>> read_stated("The answer is 18. Step 2 gave 9.", "number"), read_stated("9 + 9", "number")
    ('18', None)
    """
    text = split_reasoning(text).answer
    if kind == "number":
        return _stated_number(normalize(text))
    return _stated_text(turns.own_turn(text)) if kind == "text" else None


def read_program(text: str) -> str | None:
    """The Python program that a text holds, or None if it holds none.

    That is the last fenced block of Python that defines ``solution``, else the last one, else a
    program that the text begins with, as far as the next line of a fence, else the last block that
    names no language.

    >>> read_program("def solution():\\n    return 18\\n```\\nThis adds 9 and 9.")
    'def solution():\\n    return 18'
    """
    return find_program(split_reasoning(text).answer)


def read_target(text: str, kind: AnswerKind) -> str | None:
    """The canonical value of a right answer as a data set has it, or None if it has none.

    A number is the whole target but for a currency or a unit, or the whole of what a worked
    solution states as its answer; no number is picked out of anything else.

    >>> read_target("$1,234", "number"), read_target("(2,3)", "number")
    ('1234', None)
    """
    if kind != "number":
        return read_answer(text, kind)
    value = sole_number(text)
    return _stated_number(normalize(text)) if value is None else value


def same_value(a: str | None, b: str | None) -> bool:
    """Whether two values are there and equal; canonical values are equal as strings."""
    return a is not None and a == b


# ------------------------------------------------------------------------------------- numbers


_SENTENCE_ENDS = (". ", ".\n", "! ", "? ", "\n")


def _read_number(text: str, *, is_truncated: bool) -> str | None:
    """The number of the model's own turn, for a text in the form that ``normalize`` gives.

    A turn ends where the model begins another, if there is an answer before. After a number that
    is not stated, a line such as ``Question: …`` may still belong to the answer: it has a value
    if both readings agree.
    """
    whole, is_stated = _number_of(text, is_truncated=is_truncated)
    for turn_end in turns.ends(text):
        value, is_stated = _number_of(text[: turn_end.position])
        if is_stated:
            return value
        if value is not None:
            return value if turn_end.is_certain or value == whole else None
    return whole


def _number_of(text: str, *, is_truncated: bool = False) -> tuple[str | None, bool]:
    """The number of a text without regard to turns, and whether it is stated there."""
    found = statements.stated_number(text + OPAQUE if is_truncated else text)
    if found.is_stated:
        return found.value, True
    if is_truncated:
        end = max(text.rfind(sentence_end) for sentence_end in _SENTENCE_ENDS) + 1
        value = last_number(text[:end], found.mentions, _LONGEST_BLOCK)
        if value is not None:
            return value, False
        text += OPAQUE
    return last_number(text, found.mentions, _LONGEST_BLOCK), False


def _stated_number(text: str) -> str | None:
    for turn_end in turns.ends(text):
        found = statements.stated_number(text[: turn_end.position])
        if found.is_stated:
            return found.value
    return statements.stated_number(text).value


# ------------------------------------------------------------------------------- text and code


def _read_text(text: str) -> str | None:
    return _stated_text(text) or _normalised(text[:_LONGEST_TEXT]) or None


def _stated_text(text: str) -> str | None:
    return next(filter(None, map(_normalised, stated_texts(text))), None)


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(folded.replace("\u2212", "-").split()).rstrip(_AFTER_TEXT)
    before = _BEFORE_TEXT.match(folded)
    folded = folded[before.end() if before else 0 :]
    return _LATEX_END.sub("", folded).rstrip(_AFTER_TEXT)


def _read_code(text: str) -> str | None:
    blocks = find_blocks(text)
    return blocks[-1].body if blocks else text.strip() or None
