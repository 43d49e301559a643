r"""From a model's text to the value of its answer, and equality of values.

A number is read from where the text states its answer: the last ``answer is …``, ``\boxed{…}``,
``#### …`` or ``Answer: …`` that holds one. Where nothing is stated, the last number of the text
counts; numbers of steps, items of a list, and remarks in parentheses after a number do not.

Every function runs in time linear in the text, whatever the text is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator

from archon.numerals import Number, canonical_number, number_at, numbers_in, plain
from archon.types import AnswerKind

__all__ = ["canonical_number", "read_answer", "read_program", "read_stated", "same_value"]


def read_answer(text: str, kind: AnswerKind) -> str | None:
    r"""The canonical value of the answer that a text gives, or None if it gives none.

    - ``number``: an exact rational: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest terms.
      Percent signs, currencies and units are dropped: ``25%`` is 25.
    - ``text``: what is stated as the answer, else the whole text, of which 100,000 characters
      count; letter case, width of characters, white space, and punctuation around it do not.
    - ``code``: the last fenced block of code, else the whole text.

    >>> read_answer("She pays 2 * 9 = 18 dollars (see step 3).", "number")
    '18'
    >>> read_answer(r"So the answer is $\\boxed{\\frac{3}{4}}$.", "number")
    '0.75'
    """
    if kind == "number":
        return _read_number(plain(text))
    return _read_code(text) if kind == "code" else _read_text(text)


def read_stated(text: str, kind: AnswerKind) -> str | None:
    """The value that a text says is its answer; None where it says so of none.

    >>> read_stated("The answer is 18. Step 2 gave 9.", "number"), read_stated("9 + 9", "number")
    ('18', None)
    """
    if kind == "number":
        return _stated_number_of(plain(text))
    return _stated_text_of(text) if kind == "text" else None


def read_program(text: str) -> str | None:
    """The Python program that a text holds, or None if it holds none.

    That is the last fenced block of Python that defines ``solution``, else the last one, else a
    program that the text begins with, as far as the next line of a fence, else the last block that
    names no language.

    >>> read_program("def solution():\\n    return 18\\n```\\nThis adds 9 and 9.")
    'def solution():\\n    return 18'
    """
    blocks = list(_blocks(text))
    python = [body for language, body in blocks if _PYTHON.fullmatch(language)]
    if python:
        return next(filter(_SOLUTION.search, reversed(python)), python[-1])
    begun = _BEGINS_PROGRAM.match(text)
    if begun:
        fence = _FENCE.search(text, begun.end())
        return text[begun.end() : fence.start() if fence else len(text)].rstrip()
    return next((body for language, body in reversed(blocks) if not language), None)


def same_value(a: str | None, b: str | None) -> bool:
    """Whether two values are there and equal; canonical values are equal as strings."""
    return a is not None and a == b


# ------------------------------------------------------------------- where an answer is stated

_LONGEST_STATEMENT = 300
_MOST_STATEMENTS = 200
# Each begins with a character of one set, between which the search skips quickly.
_MARK = re.compile(
    r"[\\#Aa](?:(?<=\\)[Ff]?[Bb][Oo][Xx][Ee][Dd]\s?\{|(?<=#)(?<!##)###(?!#)"
    r"|(?<=[Aa])(?<!\w[Aa])[Nn][Ss][Ww][Ee][Rr]\b)"
)
_IS = re.compile(
    r"[^.!?:=,\n]{0,60}?(?:\b(?:is|was|be|equals|comes to)\b(?!\s+not\b)\s?:?|=)", re.I
)
_COLON = re.compile(r"[ *_]{0,4}(?:\([^()\n]{0,40}\))?[ *_]{0,4}(?:[:-]|\n)")
_DECORATION = re.compile(r"[\s*_`\"'$€£¥₹(\[{>~≈+-]{0,40}(?:[a-z]\s?=[\s$-]{0,4})?", re.I)
_SENTENCE_END = re.compile(r"[.!?](?=[\s*_\"')$]|\Z)|\n")


def _marks(text: str) -> Iterator[re.Match[str]]:
    """The places where an answer may be stated, the last one first."""
    return reversed(deque(_MARK.finditer(text), maxlen=_MOST_STATEMENTS))


def _end(text: str, start: int) -> int:
    """Where the sentence that begins at ``start`` ends, or the longest statement does."""
    limit = min(len(text), start + _LONGEST_STATEMENT)
    end = _SENTENCE_END.search(text, start, limit)
    return end.start() if end else limit


def _closing_brace(text: str, start: int) -> int:
    """Where the brace opened just before ``start`` is closed, or the longest statement ends."""
    depth = 1
    limit = min(len(text), start + _LONGEST_STATEMENT)
    for position in range(start, limit):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return limit


# ------------------------------------------------------------------------------------- numbers

_LONGEST_BLOCK = 20_000
_LIST_ITEM = re.compile(r"[.):]\s{1,20}\S")
_OPERATOR = re.compile(r"\s?[-+*/\u00d7÷]\s?[$(]?[0-9]")
_EQUALS = re.compile(r"(?:[=≈]|\bequals\b|\bequal to\b)[\s$€£¥₹(*-]{0,8}", re.I)
_ASIDE = re.compile(
    r";|,(?![0-9])|\((?=\s*[A-Za-z=≈])|\b(?:because|since|where|when|given|if)\b", re.I
)
_UNITS = re.compile(r"%?(?:[ ]+[^\s.!?,;()]{1,30}){0,3}+[ ]*(?:[.!?,;()*_$}\n]|\Z)")
_REMARK = re.compile(r"[%$*_]{0,4}(?:[ ]?[A-Za-z]{1,20}){0,2}[ ]?\([^()\n]{0,200}\)")
_STEP = re.compile(
    r"\b(?:step|equation|eq|line|case|example|problem|question|part)[ .#]{0,2}\Z", re.I
)


def _read_number(text: str) -> str | None:
    stated = _stated_number_of(text)
    return _last_number(text) if stated is None else stated


def _stated_number_of(text: str) -> str | None:
    numbers = (_stated_number(text, mark) for mark in _marks(text))
    return next((number for number in numbers if number is not None), None)


def _stated_number(text: str, mark: re.Match[str]) -> str | None:
    """The number that is stated after a mark, if a statement with a number follows it."""
    start = mark.end()
    if mark.group().endswith("{"):
        return _number_of_clause(text, start, _closing_brace(text, start))
    if mark.group().startswith("#"):
        number = _leading_number(text, start)
        return number.value if number and not _LIST_ITEM.match(text, number.end) else None
    verb = _IS.match(text, start)
    if verb:
        start = _after_decoration(text, verb.end())
        return _number_of_clause(text, start, _end(text, start))
    colon = _COLON.match(text, start)
    return _labelled_number(text, colon.end()) if colon else None


def _after_decoration(text: str, start: int) -> int:
    decoration = _DECORATION.match(text, start)
    return decoration.end() if decoration else start


def _leading_number(text: str, start: int) -> Number | None:
    """The number that follows at once, but for signs, quotes and the like."""
    return number_at(text, _after_decoration(text, start))


def _labelled_number(text: str, start: int) -> str | None:
    """The number after ``Answer:``, unless what follows is an argument and not an answer."""
    number = _leading_number(text, start)
    if number is None:
        return None
    below = "\n" in text[start - 1 : number.start]
    if below and _LIST_ITEM.match(text, number.end):
        return None
    return number.value if _UNITS.match(text, number.end) else None


def _number_of_clause(text: str, start: int, end: int) -> str | None:
    """The number that a clause comes to: after its last equals sign, else its first."""
    numbers = list(numbers_in(text, start, end))
    if not numbers:
        return None
    aside = _ASIDE.search(text, numbers[0].end, end)
    starts = {number.start: number for number in numbers}
    result = numbers[0]
    for equals in _EQUALS.finditer(text, numbers[0].end, aside.start() if aside else end):
        right = starts.get(equals.end())
        if right and not _OPERATOR.match(text, right.end):
            result = right
    return result.value


def _last_number(text: str) -> str | None:
    """The last number, looked for in blocks of lines from the end of the text."""
    end = len(text)
    while end > 0:
        start = _block_start(text, end)
        number = _last_number_of_block(text, start, end)
        if number is not None:
            return number
        end = start
    return None


def _block_start(text: str, end: int) -> int:
    """Where a block of lines that ends at ``end`` begins; a longer line is cut, at a space."""
    start = max(0, end - _LONGEST_BLOCK)
    if start == 0:
        return 0
    for border in "\n ":
        found = text.find(border, start, end - 1)
        if found >= 0:
            return found + 1
    return start


def _last_number_of_block(text: str, start: int, end: int) -> str | None:
    """The last number that is neither a remark on the one before it nor counts steps or items."""
    last: str | None = None
    counter: str | None = None
    remark_end = 0
    for number in numbers_in(text, start, end):
        if number.start < remark_end:
            continue
        if _counts(text, number):
            counter = number.value
            continue
        last = number.value
        remark = _REMARK.match(text, number.end)
        remark_end = remark.end() if remark else 0
    return counter if last is None else last


def _counts(text: str, number: Number) -> bool:
    """Whether a number is that of a step, or of an item in a list."""
    before = text[max(0, number.start - 12) : number.start]
    if before.rstrip(" .#")[-1:].isalpha() and _STEP.search(before):
        return True
    first_of_line = not before.rpartition("\n")[2].strip(" *#")
    return first_of_line and _LIST_ITEM.match(text, number.end) is not None


# ------------------------------------------------------------------------------- text and code

_LONGEST_TEXT = 100_000
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm)\s?\{([^{}]{0,300})\}")
_AROUND = " \t\r\n*_`\"'“”\u2018\u2019.!,;:"
_BLOCK = re.compile(
    r"^[ \t]*+(`{3,}+|~{3,}+)([^`\n]*+)\n(.*?)(?:^[ \t]*+\1[ \t]*+$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PYTHON = re.compile(r"(?:python|py)[23]?", re.I)
_SOLUTION = re.compile(r"^def solution\b", re.MULTILINE)
_BEGINS_PROGRAM = re.compile(
    r"\s*+(?:python[ \t]*+\n\s*+)?(?=(?:def|class|import|from)[ ]+[A-Za-z_])"
)
_FENCE = re.compile(r"^[ \t]*+(?:`{3,}+|~{3,}+)[ \t]*+$", re.MULTILINE)


def _read_text(text: str) -> str | None:
    return _stated_text_of(text) or _normalised(text[:_LONGEST_TEXT]) or None


def _stated_text_of(text: str) -> str | None:
    values = (_normalised(_stated_text(text, mark)) for mark in _marks(text))
    return next(filter(None, values), None)


def _stated_text(text: str, mark: re.Match[str]) -> str:
    """The text that is stated after a mark; empty if no statement follows it."""
    start = mark.end()
    if mark.group().endswith("{"):
        return _LATEX_TEXT.sub(r"\1", text[start : _closing_brace(text, start)])
    if mark.group().startswith("#"):
        return text[start : _end(text, start)]
    verb = _IS.match(text, start) or _COLON.match(text, start)
    if verb is None:
        return ""
    start = _after_decoration(text, verb.end())
    return text[start : _end(text, start)]


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()).strip(_AROUND)


def _read_code(text: str) -> str | None:
    bodies = [body for _, body in _blocks(text)]
    return bodies[-1] if bodies else text.strip() or None


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """The language and body of every fenced block that holds anything.

    One that is not closed on a line of its own ends with the text.
    """
    for block in _BLOCK.finditer(text):
        body = block.group(3).rstrip().removesuffix(block.group(1)).strip("\r\n").rstrip()
        if body:
            yield block.group(2).strip(), body
