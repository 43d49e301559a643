r"""Where a text states its answer, and what it states there.

A *mark* is ``\boxed{…}``, ``#### …``, ``answer is …`` or ``Answer: …``. What follows a mark is

- a *number*: it follows at once, but for words such as "approximately", or after the last equals
  sign of the clause;
- *nothing numeric*, a statement that the answer is no number or not one: ``unknown``, ``(2, 3)``,
  ``5x``, ``3 or 4``;
- a *letter*, which may be a variable or a placeholder;
- a *mention*, which speaks of the answer and does not state it: "The answer is in dollars".

The last number counts, unless a later statement has nothing numeric.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from archon.answers.last_number import LIST_ITEM, Span, last_number
from archon.answers.numerals import Literal, literal_at, literals_in, number_of_words
from archon.answers.numerals.plain import OPAQUE


@dataclass(frozen=True, slots=True)
class Found:
    """What a text states as its answer."""

    value: str | None = None
    is_stated: bool = False
    """Something is stated; if there is no value, then something that is not one number."""
    mentions: list[Span] = field(default_factory=list)
    """Sentences that speak of the answer without stating it."""


class _Kind(Enum):
    NUMBER = "number"
    NOT_NUMERIC = "not numeric"
    LETTER = "letter"
    CONDITIONAL = "conditional"
    """A number under a condition: "If she had 20, the answer would be 25." """
    MENTION = "mention"


@dataclass(frozen=True, slots=True)
class _Statement:
    kind: _Kind
    value: str | None = None
    span: Span | None = None
    """The sentence of a mention whose numbers are not the answer."""


_NOT_NUMERIC = _Statement(_Kind.NOT_NUMERIC)
_LETTER = _Statement(_Kind.LETTER)
_MENTION = _Statement(_Kind.MENTION)


def stated_number(text: str) -> Found:
    """What a text, in the form that ``plain`` gives, states as a number."""
    mentions: list[Span] = []
    conditional: str | None = None
    is_letter = False
    for mark in _marks(text):
        statement = _statement(text, mark)
        if statement.kind in (_Kind.NUMBER, _Kind.NOT_NUMERIC):
            return Found(statement.value, is_stated=True)
        if statement.kind is _Kind.CONDITIONAL and conditional is None:
            conditional = statement.value
        is_letter = is_letter or statement.kind is _Kind.LETTER
        if statement.span is not None:
            mentions.append(statement.span)
    return Found(conditional, conditional is not None or is_letter, sorted(mentions))


def stated_texts(text: str) -> Iterator[str]:
    """What a text states after each mark, the last first; empty where no statement follows."""
    return (_stated_text(text, mark) for mark in _marks(text))


# ---------------------------------------------------------------------------------------- marks

_LONGEST_STATEMENT = 300
_MOST_STATEMENTS = 200
# Each begins with a character of one set, between which the search skips quickly.
_MARK = re.compile(
    r"[\\#Aa](?:(?<=\\)[Ff]?[Bb][Oo][Xx][Ee][Dd]\s?\{|(?<=#)(?<!##)###(?!#)"
    r"|(?<=[Aa])(?:(?<!\w[Aa])|(?<=final_[Aa]))[Nn][Ss][Ww][Ee][Rr]\b)"
)
_IS = re.compile(
    r"(?:,[^.,!?:=\n]{1,60},|[^.!?:=,\n]{0,60}?)"
    r"(?:\b(?:is|was|be|equals|comes to)\b(?!\s+not\b)\s?[:,]?|=)",
    re.I,
)
_COLON = re.compile(r"[ *_]{0,4}(?:\([^()\n]{0,40}\))?[ *_]{0,4}(?:[:-]|\n)")
_DECORATION = re.compile(r"[\s*_`\"'$€£¥₹(\[{>~≈+-]{0,40}(?:[a-z]\s?=[\s$-]{0,4})?", re.I)
_SENTENCE_END = re.compile(r"[.!?](?=[\s*_\"')$]|\Z)|\n")
_TEXT_MARKUP = re.compile(r"[\s*_`\"'“”\u2018\u2019:$]{0,40}")
_ABBREVIATION = re.compile(
    r"\b(?:Dr|Mr|Mrs|Ms|Prof|St|Mt|Ft|Sgt|Capt|Lt|Col|Gen|Rev|Hon|No|Nr|vs|cf|approx|e\.g|i\.e)\Z"
)
_INITIAL = re.compile(r"(?<![A-Za-z])[A-Z]\Z")
_AFTER_INITIAL = re.compile(
    r"\.[ ](?:(?P<initial>[A-Z]\.)|(?!(?:A|An|As|Because|But|Choice|For|He|I|If|In|It|Its|Option"
    r"|She|Since|So|That|The|There|These|They|This|Thus|We|You)\b)[A-Z][a-z])"
)
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm)\s?\{([^{}]{0,300})\}")


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


def _after_decoration(text: str, start: int) -> int:
    decoration = _DECORATION.match(text, start)
    return decoration.end() if decoration else start


def _text_end(text: str, start: int) -> int:
    """Where the sentence that begins at ``start`` ends; a title or an initial does not end it."""
    limit = min(len(text), start + _LONGEST_STATEMENT)
    for end in _SENTENCE_END.finditer(text, start, limit):
        if end.group() != "." or not _is_abbreviated(text, start, end.start()):
            return end.start()
    return limit


def _is_abbreviated(text: str, start: int, stop: int) -> bool:
    """Whether a full stop ends an abbreviation and not the sentence that begins at ``start``."""
    if text[stop + 1 : stop + 2] != " ":
        return False
    before = text[max(start, stop - 12) : stop]
    if _ABBREVIATION.search(before):
        return True
    after = _AFTER_INITIAL.match(text, stop)
    if after is None or not _INITIAL.search(before):
        return False
    is_choice = stop - start == 1 and before in "ABCDE"
    return after["initial"] is not None or not is_choice


def _stated_text(text: str, mark: re.Match[str]) -> str:
    """The text that is stated after a mark; empty if no statement follows it."""
    start = mark.end()
    structured = _structured(text, mark)
    if structured is not None:
        return text[slice(*structured)]
    if mark.group().endswith("{"):
        return _LATEX_TEXT.sub(r"\1", text[start : _closing_brace(text, start)])
    if mark.group().startswith("#"):
        return text[start : _text_end(text, start)]
    verb = _IS.match(text, start) or _COLON.match(text, start)
    if verb is None:
        return ""
    markup = _TEXT_MARKUP.match(text, verb.end())
    start = markup.end() if markup else verb.end()
    return text[start : _text_end(text, start)]


_LONGEST_ELEMENT = 2000
_BEFORE_KEY = re.compile(r"[\"'](?:[A-Za-z]{1,12}[ _])?\Z")
_AFTER_KEY = re.compile(r"[\"']\s{0,4}:\s{0,4}")
_JSON_VALUE = re.compile(r"\"(?P<text>(?:[^\"\\\n]|\\.){0,300})\"|[^,}\]\n\"\[{]{1,300}")
_TAG = re.compile(r"(</?)(?:final_)?\Z")


def _structured(text: str, mark: re.Match[str]) -> Span | None:
    """The span of a JSON value or of an XML element that is named the answer; None if it is none.

    The span is empty after a closing tag.
    """
    start = mark.end()
    before = text[max(0, mark.start() - 16) : mark.start()]
    if text.startswith(">", start) and (tag := _TAG.search(before)):
        if tag[1] == "</":
            return start, start
        close = text.find("</", start, start + _LONGEST_ELEMENT)
        return start + 1, close if close >= 0 else _end(text, _first_word(text, start + 1))
    key = _AFTER_KEY.match(text, start)
    if key is None or not _BEFORE_KEY.search(before):
        return None
    value = _JSON_VALUE.match(text, key.end())
    if value is None:
        return key.end(), _end(text, key.end())
    return value.span() if value["text"] is None else value.span("text")


# ----------------------------------------------------------------------------- kinds of statement

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


def _statement(text: str, mark: re.Match[str]) -> _Statement:
    """What follows a mark."""
    start = mark.end()
    if mark.group().endswith("{"):
        if _ANOTHER_BOX.search(text, max(0, mark.start() - 16), mark.start()):
            return _NOT_NUMERIC
        return _boxed(text, start, _closing_brace(text, start))
    if mark.group().startswith("#"):
        return _headed(text, start)
    structured = _structured(text, mark)
    if structured is not None:
        return _enclosed(text, *structured)
    before = text[max(0, mark.start() - 16) : mark.start()]
    if _CANNOT.match(text, start) or _NO_ANSWER.search(before):
        return _NOT_NUMERIC
    verb = _IS.match(text, start)
    if verb is None:
        colon = _COLON.match(text, start)
        return _labelled(text, colon.end()) if colon else _MENTION
    statement = _told(text, verb.end())
    if statement.kind is not _Kind.NUMBER:
        return statement
    if _NOT_THE_ANSWER.search(before):
        return _mention(text, verb.end())
    if _WOULD.search(verb.group()) and _is_conditional(text, mark.start()):
        return _Statement(_Kind.CONDITIONAL, statement.value, (mark.start(), _end(text, start)))
    return statement


def _is_conditional(text: str, position: int) -> bool:
    sentence = re.split(r"[.!?\n]", text[max(0, position - 120) : position])[-1]
    return _CONDITION.search(sentence) is not None


def _mention(text: str, start: int) -> _Statement:
    return _Statement(_Kind.MENTION, span=(start, _end(text, start)))


def _told(text: str, start: int) -> _Statement:
    """The statement after a verb."""
    begin = _first_word(text, start)
    end = _end(text, begin)
    statement = _leading(text, begin, end)
    if statement is None:
        value = _phrased(text, begin, end)
        if value is None and text.startswith("that ", begin):
            value = _sole(text, begin, end)
        return _mention(text, start) if value is None else _number(value)
    if "\n" in text[start:begin] and _is_item(text, begin):
        return _MENTION
    return statement


def _boxed(text: str, start: int, end: int) -> _Statement:
    """The statement in a box, which holds the answer and nothing else."""
    if not text[start:end].strip(" $?._{}"):
        return _MENTION
    if _UNSOLVED.match(text, start, end) and text.count("=", start, end) == 1:
        return _NOT_NUMERIC
    statement = _leading(text, _first_word(text, start, end), end)
    if statement is None:
        if _PLACEHOLDER_WORDS.fullmatch(text[start:end].strip(" $.{}[]<>")):
            return _MENTION
        value = _phrased(text, start, end) or _sole(text, start, end)
        return _NOT_NUMERIC if value is None else _number(value)
    return _NOT_NUMERIC if _has_rows(text, start, end) else statement


def _has_rows(text: str, start: int, end: int) -> bool:
    r"""Whether a box holds numbers in rows, such as ``1 \\\\ 2``, and not steps of an equation."""
    rows = text[start:end].split("\n")
    return "=" not in text[start:end] and sum(any(map(str.isdigit, row)) for row in rows) > 1


def _enclosed(text: str, start: int, end: int) -> _Statement:
    """The statement in an element or a JSON value; of several sentences with numbers, none."""
    statement = _boxed(text, start, end)
    if statement.kind is _Kind.NUMBER:
        first = _end(text, _first_word(text, start, end))
        if first < end and next(literals_in(text, first, end), None) is not None:
            return _NOT_NUMERIC
    return statement


_UNSOLVED = re.compile(
    r"[-$ (]{0,3}(?:[0-9.]{1,10}[A-Za-z](?![A-Za-z])[^=]{0,40}|[A-Za-z][ ]?\^[^=]{1,20}"
    r"|\|[^=|]{0,10}[A-Za-z][^=|]{0,20}\|[ ]?)="
)
"""An equation that is not solved: ``2x = 4``, ``x^2 = 4``, ``|x| = 2``."""


def _headed(text: str, start: int) -> _Statement:
    """The statement after ``####``, which may be a heading, too."""
    begin = _first_word(text, start)
    end = _end(text, begin)
    if _is_item(text, begin):
        return _MENTION
    return _leading(text, begin, end, is_heading=True) or _MENTION


def _labelled(text: str, start: int) -> _Statement:
    """The statement after ``Answer:``, unless what follows is an argument and not an answer."""
    begin = _first_word(text, start)
    end = _end(text, begin)
    below = "\n" in text[start - 1 : begin]
    if below and _is_item(text, begin):
        return _MENTION
    statement = _leading(text, begin, end)
    if statement is None:
        value = _explained(text, begin)
        return _MENTION if value is None else _number(value)
    literal = literal_at(text, begin)
    if statement.kind is _Kind.NUMBER:
        after = literal.end if literal else _end_of_words(text, begin)
        if literal and statement.value != literal.value:  # the result of a calculation
            return _MENTION if _goes_on(text, end) else statement
        is_whole = (_UNITS.match(text, after) or _is_quantity(text, after, end)) or (
            _EQUALS_NEXT.match(text, after) and not _goes_on(text, end)
        )
        return statement if is_whole else _MENTION
    is_argument = statement.kind is _Kind.NOT_NUMERIC and _goes_on(text, end)
    return _MENTION if is_argument and literal is not None else statement


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
    """The last number of the sentence that an explanation or a check follows, or None."""
    explanation = _EXPLANATION.search(text, start, min(len(text), start + _LONGEST_STATEMENT))
    if explanation is None:
        return None
    return last_number(text[start : explanation.start()], (), _LONGEST_STATEMENT)


def _is_quantity(text: str, start: int, end: int) -> bool:
    """Whether a number, its unit and a preposition make the whole answer: ``12 days for 6 men``.

    A sentence with a verb, or with numbers after it in the same paragraph, may be an argument.
    """
    if not _QUANTITY.match(text, start, end) or _VERB.search(text, start, end):
        return False
    paragraph = text.find("\n\n", end, end + _LONGEST_STATEMENT)
    stop = paragraph if paragraph >= 0 else min(len(text), end + _LONGEST_STATEMENT)
    return next(literals_in(text, end, stop), None) is None


def _goes_on(text: str, end: int) -> bool:
    """Whether numbers follow a sentence, so that it may be the first step of an argument."""
    return next(literals_in(text, end, min(len(text), end + _LONGEST_STATEMENT)), None) is not None


def _is_item(text: str, start: int) -> bool:
    """Whether the number of an item of a list stands here."""
    literal = literal_at(text, start)
    return literal is not None and LIST_ITEM.match(text, literal.end) is not None


# --------------------------------------------------------------------------- what a clause begins

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
_PLACEHOLDER_WORDS = re.compile(
    r"(?:your |the )?(?:final |numeric(?:al)? )?(?:number|answer|value|result)s?|N|\.{3}|…", re.I
)
_UNITS = re.compile(r"%?(?:[ ]+[^\s.!?,;()]{1,30}){0,3}+[ ]*(?:[.!?,;()*_$}\n]|\Z)")
_EQUALS_NEXT = re.compile(r"[*_$)\]}% ]{0,4}=")
_AFTER_ONE = re.compile(r"[ ](?:of|that|which|way|possible|where|whose|for|can|should|could)\b")


def _first_word(text: str, start: int, end: int | None = None) -> int:
    """Where a clause begins, after signs, quotes, ``x =`` and words that hedge."""
    begin = _after_decoration(text, start)
    hedges = _HEDGES.match(text, begin)
    if hedges:
        begin = hedges.end()
    choice = _CHOICE.match(text, begin)
    begin = choice.end() if choice else begin
    following = _NEXT.match(text, begin)
    begin = following.end() if following else begin
    return begin if end is None else min(begin, end)


def _number(value: str) -> _Statement:
    return _Statement(_Kind.NUMBER, value)


def _leading(text: str, start: int, end: int, *, is_heading: bool = False) -> _Statement | None:
    """What a clause states that begins with it; None if it begins with words."""
    literal = literal_at(text, start)
    if literal is not None:
        return _of_literal(text, literal, end)
    words = _of_words(text, start, end)
    if words is not None and (not is_heading or not text[_end_of_words(text, start) : end].strip()):
        return words
    missing = _NOT_A_NUMBER.match(text, start)
    if missing and (not is_heading or not text[missing.end() : end].strip(" *_.")):
        return _NOT_NUMERIC
    if _PLACEHOLDER.match(text, start):
        return _MENTION
    letter = _LETTER_ALONE.match(text, start, end)
    if letter:
        return _MENTION if letter.group() == "N" else _LETTER
    equation = _EQUATION.match(text, start, end)
    result = _result(text, equation.end() - 1, end) if equation else None
    if result is not None:
        return result
    return _NOT_NUMERIC if _EXPRESSION.match(text, start) else None


def _of_words(text: str, start: int, end: int) -> _Statement | None:
    """A number in words that a clause begins with; digits in parentheses say the same again."""
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
        return _NOT_NUMERIC
    return _number(f"-{value}" if sign and value != "0" else value)


_SIGN_WORD = re.compile(r"(?:minus|negative)[ ]", re.I)
_IN_WORDS_MORE = re.compile(
    r"[ -](?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?"
    r"|and (?:an?|one|two|three)\b|(?:and |point |to |or )[a-z0-9]+|million|billion|trillion"
    r"|plus|minus|times [0-9a-z])\b",
    re.I,
)


def _end_of_words(text: str, start: int) -> int:
    words = number_of_words(text, start)
    return start if words is None else words[1]


# ----------------------------------------------------------------------- what a number belongs to

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


def _of_literal(text: str, literal: Literal, end: int) -> _Statement:
    """What a clause states that begins with a literal."""
    result = _result(text, literal.end, end)
    is_complete = literal.value is not None and not _belongs_to_more(text, literal, end)
    if result is not None and not (is_complete and result.kind is _Kind.NOT_NUMERIC):
        return result
    return _number(literal.value) if is_complete and literal.value else _NOT_NUMERIC


def _belongs_to_more(text: str, literal: Literal, end: int) -> bool:
    """Whether a literal is an operand, or one of several answers."""
    is_opened = text[max(0, literal.start - 1) : literal.start] in {"(", "[", "{"}
    return (
        _COMPUTES.match(text, literal.end, end) is not None
        or _SEVERAL.match(text, literal.end, end) is not None
        or (is_opened and _TUPLE.match(text, literal.end, end) is not None)
    )


def _result(text: str, start: int, end: int) -> _Statement | None:
    """What stands after the last equals sign of a clause, if that is no calculation."""
    aside = _ASIDE.search(text, start, end)
    result = None
    for equals in _EQUALS.finditer(text, start, aside.start() if aside else end):
        right = literal_at(text, equals.end())
        if right is None or _COMPUTES.match(text, right.end, end):
            continue
        is_one = right.value is not None and not _belongs_to_more(text, right, end)
        result = _number(right.value) if is_one and right.value else _NOT_NUMERIC
    return result


def _phrased(text: str, start: int, end: int) -> str | None:
    """The last number of a clause that says what the clause comes to: ``…, which is 7``."""
    last = deque(literals_in(text, start, end), maxlen=1)
    if not last or last[0].value is None:
        return None
    number = last[0]
    before = text[max(start, number.start - 40) : number.start]
    if not _RESULT_PHRASE.search(before) or _REASON.search(text, start, number.start):
        return None
    return None if _belongs_to_more(text, number, end) else number.value


def _sole(text: str, start: int, end: int) -> str | None:
    """The only number of a clause that holds no formula."""
    literals = list(literals_in(text, start, end))
    if len(literals) != 1 or _FORMULA.search(text, start, end):
        return None
    return literals[0].value
