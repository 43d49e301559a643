"""Read English numbers in words, such as ``twenty-five`` or ``two thousand and one``."""

from __future__ import annotations

import re

_SMALL_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
    fourteen fifteen sixteen seventeen eighteen nineteen"""
_SMALL = {word: value for value, word in enumerate(_SMALL_WORDS.split())}
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * value for value, word in enumerate(_TENS_WORDS.split(), start=2)}
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
NUMBER_WORD = "|".join([*_SMALL, *_TENS, *_SCALES])
"""Pattern for a single number word."""
_NUMBER = re.compile(
    rf"(?:{NUMBER_WORD})(?:(?:-|[ ](?:and[ ])?)(?:{NUMBER_WORD})){{0,12}}+(?![\w'])", re.I
)


def number_of_words(text: str, start: int) -> tuple[str | None, int] | None:
    """Return (number, end) for the number words at ``start``; None if there are none.

    The number is None if the words do not form a number, as in ``one two``.

    >>> number_of_words("It is twenty-five.", 6), number_of_words("one two", 0)
    (('25', 17), (None, 7))
    """
    found = _NUMBER.match(text, start)
    if found is None:
        return None
    words = re.split(r"-|[ ]and[ ]|[ ]", found.group().lower())
    return _value(words), found.end()


def _value(words: list[str]) -> str | None:
    """Return the number that the words form, or None.

    The number is the sum of parts below a thousand, each multiplied by its scale. The scales must
    decrease.
    """
    total, part, last = 0, None, 10**12
    for word in words:
        if word == "hundred":
            if part is None or not 0 < part < 10:
                return None
            part *= 100
        elif word in _SCALES:
            if not part or _SCALES[word] >= last:
                return None
            total, part, last = total + part * _SCALES[word], None, _SCALES[word]
        else:
            part = _added(part, word)
            if part is None:
                return None
    return str(total + (part or 0))


def _added(part: int | None, word: str) -> int | None:
    """Add a word's value to a part below a thousand; None if the word cannot follow the part."""
    if part is None:
        return _TENS.get(word, _SMALL.get(word))
    if part == 0 or word == "zero":
        return None
    if word in _TENS:
        return part + _TENS[word] if part % 100 == 0 else None
    follows = part % 100 == 0 or (part % 10 == 0 and part % 100 >= 20 and _SMALL[word] < 10)
    return part + _SMALL[word] if follows else None
