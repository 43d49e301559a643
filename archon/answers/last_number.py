"""Find the last number in a text, which is the answer if the text does not state an answer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from archon.answers.numerals import Literal, literals_in

Span = tuple[int, int]

LIST_ITEM = re.compile(r"[.):]\s{1,20}\S")
"""Matches after the number of a list item."""
_REMARK = re.compile(r"[%$*_]{0,4}(?:[ ]?[^\W\d_]{1,20}){0,2}[。.]?[ ]?\([^()\n]{0,200}\)")
_STEP = re.compile(
    r"\b(?:step|equation|eq|line|case|example|problem|question|part)[ .#]{0,2}\Z", re.I
)
_NEAREST = re.compile(r"\bnearest[ ]\$?\Z", re.I)
_DIGITS_OF = re.compile(
    r"[ -](?:decimals?|d\.?p\.?|s\.?f\.?|(?:decimal|significant|sig\.?)[ -]"
    r"(?:places?|digits?|figures?|figs?))(?!\w)",
    re.I,
)
_NOTE = re.compile(
    r"\n(?!\n)[ \t]{0,4}[*_(\[>#]{0,4}[ ]?(?:Note|Notes|Remark|Disclaimer|N\.?B\.?|P\.?S\.?)\b",
    re.I,
)

_MAX_TAIL = 2000
_BLOCK_CHARS = 5_000
_METADATA = re.compile(
    r"\n[ \t]{0,4}[*_(\[>#-]{0,4}[ ]?(?:(?:Confidence|Certainty)(?:[ ](?:level|score|rating))?"
    r"|Tokens(?:[ ]used)?|Score(?=[*_: ]{1,5}(?:[0-9.]{1,8}[ ]?(?:%|/)|0?\.[0-9])))"
    r"[*_]{0,2}[ ]?:",
    re.I,
)
"""Matches the beginning of a line that rates the answer, such as ``Confidence: 95%``."""
_CHECK = re.compile(
    r"\n(?!\n)[ \t]{0,4}[*_(\[>#]{0,4}[ ]?(?:References?|Sources?|Check|Verification)[*_]{0,2}"
    r"[ ]?(?::|\n)",
    re.I,
)
"""Matches a heading above evidence for the answer, such as ``Verification:``."""
_CITATION = re.compile(r"[.!?][ ]?\[\Z")


def last_number(text: str, mentions: Sequence[Span] = ()) -> str | None:
    """Return the last number in a text; None if there is none, or if it cannot be read completely.

    Some numbers do not count: numbers of steps, list items and decimal places, numbers in
    parentheses after another number, and numbers in notes after the answer. The text is searched
    from the end, in blocks of lines.

    Parameters
    ----------
    mentions
        Spans of sentences that mention the answer but do not state it, in order. Numbers in these
        spans do not count.
    """
    text = text[: _metadata_start(text)]
    check, note = _CHECK.search(text), _NOTE.search(text)
    if check and (found := _last_before(text, check.start(), mentions)):
        if "\n\n" not in text[check.end() :].strip():
            return found.value
        last = _last_before(text, len(text), mentions)
        return last.value if last and last.value == found.value else None
    last = _last_before(text, note.start(), mentions) if note else None
    last = last or _last_before(text, len(text), mentions)
    return last.value if last else None


def _metadata_start(text: str) -> int:
    """Return the position where final lines such as ``Confidence: 95%`` begin.

    Return the end of the text if there are no such lines, or if no number precedes them.
    """
    tail = max(0, len(text) - _MAX_TAIL)
    end = len(text)
    while end > tail:
        start = text.rfind("\n", tail, end)
        if start < 0 or (text[start:end].strip() and not _METADATA.match(text, start)):
            break
        end = start
    return end if any(literals_in(text, max(0, end - _MAX_TAIL), end)) else len(text)


def _last_before(text: str, end: int, mentions: Sequence[Span]) -> Literal | None:
    """Return the last number literal before ``end`` that counts. It may have no value."""
    while end > 0:
        start = _block_start(text, end)
        last = _last_of_block(text, start, end, mentions)
        if last is not None:
            return last
        end = start
    return None


def _block_start(text: str, end: int) -> int:
    """Return the start of a block of whole lines that ends at ``end``.

    A line that is too long for a block is split at a space.
    """
    start = max(0, end - _BLOCK_CHARS)
    if start == 0:
        return 0
    for border in "\n ":
        found = text.find(border, start, end - 1)
        if found >= 0:
            return found + 1
    return start


def _last_of_block(text: str, start: int, end: int, mentions: Sequence[Span]) -> Literal | None:
    """Return the last number literal in a block that may be an answer.

    If there is none, return the last number of a step or a list item.
    """
    last: Literal | None = None
    counter: Literal | None = None
    remark_end = 0
    for literal in literals_in(text, start, end):
        if literal.is_name or literal.start < remark_end or _is_within(literal.start, mentions):
            continue
        if _NEAREST.search(text, max(0, literal.start - 12), literal.start) or _DIGITS_OF.match(
            text, literal.end
        ):
            continue
        if _is_step_number(text, literal) or _is_citation_or_struck_out(text, literal):
            counter = literal
            continue
        last = literal
        remark = _REMARK.match(text, literal.end)
        remark_end = remark.end() if remark else 0
    return counter if last is None else last


def _is_within(position: int, spans: Sequence[Span]) -> bool:
    """Return whether one of the sorted spans contains the position."""
    index = bisect_right(spans, position, key=lambda span: span[0])
    return index > 0 and position < spans[index - 1][1]


def _is_citation_or_struck_out(text: str, literal: Literal) -> bool:
    """Return whether a number is a citation (``She has 18. [2]``) or struck out (``~~19~~``)."""
    start, end = literal.start, literal.end
    if text.startswith("~~", end) and text.startswith("~~", max(0, start - 2)):
        return True
    return text.startswith("]", end) and bool(_CITATION.search(text, max(0, start - 3), start))


def _is_step_number(text: str, literal: Literal) -> bool:
    """Return whether a number is the number of a step or list item."""
    before = text[max(0, literal.start - 12) : literal.start]
    if before.rstrip(" .#")[-1:].isalpha() and _STEP.search(before):
        return True
    first_of_line = not before.rpartition("\n")[2].strip(" *#")
    return first_of_line and LIST_ITEM.match(text, literal.end) is not None
