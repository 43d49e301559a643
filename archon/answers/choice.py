r"""Read the option that a text gives as its answer.

The last of these decides: "The answer is (B).", "Answer: B", ``\boxed{B}``, ``#### B``, "option B
is correct", and the same in other languages. An option may be named by its letter or its text. If
several letters are stated there ("B or C"), the text has no answer. A text that states nothing has
an answer if only one option's letter or text is in it: "B", "**(b)**", "B) Rome" or "Rome". A
letter that may be a word does not count, as in "A dog barks".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from archon.answers import turns
from archon.answers.characters import FULL_WIDTH
from archon.answers.letters import LETTERS
from archon.answers.marks import closing_brace
from archon.answers.texts import normalized_text

_MAX_HEAD, _MAX_TAIL = 2_000, 20_000
"""Maximum characters at the beginning and at the end of a text that are searched."""
_MAX_STATEMENT = 300

_NOUN = (
    r"(?:option|choice|letter|alternative|antwort|réponse|opción|opzione|opção|optie|вариант"
    r"|选项|選項|選択肢|선택지)"
)
_OPENING = r"(?:[\s*_`\"'“”‘’«»$~(\[{【［「『《〈<:]|\\(?:text(?:bf)?|math(?:rm|bf))\s?\{|\\[(\[])"
_CLOSING = r"[)\]}】］」』》〉>.:,、。;*_`\"”$]"
_LETTER = re.compile(
    rf"(?P<opening>{_OPENING}*+)(?:{_NOUN}\s?{_OPENING}*+)?"
    rf"(?P<letter>[A-Za-z])(?![\w'’])(?P<closing>{_CLOSING}*+)",
    re.I,
)
"""Matches an option's letter at the beginning of a statement."""
_AFTER_WORD = re.compile(
    r"\s*+(?:\Z|\n|[-–—(=<]|\\[)\]]|(?:because|since|as|for|which|with|due|is|and|or|but|so|weil"
    r"|denn|porque|car|perché)\b|[^\x00-\u024f])",
    re.I,
)
"""Matches what follows a letter that could also be a word, such as "A" and "I"."""
_ANOTHER = re.compile(
    rf"\s{{0,4}}(?:\b(?:and/or|or|and|nor|oder|und|ou|y|et|и|или)\b|[/&+,、;和或])\s{{0,4}}"
    rf"(?:{_NOUN}\s)?[(\[【*]{{0,4}}(?i:(?P<letter>[A-Z])(?=[)\]】*.,;]|\s*\Z)"
    r"|(?-i:(?P<capital>[B-HJ-Z]))(?![\w'’]))",
    re.I,
)
"""Matches a second option after the first."""

_STATEMENT = re.compile(
    r"""(?:
      (?<![^\W\d_])(?P<words>answer|(?:correct|right|best|chosen|selected|final)[ ](?:option|choice)
        |antwort|lösung|réponse|respuesta|risposta|resposta|antwoord|svar|odpowiedź|ответ)
      | 答案|正确选项|选择|選擇|答え|解答|正解|回答|정답|답)
    [^.!?:=\n。！？]{0,60}?
    (?:\b(?:is|are|was|be|ist|lautet|est|es|é|è|jest)\b(?!\s+(?:not|nicht|pas|no)\b)\s{0,4}:?
       |[:=]|>(?!\s)|\s[-–—]\s|是|为|為|は|[은는]|(?=[ ]?\**\([A-Z]\)))
    | \b(?:choose|pick|select)\s(?=[*(]{0,4}[A-Z]\b)
    | (?<=\#)\#{3}(?!\#)""",
    re.X | re.I,
)
"""Matches the words before a stated answer."""
_NOT_THE_ANSWER = re.compile(r"\b(?:wrong|incorrect|other|false|previous|initial)\s\Z", re.I)
_BOX = re.compile(r"\\f?boxed\s?\{", re.I)
_RIGHT = re.compile(
    rf"""(?P<noun>{_NOUN}\s)?(?<![\w'’])(?P<open>[*(\[【]{{0,4}})(?P<letter>[A-Z])
    (?P<close>[)\]】*.:]{{0,4}})\s{{0,2}}(?:is|ist|est|es|é|è)\s(?:the\s|die\s|la\s)?
    (?:answer\b|(?:(?:only|most|clearly|best|correct|right|richtig|korrekt|correcta|correcte
    |corretta|correta)(?![\w-])[ ]?){{1,3}})""",
    re.X,
)
"""Matches "option B is correct" and "B is the best answer"."""
_LINE = re.compile(
    rf"[ \t>#*_\-]*+(?:{_NOUN}[ ])?[*_(\[【]*+(?P<letter>[A-Za-z])"
    r"(?:[)\]】*_]++(?!\s*(?:(?:and|or|nor)\b|[,&/]))[.:]?|[.:](?=\s|\Z|\*)|[ \t]*+\Z)",
    re.I,
)
"""Matches a line that begins with an option's letter: "B) Rome", "**B**" or "B"."""
_NAMED = re.compile(rf"[(\[【]([A-Z])[)\]】]|\b(?i:{_NOUN})\s([A-Z])(?![\w'’])")
"""Matches a letter in brackets or after the word "option"."""
_ARTICLE = re.compile(r"(?:(?:that|it is|the|an?)\s)+")


def read_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a text gives as its answer, or None.

    Parameters
    ----------
    choices
        The options in the order of their letters. If they are empty, the value is a letter.

    >>> read_choice("I think B) Paris, as France is near.", ["Rome", "Paris"])
    'Paris'
    >>> read_choice("A dog barks.") is None
    True
    """
    text, options = _searched(text), _Options(choices)
    found, is_stated = _stated(text, options)
    return found if is_stated else options.only_one(text)


def read_stated_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a text states explicitly as its answer, or None."""
    return _stated(_searched(text), _Options(choices))[0]


def read_target_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a reference answer names by its letter or text, or None.

    A capital letter is always the letter of an option, even if it is also the text of another one.
    A worked solution is read like a model's text.
    """
    stripped = text.strip()
    if len(stripped) == 1 and stripped in LETTERS:
        return _Options(choices).value(stripped)
    return stripped if stripped in choices else read_choice(text, choices)


def _searched(text: str) -> str:
    """Return the part of the model's turn that is searched, with ASCII letters and brackets."""
    text = turns.own_turn(text)
    if len(text) > _MAX_HEAD + _MAX_TAIL:
        text = f"{text[:_MAX_HEAD]}\n{text[-_MAX_TAIL:]}"
    return text.translate(FULL_WIDTH)


def _stated(text: str, options: _Options) -> tuple[str | None, bool]:
    """Return (the stated option, whether the text states one or several)."""
    for statement in _statements(text):
        found, is_stated = options.leading(statement)
        if is_stated:
            return found, True
    return None, False


def _statements(text: str) -> Iterator[str]:
    """Yield what the text states as its answer, from the last statement to the first."""
    boxed = (
        (box.start(), text[box.end() : closing_brace(text, box.end())])
        for box in _BOX.finditer(text)
    )
    stated = (
        (mark.start(), text[mark.end() : mark.end() + _MAX_STATEMENT])
        for mark in _STATEMENT.finditer(text)
        if not _NOT_THE_ANSWER.search(text, max(0, mark.start() - 16), mark.start())
    )
    called_right = (
        (right.start(), f"({right['letter']})")
        for right in _RIGHT.finditer(text)
        if right["letter"] != "I" or right["noun"] or right["close"]
    )
    found = sorted([*boxed, *stated, *called_right], reverse=True)
    return (statement for _, statement in found)


class _Options:
    """The options of a question, by letter and by text."""

    def __init__(self, choices: Sequence[str]) -> None:
        self._choices = tuple(choices)
        self._letters = LETTERS[: len(choices)] if choices else LETTERS
        texts = ((normalized_text(choice) or choice.strip(), choice) for choice in choices)
        self._by_text = {text: choice for text, choice in reversed([*texts]) if text}

    def value(self, letter: str) -> str | None:
        """Return the value of a letter; None if no option has it."""
        index = self._letters.find(letter.upper())
        if index < 0:
            return None
        return self._choices[index] if self._choices else LETTERS[index]

    def leading(self, statement: str) -> tuple[str | None, bool]:
        """Return (the option that a statement begins with, whether it begins with any)."""
        match = _LETTER.match(statement)
        if match and (value := self.value(match["letter"])) and _is_letter(match):
            another = _ANOTHER.match(statement, match.end("letter")) or _ANOTHER.match(
                statement, match.end()
            )
            other = another and self.value(another["letter"] or another["capital"])
            return (None if other and other != value else value), True
        value = self._by_its_text(statement)
        return value, value is not None

    def _by_its_text(self, statement: str) -> str | None:
        """Return the option whose text a statement begins with, or the only one in its sentence."""
        if not self._choices:
            return None
        line = normalized_text(statement.lstrip().partition("\n")[0])
        article = _ARTICLE.match(line)
        starts = (line, line[article.end() :] if article else line)
        leading = [t for t in self._by_text if any(_begins_with(start, t) for start in starts)]
        if leading:
            return self._by_text[max(leading, key=len)]
        return self._only_text(re.split(r"[.!?](?=\s)", line, maxsplit=1)[0])

    def _only_text(self, text: str) -> str | None:
        """Return the only option whose text is in a normalized text.

        An option whose text is part of another one that is found does not count.
        """
        found = [t for t in self._by_text if _contains(text, t)]
        longest = [t for t in found if not any(t != other and t in other for other in found)]
        return self._by_text[longest[0]] if len(longest) == 1 else None

    def only_one(self, text: str) -> str | None:
        """Return the option of a text that states none, if there is only one in it."""
        lines = [line for line in text.split("\n") if line.strip()]
        begun = [match for line in lines if (match := _LINE.match(line))]
        alone = [m["letter"] for m in begun if not m.string[m.end() :].strip()]
        if alone and lines and alone[-1] in lines[-1] and _LINE.match(lines[-1]):
            return self.value(alone[-1])
        named = (match[1] or match[2] for match in _NAMED.finditer(text))
        for letters in ([m["letter"] for m in begun], [*named]):
            values = {value for letter in letters if (value := self.value(letter))}
            if values:
                return values.pop() if len(values) == 1 else None
        if not lines:
            return None
        last = self._only_text(normalized_text(lines[-1]))
        return last or self._only_text(normalized_text(text))


def _is_letter(match: re.Match[str]) -> bool:
    """Return whether a letter at the beginning of a statement is an option and not a word."""
    if match["closing"] or any(bracket in match["opening"] for bracket in "([{【*"):
        return True
    if match["letter"] in LETTERS and match["letter"] not in "AI":
        return True
    return _AFTER_WORD.match(match.string, match.end()) is not None


def _begins_with(text: str, start: str) -> bool:
    return text.startswith(start) and not _CONTINUES.match(text, len(start))


def _contains(text: str, part: str) -> bool:
    """Return whether a part occurs in a text, and not within a longer word or number."""
    position = text.find(part)
    while position >= 0:
        is_within = position > 0 and _PRECEDES.match(text, position - 1) and part[0].isalnum()
        if not is_within and not _CONTINUES.match(text, position + len(part)):
            return True
        position = text.find(part, position + 1)
    return False


_CONTINUES = re.compile(r"\w|[.,/]\d|[%^]")
_PRECEDES = re.compile(r"[\w.,/-]")
