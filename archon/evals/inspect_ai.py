"""Judge answers as the scorers of Inspect (inspect_ai) do.

The functions follow the documented behaviour of Inspect 0.3.285, quirks included, so that the
scores are the same: ``match`` finds the target at the end of the text, also as a part of a longer
word or number; numbers are compared with five significant digits; ``exact`` drops articles and
punctuation. Numbers of several Chinese numerals are not read. All functions run in time linear in
the length of the text.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

Location = Literal["begin", "end", "any", "exact"]
AnswerPart = Literal["letter", "word", "line"]

_AROUND = string.whitespace + string.punctuation
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)

# -------------------------------------------------------------------------- match and includes


def match(
    text: str,
    target: str,
    location: Location = "end",
    *,
    ignore_case: bool = True,
    numeric: bool = False,
) -> tuple[str, bool]:
    """Compare the start, the end or any part of a text with a target, as ``match`` does.

    Returns
    -------
    The text or number that was compared, and whether it is the target.

    >>> match("So the answer is 18.", "18"), match("It is 118.", "18")[1]
    (('So the answer is 18.', True), True)
    >>> match("It is $1,018.00 in total.", "1018", numeric=True)
    ('1018', True)
    """
    answer = text = text.strip()
    target = target.strip()
    if ignore_case:
        text, target = text.casefold(), target.casefold()
    if numeric:
        target = _without_number_marks(target)
        wanted = _number(target)
        if wanted is not None:
            return _match_number(answer, _without_number_marks(text), wanted, location)
    text, target = text.strip(_AROUND), target.strip(_AROUND)
    found = {
        "begin": text.startswith,
        "end": text.endswith,
        "any": text.__contains__,
        "exact": text.__eq__,
    }[location](target)
    return answer, found


def includes(text: str, target: str, *, ignore_case: bool = True) -> bool:
    """Return whether a text includes the target, also as a part of a word, as ``includes`` does.

    >>> includes("It is 180.", "18")
    True
    """
    return target.casefold() in text.casefold() if ignore_case else target in text


def _match_number(answer: str, text: str, wanted: float, location: Location) -> tuple[str, bool]:
    target = _rounded(wanted)
    if location == "exact":
        value = _number(text, trims=False)
        compared = text if value is None else _rounded(value)
        return compared, compared == target
    words = re.split(r"\s+", text)
    numbers = (_rounded(n) for n in map(_number, _ordered(words, location)) if n is not None)
    if location == "any":
        return (target, True) if target in numbers else (answer, False)
    found = next(numbers, "")
    return found, found == target


def _ordered(words: Sequence[str], location: Location) -> Sequence[str]:
    return words[::-1] if location == "end" else words


def _without_number_marks(text: str) -> str:
    """Remove currency signs, commas, Markdown's emphasis, and full stops without a digit after."""
    text = re.sub(r"\\([$,£€*_])", r"\1", text)
    return re.sub(r"\.(?!\d)", "", re.sub(r"[$,£€*_]", "", text))


def _rounded(number: float) -> str:
    return f"{number:.5g}"


# ------------------------------------------------------------------------------------- numbers

_SIGNS = {"-": -1, "\u2212": -1, "\ufe63": -1, "\uff0d": -1, "+": 1, "\uff0b": 1, "\ufe62": 1}
_SIGNS |= {"\u8d1f": -1, "\u8ca0": -1, "\u6b63": 1}  # the words in Chinese
_AROUND_NUMBERS = "!?:;()[]{}'\"`"
_GROUPING = "\uff0c\ufe50\u3001\u066c '\u2019\u02bc\uff07"
_POINTS = ".\u066b\uff0e"
_SUPERSCRIPTS = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207a", "0123456789-+"
)
_POWER = re.compile("(.+?)([\u207b\u207a]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)", re.DOTALL)


def _number(word: str, *, trims: bool = True) -> float | None:
    """Return the finite number that a word is; None for other words.

    If ``trims`` is true, the word may be in brackets or quotes, or end a sentence.
    """
    word = word.strip(_AROUND_NUMBERS) if trims else word
    for read in (float, _unicode_number):
        try:
            value = read(word)
        except (ValueError, ArithmeticError):
            continue
        if math.isfinite(value):
            return value
    return None


def _unicode_number(word: str) -> float:
    """Read a number with signs, fractions, exponents or separators that ``float`` does not know."""
    word, sign = word.strip(), 1
    while word and word[0] in _SIGNS:
        sign *= _SIGNS[word[0]]
        word = word[1:].lstrip()
    end = len(word.rstrip(_GROUPING + string.whitespace))
    split = _POWER.fullmatch(word[:end])
    if split is None:
        return sign * _base(word)
    return float((sign * _base(split[1].rstrip())) ** int(split[2].translate(_SUPERSCRIPTS)))


def _base(text: str) -> float:
    """Return the value of a number without sign and exponent; it may end with a fraction."""
    if len(text) == 1 and (value := unicodedata.numeric(text, None)) is not None:
        return value
    fractions = [(i, v) for i, c in enumerate(text) if 0 < (v := unicodedata.numeric(c, 0)) < 1]
    if not fractions:
        return float(_plain_digits(text))
    position, fraction = fractions[0]
    rest = text[position + 1 :].strip()
    if len(fractions) > 1 or rest.strip(_GROUPING + string.whitespace):
        raise ValueError(text)
    whole = text[:position].strip()
    return fraction + (float(_plain_digits(whole)) if whole else 0)


def _plain_digits(text: str) -> str:
    """Return a number in ASCII, without separators of groups."""
    plain = []
    for character in text:
        if character in _POINTS:
            plain.append(".")
        elif (digit := unicodedata.digit(character, None)) is not None:
            plain.append(str(digit))
        elif character in "eE":
            plain.append("e")
        elif character in _SIGNS and plain[-1:] == ["e"]:
            plain.append("-" if _SIGNS[character] < 0 else "+")
        elif character not in _GROUPING and not character.isspace():
            raise ValueError(text)
    return "".join(plain)


# ---------------------------------------------------------------------------------- exact and F1


def normalized(text: str) -> str:
    """Return a text as ``exact`` and ``f1`` compare it.

    Without letter case, punctuation and English articles; numbers become decimal fractions.

    >>> normalized("The answer: 18 U.S. dollars")
    'answer 18.0 us dollars'
    """
    words = (_normalized_word(word) for word in re.split("[ -]", text) if word)
    return " ".join(word for word in words if word)


@lru_cache(maxsize=4096)  # a text has few different words
def _normalized_word(word: str) -> str:
    word = word.casefold()
    for number in (word, word.strip(_AROUND)):
        if (value := _finite(number)) is not None:
            return str(value)
    word = word.translate(_WITHOUT_PUNCTUATION)
    if (value := _finite(word)) is not None:
        return str(value)
    return " ".join(re.sub(r"\b(?:a|an|the)\b", " ", word).split())


def _finite(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def exact(text: str, target: str) -> bool:
    """Return whether two normalized texts are equal; a target without words equals nothing."""
    wanted = normalized(target)
    return bool(wanted) and normalized(text) == wanted


def f1(text: str, target: str) -> float:
    """Compute F1 of the words of two normalized texts, rounded to two decimals.

    >>> f1("It is the Eiffel Tower", "Eiffel Tower")
    0.67
    """
    ours, theirs = (Counter(normalized(each).split()) for each in (text, target))
    common = (ours & theirs).total()
    if not theirs or (ours and not common):
        return 0.0
    precision, recall = common / ours.total() if ours else 1.0, common / theirs.total()
    return round(2 * precision * recall / (precision + recall), 2)


# ------------------------------------------------------------------------------ "ANSWER:" lines

_MARK = re.compile(r"ANSWER\s*+:", re.IGNORECASE)
_LETTER = re.compile(r"\s*+([A-Z])(?!\w)", re.IGNORECASE)
_LINE = re.compile(r"\s*+([^\n]++)\s*+\Z")
_RUN = re.compile(r"(\s*+)([A-Z\d ,]*+)", re.IGNORECASE)
_EMPHASIS = [
    re.compile(rf"{mark}\s*+([A-Za-z\d][A-Za-z\d ,]*+)\s*+{mark}") for mark in (r"\$", r"\*\*")
]
_IN_PARENTHESES = re.compile(r"(^|[:,])(\s*+)\(([A-Z\d])\)(?=\s*(?:[,.\n]|\Z))", re.IGNORECASE)
_BEFORE_LINE_END = re.compile(r"\s*(?:$|\n|\.)")


def stated_answer(text: str, part: AnswerPart) -> str | None:
    """Return what the text states after ``ANSWER:``, as ``answer`` reads it; None if nothing.

    A letter and a word follow the last mark; a line is the last line of the text.

    >>> stated_answer("ANSWER: A\\nNo. ANSWER: (B)", "letter"), stated_answer("ANSWER: 18", "line")
    (None, '18')
    """
    if part == "line":
        return _last_line(text)
    marks = list(_MARK.finditer(text))
    if not marks:
        return None
    if part == "letter":
        found = _LETTER.match(text, marks[-1].end())
        return found[1] if found else None
    return _last_word(text, [mark.end() for mark in marks], marks[-1].start())


def _last_line(text: str) -> str | None:
    """Return the rest of the text after a mark, if it is one line."""
    start = text.rstrip().rfind("\n") + 1
    for mark in _MARK.finditer(text):
        # The mark may also precede the last line, with only white space between.
        if mark.end() >= start or not text[mark.end() : start].strip():
            found = _LINE.match(text, mark.end())
            if found:
                return found[1]
    return None


def _last_word(text: str, ends: Sequence[int], last_start: int) -> str | None:
    """Return the word after the last mark, if it ends its line.

    A word may contain marks itself; then the first mark counts whose word contains the last one.
    """
    word_end = 0
    for end in ends:
        start = _skip(text, end)
        if start >= word_end:
            word_end = _word_end(text, start)
        word = text[start:word_end] if word_end > last_start else ""
        if not word:
            continue
        rest = _skip(text, word_end)
        if rest < len(text) and "\n" not in text[word_end:rest]:
            continue
        stops = len(word) > 1 and word[-1] in ".,;:!?"
        return word[:-1] if stops else word
    return None


_SPACE, _NO_SPACE = re.compile(r"\s*+"), re.compile(r"\S*+")


def _skip(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None
    return found.end()


def _word_end(text: str, start: int) -> int:
    found = _NO_SPACE.match(text, start)
    assert found is not None
    return found.end()


def chosen_letters(text: str, letters: str, *, several: bool = False) -> frozenset[str]:
    """Return the letters after the last ``ANSWER:``, as ``multiple_choice`` reads them.

    Lines that begin with the mark come first. The result is empty if anything but letters of
    options is stated, or more than one without ``several``.

    >>> sorted(chosen_letters("ANSWER: A, C.", "ABCD", several=True)), chosen_letters("B", "AB")
    (['A', 'C'], frozenset())
    """
    text = _EMPHASIS[0].sub(_inside, text)
    text = _EMPHASIS[1].sub(_inside, text)
    text = _IN_PARENTHESES.sub(r"\1\2\3", text)
    stated = _last_run(text, strict=True)
    if stated is None:
        stated = _last_run(text, strict=False)
    if stated is None:
        return frozenset()
    stated = stated.strip().rstrip(".").upper()
    if several:
        stated = stated.replace(" AND ", ",").replace(" ", "")
    parts = frozenset(filter(None, stated.split(",")))
    if several and not parts <= set(letters):
        parts = frozenset(stated)
    is_valid = parts <= set(letters) and (several or len(stated.strip(",")) == 1)
    return parts if is_valid else frozenset()


def _inside(match: re.Match[str]) -> str:
    return match[1].rstrip(" ")


def _last_run(text: str, *, strict: bool) -> str | None:
    """Return the letters, digits, spaces and commas after the last mark; None without a mark.

    If ``strict`` is true, the mark must begin a line and the run must end one or a sentence.
    """
    last, position = None, 0
    while mark := _MARK.search(text, position):
        position = mark.end()
        if strict and mark.start() and text[mark.start() - 1] != "\n":
            continue
        found = _RUN.match(text, mark.end())
        assert found is not None
        stated, end = _run(text, found, strict=strict)
        if stated is not None:
            last, position = stated, end
    return last


def _run(text: str, found: re.Match[str], *, strict: bool) -> tuple[str | None, int]:
    """Return the run that counts and its end; a run of spaces counts as an empty answer."""
    space, run, end = found[1], found[2], found.end()
    if strict:
        if run and _BEFORE_LINE_END.match(text, end):
            return run, end
        first = space.find(" ")
        is_blank = first >= 0 and (
            "\n" in space[first:] or (not run and text[end : end + 1] in ".")
        )
        return ("" if is_blank else None), end
    if run and not _is_word(text[end : end + 1]):
        return run, end + 1
    cut = max(run.rfind(" "), run.rfind(","))
    if cut > 0:
        return run[:cut], found.start(2) + cut + 1
    after = text[found.start(2) : found.start(2) + 1]
    is_blank = " " in space[:-1] or (space.endswith(" ") and not _is_word(after))
    return ("" if is_blank else None), end


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
