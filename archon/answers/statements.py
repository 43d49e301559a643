r"""Find the number that a text states as its answer.

The clause after a mark (``marks.py``) is one of these (``clauses.py``):

- a *number*: directly after the mark, apart from words such as "approximately", or after the last
  equals sign of the clause;
- *not numeric*: an answer that is not a number, or not a single one, such as ``unknown``,
  ``(2, 3)``, ``5x`` and ``3 or 4``;
- *conditional*: a number that depends on a condition ("If she had 20, the answer would be 25.");
- a *letter*, which may be a variable or a placeholder;
- a *mention* of the answer that does not state it, such as "The answer is in dollars".

The last clause that is a number or not numeric decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from archon.answers.clauses import (
    MENTION,
    NOT_NUMERIC,
    AnswerStatement,
    StatementKind,
    clause_start,
    end_of_words,
    leading_statement,
    number_statement,
    phrased_value,
    sole_value,
)
from archon.answers.last_number import LIST_ITEM, Span, last_number
from archon.answers.marks import (
    COLON,
    MAX_STATEMENT,
    STATING_VERB,
    closing_brace,
    find_marks,
    sentence_end,
    structured_span,
)
from archon.answers.numerals import literal_at, literals_in


@dataclass(frozen=True, slots=True)
class Found:
    """Result of searching a text for its stated answer."""

    value: str | None = None
    is_stated: bool = False
    """True if the text states an answer. If it does and the value is None, the answer is not a
    single number."""
    mentions: list[Span] = field(default_factory=list)
    """Spans of the sentences that mention the answer but do not state it."""


def stated_number(text: str) -> Found:
    """Search a normalized text for the number that it states as its answer."""
    mentions: list[Span] = []
    conditional: str | None = None
    is_letter = False
    for mark in find_marks(text):
        statement = _statement(text, mark)
        if statement.kind in (StatementKind.NUMBER, StatementKind.NOT_NUMERIC):
            return Found(statement.value, is_stated=True)
        if statement.kind is StatementKind.CONDITIONAL and conditional is None:
            conditional = statement.value
        is_letter = is_letter or statement.kind is StatementKind.LETTER
        if statement.span is not None:
            mentions.append(statement.span)
    return Found(conditional, conditional is not None or is_letter, sorted(mentions))


_NOT_THE_ANSWER = re.compile(
    r"\b(?:wrong|incorrect|mistaken|false|previous|earlier|initial|first|original|old)\s\Z", re.I
)
_NO_ANSWER = re.compile(r"\bno (?:correct |possible |valid )?\Z", re.I)
_CANNOT = re.compile(
    r"[^.!?:=,\n]{0,60}?\b(?:can ?not|can't|could ?n[o']t) be"
    r" (?:determin|known|found|calculat|comput|given|answered|decided|established|derived)"
    r"|[^.!?:=,\n]{0,60}?\b(?:is|was|be)\s+not\s+(?:(?:yet )?known|possible|determin|defined|given"
    r"|enough|an? (?:\w+ )?(?:number|integer)|available|unique)",
    re.I,
)
_CONDITION = re.compile(r"\b(?:if|had|were|suppose|unless)\b", re.I)
_WOULD = re.compile(r"\bwould (?:be|have been)\s?:?\Z", re.I)
_ANOTHER_BOX = re.compile(r"\}[\s$.)]{0,4}(?:,|;|&|\band\b|\bor\b)[\s$(]{0,4}\Z")


def _statement(text: str, mark: re.Match[str]) -> AnswerStatement:
    """Return the answer stated by the text after a mark."""
    start = mark.end()
    if mark.group().endswith("{"):
        if _ANOTHER_BOX.search(text, max(0, mark.start() - 16), mark.start()):
            return NOT_NUMERIC
        return _boxed(text, start, closing_brace(text, start))
    if mark.group().startswith("#"):
        return _headed(text, start)
    structured = structured_span(text, mark)
    if structured is not None:
        return _enclosed(text, *structured)
    before = text[max(0, mark.start() - 16) : mark.start()]
    if _CANNOT.match(text, start) or _NO_ANSWER.search(before):
        return NOT_NUMERIC
    verb = STATING_VERB.match(text, start)
    if verb is None:
        colon = COLON.match(text, start)
        return _labelled(text, colon.end()) if colon else MENTION
    statement = _after_verb(text, verb.end())
    if statement.kind is not StatementKind.NUMBER:
        return statement
    if _NOT_THE_ANSWER.search(before):
        return _mention(text, verb.end())
    if _WOULD.search(verb.group()) and _is_conditional(text, mark.start()):
        return AnswerStatement(
            StatementKind.CONDITIONAL, statement.value, (mark.start(), sentence_end(text, start))
        )
    return statement


def _is_conditional(text: str, position: int) -> bool:
    sentence = re.split(r"[.!?\n]", text[max(0, position - 120) : position])[-1]
    return _CONDITION.search(sentence) is not None


def _mention(text: str, start: int) -> AnswerStatement:
    return AnswerStatement(StatementKind.MENTION, span=(start, sentence_end(text, start)))


def _after_verb(text: str, start: int) -> AnswerStatement:
    begin = clause_start(text, start)
    end = sentence_end(text, begin)
    statement = leading_statement(text, begin, end)
    if statement is None:
        value = phrased_value(text, begin, end)
        if value is None and text.startswith("that ", begin):
            value = sole_value(text, begin, end)
        return _mention(text, start) if value is None else number_statement(value)
    if "\n" in text[start:begin] and _is_item(text, begin):
        return MENTION
    return statement


def _boxed(text: str, start: int, end: int) -> AnswerStatement:
    r"""Return the answer in a ``\boxed{…}``, whose complete content is the answer."""
    if not text[start:end].strip(" $?._{}"):
        return MENTION
    if _UNSOLVED.match(text, start, end) and text.count("=", start, end) == 1:
        return NOT_NUMERIC
    statement = leading_statement(text, clause_start(text, start, end), end)
    if statement is None:
        if _PLACEHOLDER_WORDS.fullmatch(text[start:end].strip(" $.{}[]<>")):
            return MENTION
        value = phrased_value(text, start, end) or sole_value(text, start, end)
        return NOT_NUMERIC if value is None else number_statement(value)
    return NOT_NUMERIC if _has_rows(text, start, end) else statement


def _has_rows(text: str, start: int, end: int) -> bool:
    """Return whether several lines contain numbers and there is no equals sign.

    Such lines are the rows of a table or vector, and not the steps of a calculation.
    """
    rows = text[start:end].split("\n")
    return "=" not in text[start:end] and sum(any(map(str.isdigit, row)) for row in rows) > 1


def _enclosed(text: str, start: int, end: int) -> AnswerStatement:
    """Return the answer in an XML element or a JSON value; several numbers are not an answer."""
    statement = _boxed(text, start, end)
    if statement.kind is StatementKind.NUMBER:
        first = sentence_end(text, clause_start(text, start, end))
        if first < end and any(literals_in(text, first, end)):
            return NOT_NUMERIC
    return statement


_UNSOLVED = re.compile(
    r"[-$ (]{0,3}(?:[0-9.]{1,10}[A-Za-z](?![A-Za-z])[^=]{0,40}|[A-Za-z][ ]?\^[^=]{1,20}"
    r"|\|[^=|]{0,10}[A-Za-z][^=|]{0,20}\|[ ]?)="
)
"""An unsolved equation, such as ``2x = 4``, ``x^2 = 4`` or ``|x| = 2``."""


def _headed(text: str, start: int) -> AnswerStatement:
    """Return the answer after ``####``, which may also begin a Markdown heading."""
    begin = clause_start(text, start)
    end = sentence_end(text, begin)
    if _is_item(text, begin):
        return MENTION
    return leading_statement(text, begin, end, is_heading=True) or MENTION


def _labelled(text: str, start: int) -> AnswerStatement:
    """Return the answer after ``Answer:``; ``MENTION`` if a longer argument follows instead."""
    begin = clause_start(text, start)
    end = sentence_end(text, begin)
    below = "\n" in text[start - 1 : begin]
    if below and _is_item(text, begin):
        return MENTION
    statement = leading_statement(text, begin, end)
    if statement is None:
        value = _explained(text, begin)
        return MENTION if value is None else number_statement(value)
    literal = literal_at(text, begin)
    if statement.kind is StatementKind.NUMBER:
        after = literal.end if literal else end_of_words(text, begin)
        if literal and statement.value != literal.value:  # the result of a calculation
            return MENTION if _has_more_numbers(text, end) else statement
        is_complete = (_UNITS.match(text, after) or _is_quantity(text, after, end)) or (
            _EQUALS_NEXT.match(text, after) and not _has_more_numbers(text, end)
        )
        return statement if is_complete else MENTION
    is_argument = statement is NOT_NUMERIC and _has_more_numbers(text, end)
    return MENTION if is_argument and literal is not None else statement


_EXPLANATION = re.compile(
    r"\n[ \t]{0,4}[#*_]{0,6}[ ]?(?:Explanation|Check|Checking|Verification|Reasoning|Justification"
    r"|Proof|Why)\b[^\n]{0,40}",
    re.I,
)
_QUANTITY = re.compile(
    r"%?(?:[ ]+[A-Za-z-]{1,30}){0,2}?[ ]+"
    r"(?:for|in|per|of|to|every|each|from|after|out of|at|by|with|within)\b"
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|be|costs?|makes?|gives?|leaves?|equals?|totals?|means?|so|needs?|can"
    r"|will|has|have|had|minus|plus|times|sold|bought|gets?|got|ate|eats?|then|and|becomes?"
    r"|comes|leaving|making|giving)\b|[=+*/×÷]",
    re.I,
)


def _explained(text: str, start: int) -> str | None:
    """Return the last number before a heading such as ``Explanation``; None if there is none."""
    explanation = _EXPLANATION.search(text, start, start + MAX_STATEMENT)
    return last_number(text[start : explanation.start()]) if explanation else None


def _is_quantity(text: str, start: int, end: int) -> bool:
    """Return whether a sentence is only a quantity, such as ``12 days for 6 men``.

    If it has a verb, or if numbers follow in the same paragraph, it may be part of an argument.
    """
    if not _QUANTITY.match(text, start, end) or _VERB.search(text, start, end):
        return False
    paragraph = text.find("\n\n", end, end + MAX_STATEMENT)
    return not any(literals_in(text, end, paragraph if paragraph >= 0 else end + MAX_STATEMENT))


def _has_more_numbers(text: str, end: int) -> bool:
    """Return whether there are numbers after a sentence, so that it may be part of an argument."""
    return any(literals_in(text, end, end + MAX_STATEMENT))


def _is_item(text: str, start: int) -> bool:
    """Return whether the number of a list item begins at ``start``."""
    literal = literal_at(text, start)
    return literal is not None and LIST_ITEM.match(text, literal.end) is not None


_PLACEHOLDER_WORDS = re.compile(
    r"(?:your |the )?(?:final |numeric(?:al)? )?(?:number|answer|value|result)s?|N|\.{3}|…", re.I
)
_UNITS = re.compile(r"%?(?:[ ]+[^\s.!?,;()]{1,30}){0,3}+[ ]*(?:[.!?,;()*_$}\n]|\Z)")
_EQUALS_NEXT = re.compile(r"[*_$)\]}% ]{0,4}=")
