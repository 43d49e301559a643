r"""Number literals as people and models write them, and their canonical form.

A canonical number is an exact rational as text: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest
terms. Two numbers are equal if and only if their canonical forms are the same string.

Everything here is linear in the text: the patterns do not backtrack over more than a constant, a
power of ten is bounded, and integers are made only of digits of bounded number. Patterns that a
whole text is searched for begin with a set of characters, between which ``re`` skips quickly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

MAX_EXPONENT = 1000
"""A literal with a greater power of ten is not read."""
MAX_FRACTION_CHARS = 400
"""A fraction with a longer numerator or denominator is not read."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number found in a text: its canonical value, and where its digits stand."""

    value: str
    start: int
    end: int


def canonical_number(text: str) -> str | None:
    """The canonical form of a text that is one number and nothing else, or None.

    >>> canonical_number(" $1,000.00 "), canonical_number("18 apples")
    ('1000', None)
    """
    text = plain(text).strip()
    number = next(numbers_in(text), None)
    if number is None:
        return None
    around = text[: number.start] + text[number.end :]
    return number.value if not around.strip(" +-$€£¥₹%{}()[]*") else None


# --------------------------------------------------------------------- one spelling for each sign

_CHARACTERS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
    **{
        ord(char): " " + unicodedata.normalize("NFKC", char).replace("\u2044", "/")
        for char in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
    },
    **dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63"), "-"),
    **dict.fromkeys(map(ord, "\u2044\u2215"), "/"),
    **dict.fromkeys(map(ord, "\u00b7\u22c5"), "\u00d7"),
}
_LATEX_FRACTION = re.compile(
    r"\\[dt]?frac\s?(?:\{([^{}]{1,400})\}\s?\{([^{}]{1,400})\}|([0-9])([0-9]))"
)
_REWRITES = (
    (
        re.compile(
            r"[{\\\u00a0\u2009\u202f](?:(?<=[0-9]\{),\}|(?<=[0-9]\\)[,!]|"
            r"(?<=[0-9][\u00a0\u2009\u202f]))(?=[0-9]{3}(?![0-9]))"
        ),
        ",",
    ),
    (re.compile(r"[\u00a0\u2007\u2009\u202f]"), " "),
    (re.compile(r"\\(?=[$%])"), ""),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "\u00d7"),
    (re.compile(r"\\sqrt(?![A-Za-z])\s?"), "√"),
    (re.compile(r"\\(?!f?boxed)(?:[A-Za-z]{1,30}|[,!;: ()\[\]])"), " "),
)


def plain(text: str) -> str:
    r"""The text with one spelling for each sign, LaTeX commands but ``\boxed`` taken out.

    >>> plain("−\\frac{3}{4} of \\$1{,}000")
    '-3/4 of $1,000'
    """
    text = text.translate(_CHARACTERS)
    if "\\" in text:
        text = _LATEX_FRACTION.sub(_slashed, text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def _slashed(fraction: re.Match[str]) -> str:
    over, under = (group.strip() for group in fraction.groups() if group is not None)
    start = fraction.start()
    mixed = fraction.string[max(0, start - 1) : start].isdigit()
    return f"{' ' if mixed else ''}{over}/{under}"


# ------------------------------------------------------------------------------ finding literals

_DECIMAL = r"""(?:(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++(?:_[0-9]{3})*+)(?:\.[0-9]++)?
               |\.[0-9]++)"""
_LITERAL = re.compile(
    rf"""
    (?<![A-Za-z0-9_^√]) (?<![\^_√]\{{) (?<![0-9]\.)      # not in a name, a power, a root
    (?: (?P<other>
            [0-9]++(?:\.[0-9]++){{2,}}+                    # a version
          | [0-9]{{1,4}}/[0-9]{{1,2}}/[0-9]{{1,4}}(?![0-9])  # a date
          | [0-9]++(?:\.[0-9]++)?(?:\^|\*\*(?=[0-9]))      # a power
          | [0-9]++(?:st|nd|rd|th)(?![A-Za-z])             # an ordinal
        )
      | (?P<hours>[0-9]++):(?P<minutes>[0-9]++)
      | (?:(?P<whole>[0-9]{{1,400}}+)[ ]{{1,2}})?
        (?P<over>{_DECIMAL})[ ]?/[ ]?(?P<under>{_DECIMAL})
      | (?P<decimal>{_DECIMAL})
        (?: [eE](?P<exponent>[-+]?[0-9]++)(?![A-Za-z0-9])
          | [ ]?[\u00d7x*][ ]?10(?:\^|\*\*)\{{?(?P<power>[-+]?[0-9]++)\}}? )?
    )
    """,
    re.X,
)
_DIGITS = re.compile(r"[0-9][0-9]*+")
_MINUS = re.compile(r"(?:-(?:[$€£¥₹]\s?)?|(?<==)\s?-\s)\Z")


def numbers_in(text: str, start: int = 0, end: int | None = None) -> Iterator[Number]:
    """The readable numbers of a text in the form that ``plain`` gives, from left to right.

    Numbers that begin before ``end`` are read whole. Parts of words, powers, roots, ordinals,
    dates and versions are no numbers; ``3:00`` is 3, other times and ratios are none.
    """
    for literal in _literals(text, start, len(text) if end is None else end):
        cut = literal.end() == end
        number = number_at(text, literal.start()) if cut else _read(literal)
        if number is not None:
            yield number


def _literals(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """What ``_LITERAL.finditer`` finds, tried only where a literal can begin."""
    while digits := _DIGITS.search(text, start, end):
        first = digits.start()
        literal = None
        if first > start and text[first - 1] == ".":
            literal = _LITERAL.match(text, first - 1, end)
        literal = literal or _LITERAL.match(text, first, end)
        if literal is not None:
            yield literal
        start = digits.end() if literal is None else literal.end()


def number_at(text: str, start: int) -> Number | None:
    """The readable number whose digits begin at ``start``, or None."""
    literal = _LITERAL.match(text, start)
    return _read(literal) if literal else None


def _read(literal: re.Match[str]) -> Number | None:
    value = _value(literal)
    if value is None:
        return None
    if value != "0" and _is_negative(literal.string, literal.start()):
        value = f"-{value}"
    return Number(value, literal.start(), literal.end())


def _is_negative(text: str, start: int) -> bool:
    """Whether a minus sign, and not a dash or a subtraction, stands before a literal."""
    window = text[max(0, start - 8) : start]
    minus = _MINUS.search(window)
    if minus is None:
        return False
    before = window[: minus.start()]
    operand = before.rstrip()[-1:]
    if operand != before[-1:]:
        return not (operand.isdigit() or operand in {")", "]", "}", "%"})
    return not (operand.isalnum() or operand in {")", "]", "}", "%"})


def _value(literal: re.Match[str]) -> str | None:
    """The canonical value of a literal without its sign, or None if it is not read."""
    decimal = literal["decimal"]
    if decimal is not None:
        return _decimal_value(decimal, literal["exponent"] or literal["power"] or "0")
    if literal["over"] is not None:
        return _fraction_value(literal["whole"], literal["over"], literal["under"])
    if literal["hours"] is not None and literal["minutes"] == "00":
        return _shifted(literal["hours"], 0)
    return None


# --------------------------------------------------------------------------- the canonical form


def _decimal_value(decimal: str, exponent: str) -> str | None:
    if len(exponent.lstrip("+-0")) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    whole, _, rest = decimal.replace(",", "").replace("_", "").partition(".")
    return _shifted(whole + rest, int(exponent) - len(rest))


def _fraction_value(whole: str | None, over: str, under: str) -> str | None:
    if max(len(over), len(under)) > MAX_FRACTION_CHARS:
        return None
    numerator, denominator = (Fraction(part.replace(",", "")) for part in (over, under))
    if not denominator:
        return None
    value = numerator / denominator
    if whole is not None and value < 1:
        value += int(whole)
    return _rational(value)


def _rational(value: Fraction) -> str:
    """The canonical form of a fraction that is not negative."""
    places, rest = 0, value.denominator
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    return _shifted(str(value * 10**places), -places)


def _shifted(digits: str, exponent: int) -> str:
    """The canonical form of digits × 10^exponent, worked on the digits as text."""
    digits = digits.lstrip("0")
    shortest = digits.rstrip("0")
    exponent += len(digits) - len(shortest)
    if not shortest:
        return "0"
    if exponent >= 0:
        return shortest + "0" * exponent
    padded = shortest.rjust(1 - exponent, "0")
    return f"{padded[:exponent]}.{padded[exponent:]}"
