"""The last number of a text that states no answer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from archon.answers.numerals import Literal, literals_in

Span = tuple[int, int]

LIST_ITEM = re.compile(r"[.):]\s{1,20}\S")
"""After a number this makes it the number of an item."""
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

_LONGEST_TAIL = 2000
_METADATA = re.compile(
    r"\n[ \t]{0,4}[*_(\[>#-]{0,4}[ ]?(?:(?:Confidence|Certainty)(?:[ ](?:level|score|rating))?"
    r"|Tokens(?:[ ]used)?|Score(?=[*_: ]{1,5}(?:[0-9.]{1,8}[ ]?(?:%|/)|0?\.[0-9])))"
    r"[*_]{0,2}[ ]?:",
    re.I,
)
"""A line that judges an answer."""
_CHECK = re.compile(
    r"\n(?!\n)[ \t]{0,4}[*_(\[>#]{0,4}[ ]?(?:References?|Sources?|Check|Verification)[*_]{0,2}"
    r"[ ]?(?::|\n)",
    re.I,
)
"""The heading of what supports an answer."""
_CITATION = re.compile(r"[.!?][ ]?\[\Z")


def last_number(text: str, mentions: Sequence[Span], longest_block: int) -> str | None:
    """The last number, looked for in blocks of lines from the end; None if it is not read whole.

    Numbers of steps, items of a list, remarks in parentheses after a number, decimal places, and
    notes after the answer do not count.

    Parameters
    ----------
    mentions
        Sentences that speak of the answer without stating it, by their beginning.
    longest_block
        Characters of a block.
    """
    text = text[: _metadata_start(text)]
    check = _CHECK.search(text)
    if check is not None:
        found, value = _last_before(text, check.start(), mentions, longest_block)
        if found and "\n\n" in text[check.end() :].strip():
            whole = _last_before(text, len(text), mentions, longest_block)[1]
            return value if value == whole else None
        if found:
            return value
    note = _NOTE.search(text)
    if note is not None:
        found, value = _last_before(text, note.start(), mentions, longest_block)
        if found:
            return value
    return _last_before(text, len(text), mentions, longest_block)[1]


def _metadata_start(text: str) -> int:
    """Where lines such as ``Confidence: 95%`` begin that end a text with a number before them."""
    tail = len(text) - _LONGEST_TAIL
    end = len(text)
    while end > max(0, tail):
        start = text.rfind("\n", max(0, tail), end)
        if start < 0 or (text[start:end].strip() and not _METADATA.match(text, start)):
            break
        end = start
    before = literals_in(text, max(0, end - _LONGEST_TAIL), end)
    return end if next(before, None) is not None else len(text)


def _last_before(
    text: str, end: int, mentions: Sequence[Span], longest_block: int
) -> tuple[bool, str | None]:
    """Whether there is anything like a number before a place, and the value of the last."""
    while end > 0:
        start = _block_start(text, end, longest_block)
        last = _last_of_block(text, start, end, mentions)
        if last is not None:
            return True, last.value
        end = start
    return False, None


def _block_start(text: str, end: int, longest_block: int) -> int:
    """Where a block of lines that ends at ``end`` begins; a longer line is cut, at a space."""
    start = max(0, end - longest_block)
    if start == 0:
        return 0
    for border in "\n ":
        found = text.find(border, start, end - 1)
        if found >= 0:
            return found + 1
    return start


def _last_of_block(text: str, start: int, end: int, mentions: Sequence[Span]) -> Literal | None:
    """The last literal that is neither a remark on the one before it nor counts steps or items."""
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
        if _counts(text, literal) or _is_set_aside(text, literal):
            counter = literal
            continue
        last = literal
        remark = _REMARK.match(text, literal.end)
        remark_end = remark.end() if remark else 0
    return counter if last is None else last


def _is_within(position: int, spans: Sequence[Span]) -> bool:
    """Whether one of the spans holds a position; a span that begins later ends later."""
    index = bisect_right(spans, position, key=lambda span: span[0])
    return index > 0 and position < spans[index - 1][1]


def _is_set_aside(text: str, literal: Literal) -> bool:
    """Whether a number is that of a source, or is struck out: ``She has 18. [2]``, ``~~19~~``."""
    start, end = literal.start, literal.end
    if text.startswith("~~", end) and text.startswith("~~", max(0, start - 2)):
        return True
    return text.startswith("]", end) and bool(_CITATION.search(text, max(0, start - 3), start))


def _counts(text: str, literal: Literal) -> bool:
    """Whether a number is that of a step, or of an item in a list."""
    before = text[max(0, literal.start - 12) : literal.start]
    if before.rstrip(" .#")[-1:].isalpha() and _STEP.search(before):
        return True
    first_of_line = not before.rpartition("\n")[2].strip(" *#")
    return first_of_line and LIST_ITEM.match(text, literal.end) is not None
