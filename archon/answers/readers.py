"""The public functions that extract an answer from a model's text and compare answers."""

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
"""Version of the extraction rules. A run can be resumed only with the version with which it was
started."""

_MAX_TEXT = 100_000
_BEFORE_TEXT = re.compile(r"\A(?:[\s*_`\"'“”\u2018\u2019$:!,;]|\\[(\[]|\.(?![0-9]))*+")
_AFTER_TEXT = " \t\r\n*_`\"'“”\u2018\u2019$.!,;:"
_LATEX_END = re.compile(r"\\[)\]]\Z")


def read_answer(text: str, kind: AnswerKind, *, is_truncated: bool = False) -> str | None:
    r"""Return the canonical value of the answer in a text, or None if there is none.

    Reasoning is not part of the answer. A text that ends during its reasoning has no answer.

    - ``number``: an exact rational number: ``1000``, ``0.75``, ``-4`` or, without a finite decimal
      expansion, ``p/q`` in lowest terms. Percent signs, currencies and units are dropped, so
      ``25%`` is 25.
    - ``text``: the stated answer or, without one, the first 100,000 characters of the text. Letter
      case, character width, white space and surrounding punctuation are ignored.
    - ``code``: the last fenced code block or, without one, the complete text.

    Parameters
    ----------
    is_truncated
        True if the text was cut off. A number at the very end of the text may lack digits, so it is
        not read. If the text states no answer, only complete sentences are searched.

    >>> read_answer("She pays 2 * 9 = 18 dollars (see step 3).", "number")
    '18'
    >>> read_answer(r"So the answer is $\\boxed{\\frac{3}{4}}$.", "number")
    '0.75'
    """
    text = split_reasoning(text).answer
    if kind == "number":
        return _read_number(normalize(text), is_truncated=is_truncated)
    if kind == "code":
        blocks = find_blocks(text)
        return blocks[-1].body if blocks else text.strip() or None
    text = turns.own_turn(text)
    return _stated_text(text) or _normalised(text[:_MAX_TEXT]) or None


def read_stated(text: str, kind: AnswerKind) -> str | None:
    """Return the value that a text states explicitly, as in "The answer is 18.", or None.

    >>> read_stated("The answer is 18. Step 2 gave 9.", "number"), read_stated("9 + 9", "number")
    ('18', None)
    """
    text = split_reasoning(text).answer
    if kind == "number":
        return _stated_number(normalize(text))
    return _stated_text(turns.own_turn(text)) if kind == "text" else None


def read_program(text: str) -> str | None:
    """Return the Python program in a text, or None.

    The result is the first of the following that the text contains: the last Python block that
    defines ``solution``; the last Python block; a program at the beginning of the text, up to the
    next fence; the last code block without a language.

    >>> read_program("def solution():\\n    return 18\\n```\\nThis adds 9 and 9.")
    'def solution():\\n    return 18'
    """
    return find_program(split_reasoning(text).answer)


def read_target(text: str, kind: AnswerKind) -> str | None:
    """Return the canonical value of a data set's reference answer (target), or None.

    For the kind *number*, the target must be a number, with or without a currency or a unit, or a
    worked solution that states a number as its answer. Numbers in other texts are not read.

    >>> read_target("$1,234", "number"), read_target("(2,3)", "number")
    ('1234', None)
    """
    if kind != "number":
        return read_answer(text, kind)
    value = sole_number(text)
    return _stated_number(normalize(text)) if value is None else value


def same_value(a: str | None, b: str | None) -> bool:
    """Return whether two canonical values are equal; None equals nothing, not even None."""
    return a is not None and a == b


# ------------------------------------------------------------------------------------- numbers


_SENTENCE_ENDS = (". ", ".\n", "! ", "? ", "\n")


def _read_number(text: str, *, is_truncated: bool) -> str | None:
    """Return the number in the model's turn, given a normalized text.

    The turn ends at the first possible end with an answer before it. If that answer is not stated
    explicitly, a line such as ``Question: …`` may be part of the turn. In this case, the value is
    None unless the number is the same with and without the text from that line on.
    """
    value_of_all, _ = _number_of(text, is_truncated=is_truncated)
    for turn_end in turns.ends(text):
        value, is_stated = _number_of(text[: turn_end.position])
        if is_stated:
            return value
        if value is not None:
            return value if turn_end.is_certain or value == value_of_all else None
    return value_of_all


def _number_of(text: str, *, is_truncated: bool = False) -> tuple[str | None, bool]:
    """Return (the number in a text, whether the text states it explicitly), ignoring turns."""
    found = statements.stated_number(text + OPAQUE if is_truncated else text)
    if found.is_stated:
        return found.value, True
    if is_truncated:
        end = max(text.rfind(sentence_end) for sentence_end in _SENTENCE_ENDS) + 1
        value = last_number(text[:end], found.mentions)
        if value is not None:
            return value, False
        text += OPAQUE
    return last_number(text, found.mentions), False


def _stated_number(text: str) -> str | None:
    for turn_end in turns.ends(text):
        found = statements.stated_number(text[: turn_end.position])
        if found.is_stated:
            return found.value
    return statements.stated_number(text).value


# ---------------------------------------------------------------------------------------- text


def _stated_text(text: str) -> str | None:
    return next(filter(None, map(_normalised, stated_texts(text))), None)


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(folded.replace("\u2212", "-").split()).rstrip(_AFTER_TEXT)
    folded = _BEFORE_TEXT.sub("", folded, count=1)
    return _LATEX_END.sub("", folded).rstrip(_AFTER_TEXT)
