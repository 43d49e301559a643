r"""Read a number or an expression in LaTeX as an answer.

The answer is what the text states last: in ``\boxed{…}``, after ``answer is …``, ``Answer: …`` or
``####``. If it states nothing, a short text is the answer as a whole; of a longer one, it is the
formula at the end of the last line or, without one, the last number.

A single number becomes a canonical number, so that ``0.5``, ``1/2`` and ``\frac12`` are the same
value. Other expressions lose their delimiters, spaces and other notation without a meaning; what
remains is still LaTeX. ``equivalence.py`` compares such expressions.
"""

from __future__ import annotations

import re

from archon.answers import turns
from archon.answers.characters import OPAQUE
from archon.answers.marks import find_marks, stated_text
from archon.answers.numbers import read_number, read_stated_number
from archon.answers.numerals import sole_number

MAX_EXPRESSION = 2_000
"""Maximum characters of an expression. A longer one has no value."""
_MAX_WHOLE = 100
"""Maximum characters of a text that is an expression as a whole."""
_PROSE = re.compile(r"(?:(?<!\\)\b[A-Za-z]{2,20}[ ,]+){2}")

_BOX_TO_BOX = re.compile(r"\}[\s$.)]{0,4}(?:,|;|&|\band\b|\bor\b)[\s$(]{0,4}\Z")
_DELIMITED = re.compile(
    r"\$\$(.{1,2000}?)\$\$|\\\[(.{1,2000}?)\\\]|\\\((.{1,2000}?)\\\)|(?<![\\$])\$([^$\n]{1,2000}?)(?<!\\)\$",
    re.DOTALL,
)


def read_math(text: str, *, is_truncated: bool = False) -> str | None:
    """Return the number or expression that a text gives as its answer, or None.

    >>> read_math("Both roots count, so the answer is $x = 1 \\\\pm \\\\sqrt2$.")
    '1\\\\pm\\\\sqrt{2}'
    """
    turn = turns.own_turn(text)
    stated = _stated(turn + OPAQUE if is_truncated else turn)
    if stated is not None:
        return stated
    stripped = turn.strip()
    last_line = stripped.rpartition("\n")[2][-2 * MAX_EXPRESSION :]
    formulas = _formulas(last_line, 0, len(last_line))
    if formulas and not re.search(r"\d", last_line[last_line.rindex(formulas[-1][1][-1]) :]):
        return canonical_expression(formulas[-1][1])
    is_whole = len(stripped) <= _MAX_WHOLE and "\n" not in stripped and "boxed" not in stripped
    if is_whole and not is_truncated and not _PROSE.search(stripped):
        return canonical_expression(stripped)
    return read_number(text, is_truncated=is_truncated)


def read_stated_math(text: str) -> str | None:
    """Return the number or expression that a text states explicitly as its answer, or None."""
    return _stated(turns.own_turn(text))


def read_target_math(text: str) -> str | None:
    """Return the canonical form of a reference answer: an expression, or a worked solution."""
    stated = _stated(text)
    if stated is not None:
        return stated
    whole = _DELIMITED.fullmatch(text.strip())
    return canonical_expression(_content(whole) if whole else text)


def _content(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _stated(text: str) -> str | None:
    """Return the last stated expression. Boxes that are joined by "and" are one expression."""
    boxes: list[str] = []
    for mark in find_marks(text):
        if not mark.group().endswith("{"):
            if boxes:
                break
            sentence = stated_text(text, mark)
            if OPAQUE in sentence:  # it was cut off
                return None
            found = _statement(text, mark, sentence)
            if found is not None:
                return found
            continue
        end = _closing_brace(text, mark.end())
        if end is not None and (box := canonical_expression(text[mark.end() : end])) is not None:
            boxes.insert(0, box)
            if not _BOX_TO_BOX.search(text, max(0, mark.start() - 16), mark.start()):
                break
    return ",".join(boxes) or None


def _statement(text: str, mark: re.Match[str], sentence: str) -> str | None:
    """Return the canonical form of what follows a mark, up to the end of the sentence.

    If the sentence has formulas in delimiters, this is the one at its beginning or else the last
    one, unless a number precedes the first.
    """
    start = text.find(sentence, mark.end())
    while start > mark.end() and text[start - 1] in "$*_ \n:":
        start -= 1
    end = start + len(sentence) + 10
    formulas = _formulas(text, start, min(len(text), max(end, start + MAX_EXPRESSION)))
    formulas = [(position, formula) for position, formula in formulas if position < end]
    before = text[start : formulas[0][0]] if formulas else sentence
    if formulas and not re.search(r"\d", before):
        is_first = not before.strip("*_ \n:")
        return canonical_expression(formulas[0][1] if is_first else formulas[-1][1])
    if not sentence:
        return None
    leading = before if formulas else sentence
    number = sole_number(sentence) or read_stated_number(f"The answer is {leading}")
    return canonical_expression(sentence) if number is None else number


def _formulas(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """Return (position, content) of the formulas in delimiters.

    Formulas that are joined by "or" are one formula with a comma.
    """
    found: list[tuple[int, str]] = []
    joined_at = -1
    for formula in _DELIMITED.finditer(text, start, end):
        if formula.start() == joined_at:
            position, first = found.pop()
            found.append((position, f"{first}, {_content(formula)}"))
        else:
            found.append((formula.start(), _content(formula)))
        joint = _JOINT.match(text, formula.end(), end)
        joined_at = joint.end() if joint else -1
    return found


_JOINT = re.compile(r"\s{0,3}(?:[,;]|,?\s?\b(?:or|and)\b)\s{0,3}(?=\$|\\[(\[])")


def _closing_brace(text: str, start: int) -> int | None:
    """Return the position of the brace that closes a group, or None if it is too far or missing."""
    depth = 1
    for brace in _BRACE.finditer(text, start, start + MAX_EXPRESSION):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return brace.start()
    return None


_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

# ------------------------------------------------------------------------------ canonical form

_SPACES = re.compile(
    r"(?<!\\)\\[,;:! ]|\\(?:q?quad|displaystyle|textstyle|left|right|[bB]igg?[lrm]?)(?![A-Za-z])|~"
)
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|mbox|mathrm|mathbf|mathit|operatorname)\s?\{([^{}]*)\}"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_SHORT_FRACTION = re.compile(
    r"\\frac\s?(?:(\d)\s?(\d)|(\d)\s?(\{)|(\{[^{}]*\})\s?(\d))(?![A-Za-z])"
)
_SHORT_ROOT = re.compile(r"\\sqrt\s?(\d|[A-Za-z](?![A-Za-z]))")
_SHORT_POWER = re.compile(r"([\^_])\{(\w)\}")
_INNER_SPACE = re.compile(r"(?<![A-Za-z])\s+|\s+(?![A-Za-z])")
_VARIABLE = re.compile(
    r"\s*\\?[A-Za-z]{1,10}(?:_\w|_\{\w+\})?(?:\([a-z]\))?\s*(?:=|\\in(?![a-z]))\s*"
)
_RELATION = re.compile(r"[=<>]|\\(?:leq?|geq?|neq?|in)(?![a-z])")
_UNIT = re.compile(r"\^\{?\\circ\}?|°|\\degree(?![a-z])")
_END = re.compile(r"[\s.,;:!*_]+\Z")
_CONJUNCTION = re.compile(r",?\s+(?:or|and)\s+")
_ONE_LETTER = re.compile(r"[\d}]\s*[A-Za-z]\W*\Z")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]*[A-Za-z]")
_SAME = {
    "\u2212": "-",
    "\u2013": "-",
    "\u00d7": r"\cdot ",
    r"\times": r"\cdot",
    r"\le ": r"\leq ",
    r"\ge ": r"\geq ",
    "≤": r"\leq ",
    "≥": r"\geq ",
    "π": r"\pi ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    r"\lbrace": r"\{",
    r"\rbrace": r"\}",
    r"\cdotp": r"\cdot",
    r"\dots": r"\ldots",
}


def canonical_expression(text: str) -> str | None:
    r"""Return the canonical form of a number or an expression; None if it is empty or too long.

    >>> canonical_expression(r"x = \\dfrac{1}{2}"), canonical_expression(r"\\left( 1 , 2 \\right)")
    ('0.5', '(1,2)')
    """
    text = text.strip()
    if not text or len(text) > MAX_EXPRESSION:
        return None
    number = _number(text)
    if number is not None:
        return number
    for written, same in _SAME.items():
        text = text.replace(written, same)
    text = _SPACES.sub(" ", text).replace("$", "")
    text = _TEXT.sub(r"\1", _FRACTION.sub(r"\\frac", text))
    text = _SHORT_FRACTION.sub(_full_fraction, text)
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", text)
    text = _SHORT_POWER.sub(r"\1\2", _UNIT.sub("", text))
    text = _END.sub("", text).strip()
    variable = _VARIABLE.match(text)
    if variable and not _RELATION.search(text, variable.end()) and variable.end() < len(text):
        text = text[variable.end() :]
    if _WORDS.fullmatch(text):
        return text.casefold()
    text = _INNER_SPACE.sub("", _CONJUNCTION.sub(",", text))
    return _number(text) or text or None


def _number(text: str) -> str | None:
    """Return the number that a text is; in ``4 n``, the letter may be a variable."""
    return None if _ONE_LETTER.search(text) else sole_number(text)


def _full_fraction(match: re.Match[str]) -> str:
    top, bottom, top_only, brace, group, below = match.groups()
    if top:
        return rf"\frac{{{top}}}{{{bottom}}}"
    return rf"\frac{{{top_only}}}{brace}" if top_only else rf"\frac{group}{{{below}}}"
