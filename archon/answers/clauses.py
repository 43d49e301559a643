"""What a single clause states: a number, nothing numeric, a letter, or no answer."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from archon.answers.characters import OPAQUE
from archon.answers.last_number import Span
from archon.answers.numerals import Literal, literal_at, literals_in, number_of_words


class StatementKind(Enum):
    """What kind of answer a clause states."""

    NUMBER = "number"
    NOT_NUMERIC = "not numeric"
    LETTER = "letter"
    CONDITIONAL = "conditional"
    """A number under a condition: "If she had 20, the answer would be 25." """
    MENTION = "mention"


@dataclass(frozen=True, slots=True)
class AnswerStatement:
    """One clause read as a statement of the answer."""

    kind: StatementKind
    value: str | None = None
    span: Span | None = None
    """The sentence of a mention whose numbers are not the answer."""


NOT_NUMERIC = AnswerStatement(StatementKind.NOT_NUMERIC)
LETTER = AnswerStatement(StatementKind.LETTER)
MENTION = AnswerStatement(StatementKind.MENTION)

# ------------------------------------------------------------------ how a clause begins

_DECORATION = re.compile(r"[\s*_`\"'$€£¥₹(\[{>~≈+-]{0,40}(?:[a-z]\s?=[\s$-]{0,4})?", re.I)


def _after_decoration(text: str, start: int) -> int:
    decoration = _DECORATION.match(text, start)
    return decoration.end() if decoration else start


_HEDGES = re.compile(
    r"(?:(?:as follows|approximately|about|roughly|around|nearly|almost|approx\.?|exactly|precisely"
    r"|just|only|simply|therefore|thus|hence|then|now|indeed|actually|also|still|equal to|equals"
    r"|given by|at (?:least|most)|the (?:number|value|integer|amount)(?: of)?(?=[ ][-$*]{0,4}[0-9])"
    r"|a total of|in total|in fact|of course|probably|likely|definitely|definitively|again|Rs\.?"
    r"|USD|(?:US|R|A|C|CA|AU|NZ|HK|S)(?=\$)|EUR|GBP|INR|CHF)\b[,:]?[ ]{0,2}){1,3}",
    re.I,
)
_CHOICE = re.compile(r"(?:option |choice )?[A-E][).:,]{1,2}[ ]{1,2}(?=[-$]?[0-9])", re.I)
_NEXT = re.compile(r"[\s*_`\"'$€£¥₹₩₽₺₴₪₫₦฿¢(\[{>~≈+-]{0,20}")
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
    """Where a clause begins, after signs, quotes, ``x =`` and hedging words."""
    begin = _after_decoration(text, start)
    hedges = _HEDGES.match(text, begin)
    if hedges:
        begin = hedges.end()
    choice = _CHOICE.match(text, begin)
    begin = choice.end() if choice else begin
    following = _NEXT.match(text, begin)
    begin = following.end() if following else begin
    return begin if end is None else min(begin, end)


def number_statement(value: str) -> AnswerStatement:
    return AnswerStatement(StatementKind.NUMBER, value)


def leading_statement(
    text: str, start: int, end: int, *, is_heading: bool = False
) -> AnswerStatement | None:
    """The statement that a clause begins with; None if it begins with other words."""
    literal = literal_at(text, start)
    if literal is not None:
        return _of_literal(text, literal, end)
    words = _of_words(text, start, end)
    if words is not None and (not is_heading or not text[end_of_words(text, start) : end].strip()):
        return words
    missing = _NOT_A_NUMBER.match(text, start)
    if missing and (not is_heading or not text[missing.end() : end].strip(" *_.")):
        return NOT_NUMERIC
    if _PLACEHOLDER.match(text, start):
        return MENTION
    letter = _LETTER_ALONE.match(text, start, end)
    if letter:
        return MENTION if letter.group() == "N" else LETTER
    equation = _EQUATION.match(text, start, end)
    result = _result(text, equation.end() - 1, end) if equation else None
    if result is not None:
        return result
    return NOT_NUMERIC if _EXPRESSION.match(text, start) else None


def _of_words(text: str, start: int, end: int) -> AnswerStatement | None:
    """The number in words that a clause begins with; digits in parentheses repeat it."""
    sign = _SIGN_WORD.match(text, start)
    begin = sign.end() if sign else start
    words = number_of_words(text, begin)
    digits_start = begin if words is None else words[1] + 2
    digits = None
    if (words is None and sign) or (words is not None and text.startswith(" (", words[1])):
        digits = literal_at(text, digits_start)
    if digits is not None:
        if sign and digits.value is not None:
            digits = replace(digits, value=f"-{digits.value.removeprefix('-')}")
        return _of_literal(text, digits, end)
    if words is None:
        return None
    value, after = words
    if text[begin:after].lower() == "one" and _AFTER_ONE.match(text, after):
        return None
    if value is None or _IN_WORDS_MORE.match(text, after):
        return NOT_NUMERIC
    return number_statement(f"-{value}" if sign and value != "0" else value)


_SIGN_WORD = re.compile(r"(?:minus|negative)[ ]", re.I)
_IN_WORDS_MORE = re.compile(
    r"[ -](?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?"
    r"|and (?:an?|one|two|three)\b|(?:and |point |to |or )[a-z0-9]+|million|billion|trillion"
    r"|plus|minus|times [0-9a-z])\b",
    re.I,
)


def end_of_words(text: str, start: int) -> int:
    words = number_of_words(text, start)
    return start if words is None else words[1]


# ------------------------------------------------------------ what a number belongs to

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


def _of_literal(text: str, literal: Literal, end: int) -> AnswerStatement:
    """What a clause states that begins with a literal."""
    result = _result(text, literal.end, end)
    is_complete = literal.value is not None and not _belongs_to_more(text, literal, end)
    if result is not None and not (is_complete and result.kind is StatementKind.NOT_NUMERIC):
        return result
    return number_statement(literal.value) if is_complete and literal.value else NOT_NUMERIC


def _belongs_to_more(text: str, literal: Literal, end: int) -> bool:
    """Whether a literal is an operand, or one of several answers."""
    is_opened = text[max(0, literal.start - 1) : literal.start] in {"(", "[", "{"}
    return (
        _COMPUTES.match(text, literal.end, end) is not None
        or _SEVERAL.match(text, literal.end, end) is not None
        or (is_opened and _TUPLE.match(text, literal.end, end) is not None)
    )


def _result(text: str, start: int, end: int) -> AnswerStatement | None:
    """What stands after the last equals sign of a clause, if that is no calculation."""
    aside = _ASIDE.search(text, start, end)
    result = None
    for equals in _EQUALS.finditer(text, start, aside.start() if aside else end):
        right = literal_at(text, equals.end())
        if right is None or _COMPUTES.match(text, right.end, end):
            continue
        is_one = right.value is not None and not _belongs_to_more(text, right, end)
        result = number_statement(right.value) if is_one and right.value else NOT_NUMERIC
    return result


def phrased_value(text: str, start: int, end: int) -> str | None:
    """The last number of a clause, where a phrase makes it the result: ``…, which is 7``."""
    last = deque(literals_in(text, start, end), maxlen=1)
    if not last or last[0].value is None:
        return None
    number = last[0]
    before = text[max(start, number.start - 40) : number.start]
    if not _RESULT_PHRASE.search(before) or _REASON.search(text, start, number.start):
        return None
    return None if _belongs_to_more(text, number, end) else number.value


def sole_value(text: str, start: int, end: int) -> str | None:
    """The only number of a clause without a formula."""
    literals = list(literals_in(text, start, end))
    if len(literals) != 1 or _FORMULA.search(text, start, end):
        return None
    return literals[0].value
