r"""Find marks, which introduce an answer, and the text after them.

Marks are ``\boxed{…}``, ``#### …``, ``answer is …``, ``Answer: …``, and a JSON key or an XML
element named "answer".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from archon.answers.clauses import clause_start
from archon.answers.last_number import Span

MAX_STATEMENT = 300
"""Maximum number of characters of the text after a mark."""
_MAX_MARKS = 200
# Every alternative begins with a character of one small set, so that the search is fast.
_MARK = re.compile(
    r"[\\#Aa](?:(?<=\\)[Ff]?[Bb][Oo][Xx][Ee][Dd]\s?\{|(?<=#)(?<!##)###(?!#)"
    r"|(?<=[Aa])(?:(?<!\w[Aa])|(?<=final_[Aa]))[Nn][Ss][Ww][Ee][Rr]\b)"
)
STATING_VERB = re.compile(
    r"(?:,[^.,!?:=\n]{1,60},|[^.!?:=,\n]{0,60}?)"
    r"(?:\b(?:is|was|be|equals|comes to)\b(?!\s+not\b)\s?[:,]?|=)",
    re.I,
)
COLON = re.compile(r"[ *_]{0,4}(?:\([^()\n]{0,40}\))?[ *_]{0,4}(?:[:-]|\n)")
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


def find_marks(text: str) -> Iterator[re.Match[str]]:
    """Return the marks in a text, from the last to the first."""
    return reversed(deque(_MARK.finditer(text), maxlen=_MAX_MARKS))


def sentence_end(text: str, start: int) -> int:
    """Return the end of the sentence that begins at ``start``, at most ``MAX_STATEMENT`` later."""
    limit = min(len(text), start + MAX_STATEMENT)
    end = _SENTENCE_END.search(text, start, limit)
    return end.start() if end else limit


def closing_brace(text: str, start: int) -> int:
    """Return the position of the ``}`` that closes the group whose content begins at ``start``.

    If it is not within ``MAX_STATEMENT`` characters, return the position after that many
    characters.
    """
    depth = 1
    limit = min(len(text), start + MAX_STATEMENT)
    for position in range(start, limit):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return limit


def _text_end(text: str, start: int) -> int:
    """Return the end of a sentence as ``sentence_end`` does, but skip abbreviations ("Dr.")."""
    limit = min(len(text), start + MAX_STATEMENT)
    for end in _SENTENCE_END.finditer(text, start, limit):
        if end.group() != "." or not _is_abbreviated(text, start, end.start()):
            return end.start()
    return limit


def _is_abbreviated(text: str, start: int, stop: int) -> bool:
    """Return whether the full stop at ``stop`` ends an abbreviation and not the sentence."""
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


# ------------------------------------------------------------------------- stated texts


def stated_texts(text: str) -> Iterator[str]:
    """Yield the text after each mark, from the last mark to the first.

    If a mark such as "answer" is not followed by a verb or a colon, the yielded text is "".
    """
    return (stated_text(text, mark) for mark in find_marks(text))


def stated_text(text: str, mark: re.Match[str]) -> str:
    """Return the text after a mark; "" if the mark is not followed by a verb or a colon."""
    start = mark.end()
    structured = structured_span(text, mark)
    if structured is not None:
        return text[slice(*structured)]
    if mark.group().endswith("{"):
        return _LATEX_TEXT.sub(r"\1", text[start : closing_brace(text, start)])
    if mark.group().startswith("#"):
        return text[start : _text_end(text, start)]
    verb = STATING_VERB.match(text, start) or COLON.match(text, start)
    if verb is None:
        return ""
    markup = _TEXT_MARKUP.match(text, verb.end())
    start = markup.end() if markup else verb.end()
    return text[start : _text_end(text, start)]


_MAX_ELEMENT = 2000
_BEFORE_KEY = re.compile(r"[\"'](?:[A-Za-z]{1,12}[ _])?\Z")
_AFTER_KEY = re.compile(r"[\"']\s{0,4}:\s{0,4}")
_JSON_VALUE = re.compile(r"\"(?P<text>(?:[^\"\\\n]|\\.){0,300})\"|[^,}\]\n\"\[{]{1,300}")
_TAG = re.compile(r"(</?)(?:final_)?\Z")


def structured_span(text: str, mark: re.Match[str]) -> Span | None:
    """Return the span of the JSON value, or of the content of the XML element, named "answer".

    Return None if the mark is neither a JSON key nor a tag. For a closing tag, the span is empty.
    """
    start = mark.end()
    before = text[max(0, mark.start() - 16) : mark.start()]
    if text.startswith(">", start) and (tag := _TAG.search(before)):
        if tag[1] == "</":
            return start, start
        close = text.find("</", start, start + _MAX_ELEMENT)
        return start + 1, close if close >= 0 else sentence_end(text, clause_start(text, start + 1))
    key = _AFTER_KEY.match(text, start)
    if key is None or not _BEFORE_KEY.search(before):
        return None
    value = _JSON_VALUE.match(text, key.end())
    if value is None:
        return key.end(), sentence_end(text, key.end())
    return value.span() if value["text"] is None else value.span("text")
