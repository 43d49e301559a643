"""Classify the clause after a mark such as "the answer is" by the answer that it states."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from archon.answers.characters import OPAQUE
from archon.answers.last_number import Span
from archon.answers.numerals import Literal, literal_at, literals_in, number_of_words


class StatementKind(Enum):
    """The kind of answer that a clause states (see ``statements.py``)."""

    NUMBER = "number"
    NOT_NUMERIC = "not numeric"
    LETTER = "letter"
    CONDITIONAL = "conditional"
    """A number that depends on a condition: "If she had 20, the answer would be 25." """
    MENTION = "mention"


@dataclass(frozen=True, slots=True)
class AnswerStatement:
    """The answer that a clause states."""

    kind: StatementKind
    value: str | None = None
    """The canonical number; None unless the kind is ``NUMBER`` or ``CONDITIONAL``."""
    span: Span | None = None
    """The sentence if it mentions the answer but does not state it. Its numbers do not count."""


NOT_NUMERIC = AnswerStatement(StatementKind.NOT_NUMERIC)
LETTER = AnswerStatement(StatementKind.LETTER)
MENTION = AnswerStatement(StatementKind.MENTION)

# ------------------------------------------------------------------ beginning of a clause

_DECORATION = re.compile(r"[\s*_`\"'$€£¥₹(\[{>~≈+-]{0,40}(?:[a-z]\s?=[\s$-]{0,4})?", re.I)
_HEDGES = re.compile(
    r"(?:(?:as follows|approximately|about|roughly|around|nearly|almost|approx\.?|exactly|precisely"
    r"|just|only|simply|therefore|thus|hence|then|now|indeed|actually|also|still|equal to|equals"
    r"|given by|at (?:least|most)|the (?:number|value|integer|amount)(?: of)?(?=[ ][-$*]{0,4}[0-9])"
    r"|a total of|in total|in fact|of course|probably|likely|definitely|definitively|again|Rs\.?"
    r"|USD|(?:US|R|A|C|CA|AU|NZ|HK|S)(?=\$)|EUR|GBP|INR|CHF)\b[,:]?[ ]{0,2}){1,3}",
    re.I,
)
_CHOICE = re.compile(r"(?:option |choice )?[A-E][).:,]{1,2}[ ]{1,2}(?=[-$]?[0-9])", re.I)
_SIGNS = re.compile(r"[\s*_`\"'$€£¥₹₩₽₺₴₪₫₦฿¢(\[{>~≈+-]{0,20}")
_NOT_A_NUMBER = re.compile(
    r"(?:unknown|undefined|undetermined|indeterminate|impossible|infinite|infinity|unclear|unsure"
    r"|ambiguous|none|nothing|n/a|nan|null|dne|(?:does not|doesn't) exist|(?:is )?not (?:enough"
    r"|possible|known|determin|given|defined|an? )|insufficient|uncertain|no (?:real |valid )?"
    r"(?:solution|answer|number|such|one)|yes|true|false|both|neither|either|monday|tuesday"
    r"|wednesday|thursday|friday|saturday|sunday|half|(?:a|one|two|three)[ -](?:half|halves"
    r"|thirds?|quarters?|fourths?|fifths?))(?![\w'])|no(?=[ ]?[.,!\n]|[ ]?\Z)",
    re.I,
)
_EXPRESSION = re.compile(
    rf"""-?(?:[{OPAQUE}∞±]
      | [A-Za-z]{{1,3}}[ ]?[+*/×÷^][ ]?[-\w({{{OPAQUE}]
      | [A-Za-z][ ]?[-+*/×÷≤≥<>≠=][ ]?[-\w({OPAQUE}]
      | [A-Za-z]\([A-Za-z0-9]
      | (?:sqrt|log|ln|sin|cos|tan|pi|e\^)(?![A-Za-z])
      | [A-Za-z][ ]?[,;][ ]?[A-Za-z0-9][ ]?[)\]}}]
    ) | [<>≤≥≠]=?[ ]?[-$]?[0-9] | (?:more|less|greater|fewer|higher|lower)[ ]than[ ][-$]?[0-9]
    """,
    re.X,
)
_EQUATION = re.compile(
    r"-?(?:[0-9]{0,3}[A-Za-z_]{1,12}|\|)(?:\([^()\n]{0,20}\))?"
    r"(?:[ ]?[-+*/×÷^][ ]?[\w(){}]{1,10}){0,6}[ ]?[=≈]"
)
_LETTER_ALONE = re.compile(r"[A-Za-z](?=[\s$*_)\]}.\"'`]{0,6}(?:\n|\Z))")
_PLACEHOLDER = re.compile(
    r"<[^<>\n]{0,40}>|_{2,}|\?|…|\.{3}"
    r"|(?:your |the )?(?:final )?(?:number|answer|value|result)[\])}>]"
)
_AFTER_ONE = re.compile(r"[ ](?:of|that|which|way|possible|where|whose|for|can|should|could)\b")


def clause_start(text: str, start: int, end: int | None = None) -> int:
    """Return the position after any signs, quotes, ``x =`` and hedges ("about") at the start."""
    for pattern in (_DECORATION, _HEDGES, _CHOICE, _SIGNS):
        if prefix := pattern.match(text, start):
            start = prefix.end()
    return start if end is None else min(start, end)


def number_statement(value: str) -> AnswerStatement:
    return AnswerStatement(StatementKind.NUMBER, value)


def leading_statement(
    text: str, start: int, end: int, *, is_heading: bool = False
) -> AnswerStatement | None:
    """Return the answer that a clause states at its beginning; None if it begins with other words.

    With ``is_heading``, words count as an answer only if the clause contains nothing else.
    """
    literal = literal_at(text, start)
    if literal is not None:
        return _literal_statement(text, literal, end)
    in_words = _number_word_statement(text, start, end)
    if in_words is not None and (
        not is_heading or not text[end_of_words(text, start) : end].strip()
    ):
        return in_words
    missing = _NOT_A_NUMBER.match(text, start)
    if missing and (not is_heading or not text[missing.end() : end].strip(" *_.")):
        return NOT_NUMERIC
    if _PLACEHOLDER.match(text, start):
        return MENTION
    letter = _LETTER_ALONE.match(text, start, end)
    if letter:
        return MENTION if letter.group() == "N" else LETTER
    equation = _EQUATION.match(text, start, end)
    if equation and (result := _result(text, equation.end() - 1, end)):
        return result
    return NOT_NUMERIC if _EXPRESSION.match(text, start) else None


def _number_word_statement(text: str, start: int, end: int) -> AnswerStatement | None:
    """Return the answer if a clause begins with a number in words, such as ``twelve (12)``."""
    sign = _SIGN_WORD.match(text, start)
    begin = sign.end() if sign else start
    words = number_of_words(text, begin)
    if words is None:
        digits = literal_at(text, begin) if sign else None
    else:
        digits = literal_at(text, words[1] + 2) if text.startswith(" (", words[1]) else None
    if digits is not None:
        if sign and digits.value is not None:
            digits = replace(digits, value=f"-{digits.value.removeprefix('-')}")
        return _literal_statement(text, digits, end)
    if words is None:
        return None
    value, after = words
    if text[begin:after].lower() == "one" and _AFTER_ONE.match(text, after):
        return None
    if value is None or _MORE_NUMBER_WORDS.match(text, after):
        return NOT_NUMERIC
    return number_statement(f"-{value}" if sign and value != "0" else value)


_SIGN_WORD = re.compile(r"(?:minus|negative)[ ]", re.I)
_MORE_NUMBER_WORDS = re.compile(
    r"[ -](?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?"
    r"|and (?:an?|one|two|three)\b|(?:and |point |to |or )[a-z0-9]+|million|billion|trillion"
    r"|plus|minus|times [0-9a-z])\b",
    re.I,
)


def end_of_words(text: str, start: int) -> int:
    words = number_of_words(text, start)
    return start if words is None else words[1]


# ------------------------------------------------------------ context of a number

_EQUALS = re.compile(r"(?:[=≈]|\bequals\b|\bequal to\b)[\s$€£¥₹(*-]{0,8}", re.I)
_ASIDE = re.compile(
    r";|,(?![0-9])|\((?=\s*[A-Za-z=≈])|\b(?:because|since|where|when|given|if)\b", re.I
)
_RESULT_PHRASE = re.compile(
    r"(?:[=≈:]|\b(?:equals|equal to|which is|that is|i\.e\.,?|namely|to get|gives|giving|yields"
    r"|makes|making|totals|totaling|total of|comes to|amounts to))"
    r"[ ]{0,2}(?:about |approximately |a total of )?[-$€£¥₹(*]{0,4}\Z",
    re.I,
)
_REASON = re.compile(
    r"\b(?:as|because|since|if|where|when|consistent|correct|right|valid|verified|checked|agrees)\b",
    re.I,
)
_FORMULA = re.compile(rf"[{OPAQUE}∞^=+*/×÷<>≤≥±|]|(?<![A-Za-z'])[B-Zb-z](?![A-Za-z'])|[0-9]-[0-9]")
_COMPUTES = re.compile(
    rf"""(?:%|[ ]?[A-Za-z]{{1,20}}){{0,2}}[ )\]*$]{{0,4}}
         (?:[-+*/×÷x]|\b(?:plus|minus|times|multiplied[ ]by|divided[ ]by)\b)
         [ ]?[-$(\[{{]{{0,3}}(?:[0-9.]|{OPAQUE})""",
    re.X,
)
_SEVERAL = re.compile(
    r"""(?!;[ ][0-9.,]{1,20}[ ](?:each|apiece|per)\b)
        (?:[*$)\]}%]{0,4}[ ]?(?:[,;]|\band\b|&)?[ ]{0,3}(?:and[ ]|or[ ])?[$*]{0,3}
        (?:[A-Za-z][ ]?=[ ]?)?[-$]{0,2}[0-9]
      | [*$)\]}%]{0,4}(?:[ ][A-Za-z]{1,20}){1,3}[ ](?:and|or|&)[ ]
        (?:[A-Za-z][ ]?=[ ]?)?[-$*]{0,3}[0-9]
      | (?:[ ][A-Za-z]{1,20})?[ ](?:more|less|fewer|greater)[ ]than[ ][-$]?[0-9]
      | [ ]?⇒[ ]?-?[0-9])""",
    re.X,
)
_TUPLE = re.compile(rf"[ ]?[,;][ ]?-?(?:[0-9]|[A-Za-z](?![A-Za-z])|[{OPAQUE}∞])")


def _literal_statement(text: str, literal: Literal, end: int) -> AnswerStatement:
    """Return the answer stated by a clause that begins with a number literal."""
    result = _result(text, literal.end, end)
    statement = _complete_number(text, literal, end)
    if result is None or (result is NOT_NUMERIC and statement is not NOT_NUMERIC):
        return statement
    return result


def _complete_number(text: str, literal: Literal, end: int) -> AnswerStatement:
    """Return a literal as the answer; ``NOT_NUMERIC`` if it is an operand or one of several."""
    if literal.value is None or _is_operand_or_one_of_several(text, literal, end):
        return NOT_NUMERIC
    return number_statement(literal.value)


def _is_operand_or_one_of_several(text: str, literal: Literal, end: int) -> bool:
    is_opened = text[max(0, literal.start - 1) : literal.start] in {"(", "[", "{"}
    patterns = (_COMPUTES, _SEVERAL, _TUPLE) if is_opened else (_COMPUTES, _SEVERAL)
    return any(pattern.match(text, literal.end, end) for pattern in patterns)


def _result(text: str, start: int, end: int) -> AnswerStatement | None:
    """Return the number after the last equals sign of a clause, unless a calculation follows it.

    Return None if there is no such number.
    """
    aside = _ASIDE.search(text, start, end)
    result = None
    for equals in _EQUALS.finditer(text, start, aside.start() if aside else end):
        right = literal_at(text, equals.end())
        if right is not None and not _COMPUTES.match(text, right.end, end):
            result = _complete_number(text, right, end)
    return result


def phrased_value(text: str, start: int, end: int) -> str | None:
    """Return the last number of a clause if it is marked as the result (``…, which is 7``)."""
    literals = list(literals_in(text, start, end))
    if not literals:
        return None
    number = literals[-1]
    before = text[max(start, number.start - 40) : number.start]
    if not _RESULT_PHRASE.search(before) or _REASON.search(text, start, number.start):
        return None
    return None if _is_operand_or_one_of_several(text, number, end) else number.value


def sole_value(text: str, start: int, end: int) -> str | None:
    """Return the number in a clause that has exactly one number and no formula, or None."""
    literals = list(literals_in(text, start, end))
    if len(literals) != 1 or _FORMULA.search(text, start, end):
        return None
    return literals[0].value
