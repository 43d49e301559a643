"""Find number literals in a text. Each literal is read completely or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from archon.answers.numerals import context
from archon.answers.numerals.canonical import (
    MAX_FRACTION_CHARS,
    power_of_ten,
    quotient,
    scaled,
    shifted,
)
from archon.answers.numerals.normalization import normalize
from archon.answers.numerals.notation import RUN, decimal_of


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal with digits in a text, such as a number, a date, a name or a range."""

    value: str | None
    """The canonical number; None if the literal is not a single number or cannot be read."""
    start: int
    """Position of the first digit."""
    end: int
    is_name: bool = False
    """True if the literal is an ordinal, a date or part of a name, and not a quantity."""


_RUN = re.compile(RUN, re.X)
_DIGIT = re.compile(r"[0-9]")
_SPACED = re.compile(r"[ \u202f]")
_DIGIT_BEFORE = re.compile(r"[0-9][ \u202f]\Z")
_DIGIT_AFTER = re.compile(r"[ \u202f][0-9]")
_LITERAL = re.compile(
    rf"""
    (?<![A-Za-z0-9_^]) (?<![\^_]\{{) (?<![\^_]\() (?<!\^-) (?<!\^\{{-) (?<![0-9]\.)
    (?: (?P<name>
            [0-9]{{1,4}}/[0-9]{{1,2}}/[0-9]{{1,4}}(?![0-9/])
          | [0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}(?![0-9])
          | [0-9]{{1,2}}-[0-9]{{1,2}}-[0-9]{{4}}(?![0-9]) | [0-9]{{3}}-[0-9]{{4}}(?![0-9])
          | [0-9]++(?:-[0-9]++){{2,}}+
          | (?:{RUN})(?:st|nd|rd|th)(?![A-Za-z])
        )
      | (?:(?P<whole>[0-9]{{1,400}}+)(?:[ \u202f]{{1,2}}|[ ]and[ ]))?
        (?P<over>{RUN})[ ]?/[ ]?(?P<under>{RUN})
      | (?P<run>{RUN})
        (?: [eE](?P<exponent>[-+]?[0-9]++)(?![A-Za-z0-9]|\.[0-9])
          | [ ]?[\u00d7x*][ ]?10[ ]?(?:\^|\*\*)[ ]?
            (?P<brace>[{{(])?(?P<power>[-+]?[0-9]++)(?(brace)[}})]) )?
    )
    """,
    re.X,
)
_VERSION = re.compile(r"[0-9]++(?:\.[0-9]++){2,}+")
_GLUED_LETTERS = re.compile(r"[A-Za-z]{1,30}")
_AFTER_UNIT = re.compile(r"[0-9(]")


def literals_in(text: str, start: int = 0, end: int | None = None) -> Iterator[Literal]:
    """Yield the literals of a normalized text, from left to right.

    A literal that begins before ``end`` is read completely, even if it ends after it. Digits in
    words, powers and roots are not literals.
    """
    end = len(text) if end is None else end
    while digit := _DIGIT.search(text, start, end):
        first = digit.start()
        literal = None
        if first > start and text[first - 1] == "." and text[first - 2 : first - 1] != ".":
            literal = literal_at(text, first - 1)
        literal = literal or literal_at(text, first)
        if literal is not None:
            yield literal
            start = literal.end
        else:
            run = _RUN.match(text, first)
            assert run is not None, "a run begins with any digit"
            start = run.end()


def literal_at(text: str, start: int) -> Literal | None:
    """Return the literal whose first digit is at ``start``, or None."""
    literal = _LITERAL.match(text, start)
    if literal is None:
        return None
    before = text[max(0, start - context.WINDOW) : start]
    end = literal.end()
    if literal["name"] is not None or _is_named(literal, before):
        return Literal(None, start, end, is_name=True)
    value, end = _magnitude(literal, before)
    span = _span(text, before, end)
    if span is not None:
        return Literal(None, start, span)
    other = context.OR_NUMBER.match(text, end)
    is_restated = other is not None and _is_restated(value, other)
    if other is not None and not is_restated:
        return Literal(None, start, other.end())
    if value is None or _is_part(literal, before, end) or _is_last_of_several(text, before, end):
        return Literal(None, start, end)
    range_end = _range_end(text, before, end, value)
    if range_end is not None:
        return Literal(None, start, range_end)
    negative = _is_negative(text, before, start, end)
    if negative is None:
        return Literal(None, start, end)
    end = end if other is None else other.end()
    return Literal(f"-{value}" if negative and value != "0" else value, start, end)


# --------------------------------------------------------------------------------------- names


def _is_named(literal: re.Match[str], before: str) -> bool:
    """Return whether the digits are part of a date, a version or a name."""
    text, end, run = literal.string, literal.end(), literal["run"]
    if context.NAME_BEFORE.search(before[-8:]) or context.MONTH_AFTER.match(text, end):
        return True
    is_version = run is not None and _VERSION.fullmatch(run) and decimal_of(run) is None
    if is_version and not _DIGIT_BEFORE.search(before[-2:]):
        return True
    if not before.endswith(" "):
        return False
    if context.MONTH_BEFORE.search(before) and context.YEAR_AFTER.match(text, end):
        return True
    return run is not None and len(run) == 4 and bool(context.DATE_BEFORE.search(before))


# --------------------------------------------------------------------------------------- values


def _magnitude(literal: re.Match[str], before: str) -> tuple[str | None, int]:
    """Return the value of a literal without its sign, and its end.

    Value and end include a scale after the literal, such as "million".
    """
    value, end = _unscaled(literal, before), literal.end()
    if value is None:
        return None, end
    text = literal.string
    part = context.AND_A_PART.match(text, end)
    if part and value.isdigit() and len(value) <= MAX_FRACTION_CHARS:
        half = Fraction(context.PARTS[part[1] or part[2]])
        value, end = shifted(f"{int(value)}.{str(float(half))[2:]}"), part.end()
    for _ in range(2):  # "5 hundred thousand"
        scale = context.SCALE.match(text, end)
        is_money = scale is not None and context.is_money(before, text, scale.end())
        exponent = _exponent(scale, is_money) if scale else None
        if scale is None or exponent is None:
            break
        value, end = scaled(value, exponent), scale.end()
        if more := context.MORE_AFTER_SCALE.match(text, end):
            return None, more.end()
    return value, end


def _exponent(scale: re.Match[str], is_money: bool) -> int | None:
    """Return the power of ten of a scale; None if it is a letter with another meaning."""
    if scale["money"] is not None:
        return context.MONEY_SCALES.get(scale["money"]) if is_money else None
    word = scale["word"]
    if word in context.SCALES:
        return context.SCALES[word]
    if word == "K":
        return 3 if is_money else None
    return context.SCALES.get(word.lower())


def _unscaled(literal: re.Match[str], before: str) -> str | None:
    text, end = literal.string, literal.end()
    if literal["over"] is not None:
        over, under = decimal_of(literal["over"]), decimal_of(literal["under"])
        if over is None or under is None or ":" in literal["over"] + literal["under"]:
            return None
        return quotient(literal["whole"], over, under)
    run = literal["run"]
    decimal = decimal_of(run, has_unit=context.has_unit(before, text, end))
    if decimal is None or (_SPACED.search(run) and _may_be_two(run, text, before, end)):
        return None
    if context.CUT_OFF_AFTER.match(text, end) and "." in decimal:
        return None
    if _is_euro_thousands(run, text, before, end):
        return None
    exponent = power_of_ten(literal["exponent"] or literal["power"] or "0")
    return None if exponent is None else shifted(decimal, exponent)


def _may_be_two(run: str, text: str, before: str, end: int) -> bool:
    """Return whether a run such as ``12 500`` may be two numbers next to each other."""
    if _DIGIT_BEFORE.search(before) or _DIGIT_AFTER.match(text, end):
        return True
    return " " in run and context.COUNTED_BEFORE.search(before) is not None


def _is_euro_thousands(run: str, text: str, before: str, end: int) -> bool:
    """Return whether a run is like ``1.000`` next to a euro sign, which may mean 1000 or 1."""
    whole, _, rest = run.partition(".")
    if len(rest) != 3 or not rest.isdigit() or not 0 < len(whole) < 4:
        return False
    return bool(context.EURO_BEFORE.search(before) or context.EURO_AFTER.match(text, end))


# ---------------------------------------------------------------- parts of an expression


def _span(text: str, before: str, end: int) -> int | None:
    """Return the end of a range, tuple, ratio or quantity in two units that starts with a literal.

    ``end`` is the end of the literal. Return None if the literal does not start any of these.
    """
    for pattern in (context.COMPOUND, context.OF_OR_TO):
        if found := pattern.match(text, end):
            return found.end()
    for pattern, prefix in (
        (context.TUPLE_AFTER, context.TUPLE_BEFORE),
        (context.AND_NUMBER, context.BETWEEN),
        (context.AND_VARIABLE, context.VARIABLE_BEFORE),
    ):
        if (found := pattern.match(text, end)) and prefix.search(before):
            return found.end()
    return None


def _is_last_of_several(text: str, before: str, end: int) -> bool:
    """Return whether another number directly precedes; years and list item numbers do not count."""
    near = before[-4:]
    found = context.LIST_BEFORE.search(before) if " " in near or "\u202f" in near else None
    if found is None or context.EQUALS_AFTER.match(text, end):
        return False
    if context.COUNTED_BEFORE.search(before, 0, found.start()):
        return False
    return not (found["separator"] == ", " and context.YEAR.fullmatch(found["first"]))


def _range_end(text: str, before: str, end: int, value: str) -> int | None:
    """Return the end of a range that starts with a literal, such as ``3-5 days``, or None.

    A range without a unit must be alone on its line.
    """
    found = context.RANGE.match(text, end) or context.SPACED_RANGE.match(text, end)
    if found is None or not (found["unit"] or context.LINE_BEFORE.search(before)):
        return None
    other = decimal_of(found["other"])
    if other is None or "/" in value or max(len(value), len(other)) > MAX_FRACTION_CHARS:
        return None
    return found.end("other") if Fraction(value) < Fraction(other) else None


def _is_restated(value: str | None, other: re.Match[str]) -> bool:
    """Return whether the number after "or" has the same value, as in ``3/4 or 0.75``.

    A percentage, as in ``0.5 or 50%``, never has the same value.
    """
    decimal = decimal_of(other["over"].removeprefix("-"))
    if value is None or decimal is None or max(len(value), len(decimal)) > MAX_FRACTION_CHARS:
        return False
    if other["percent"] or (other["under"] and not int(other["under"])):
        return False
    return Fraction(value) == Fraction(decimal) / int(other["under"] or 1)


def _is_part(literal: re.Match[str], before: str, end: int) -> bool:
    """Return whether the text around a literal shows that it is part of an expression or name."""
    text = literal.string
    if context.PART_BEFORE.search(before[-24:]) or context.PART_AFTER.match(text, end):
        return True
    if literal.group() == "1" and context.ONE_PART_AFTER.match(text, end):
        return True
    letters = _GLUED_LETTERS.match(text, end)
    if letters is None:
        return False
    return not context.may_be_unit(letters.group()) or bool(_AFTER_UNIT.match(text, letters.end()))


def _is_negative(text: str, before: str, start: int, end: int) -> bool | None:
    """Return whether a literal has a minus sign before it; None if this is uncertain.

    A dash that is a bullet, a hyphen or a subtraction is not a minus sign.
    """
    words = before[-12:].lower()
    if "minus" in words or "negative" in words:
        if context.NEGATIVE_WORD.search(before):
            return True
        if context.MINUS_WORD.search(before):
            return None
    if "-" not in words:
        return False
    if context.NEGATIVE_PAREN.search(before):
        return True if text[end : end + 1] in {")", "}", "]"} else None
    if context.LINE_DASH.search(before):
        return _is_negative_line(text, start, end)
    if context.SPACED_MINUS.search(before):
        return True
    minus = context.MINUS.search(before)
    if minus is None:
        return False
    before = before[: minus.start()]
    operand = before.rstrip()[-1:]
    if operand != before[-1:]:
        return not (operand.isdigit() or operand in {")", "]", "}", "%"})
    return not (operand.isalnum() or operand in {")", "]", "}", "%"})


def _is_negative_line(text: str, start: int, end: int) -> bool | None:
    """Return whether a dash at the start of a line is a minus sign; None if this is uncertain.

    In a single-line text, it is a minus sign. If words follow the number on its line, it is a
    bullet.
    """
    if "\n" not in text[:start].strip() and "\n" not in text[end : end + 400].strip():
        return True
    rest = text[end : end + 40].partition("\n")[0]
    return None if not rest.strip(" .*") else False


# ------------------------------------------------------------------- texts that are a number

_DECORATION = " \t\n+-$€£¥₹₩₽₺₴₪₫₦฿¢%{}()[]*"
_MARKUP = re.compile(
    rf"(?:Rs\.?|US|USD|EUR|GBP|INR|CHF|[\s*_`\"'{re.escape(context.CURRENCY)}(\[{{+-]){{0,20}}"
)
_UNIT_WORDS = re.compile(
    rf"""[\s%‰°*_`"')\]}}{re.escape(context.CURRENCY)}]{{0,20}}
         (?:[ ]?(?!(?:and|or|to|than|of|by|plus|minus|times|divided|is|are|in|with|x)\b)
            (?:[A-Za-zµΩ°²³-]{{1,20}}|[A-Za-z]{{1,4}}\^[23])
            (?:/(?:[A-Za-z]{{1,12}})(?:\^[23])?)?){{0,3}}
         [\s%*_`"')\]}}$.]{{0,20}}""",
    re.X,
)


def canonical_number(text: str) -> str | None:
    """Return the canonical form of a text that consists only of a number, or None.

    >>> canonical_number(" $1,000.00 "), canonical_number("18 apples")
    ('1000', None)
    """
    text = normalize(text).strip()
    literal = next(literals_in(text), None)
    if literal is None or literal.value is None:
        return None
    rest = text[: literal.start] + text[literal.end :]
    return literal.value if not rest.strip(_DECORATION) else None


def sole_number(text: str) -> str | None:
    """Return the canonical form of a text that is a number with or without a unit, or None.

    >>> sole_number("18 square feet"), sole_number("3\\\\sqrt{2}"), sole_number("5 or 6")
    ('18', None, None)
    """
    text = normalize(text).strip()
    literal = next(literals_in(text), None)
    if literal is None or literal.value is None or ":" in text:
        return None
    prefix = _MARKUP.fullmatch(text, 0, literal.start)
    suffix = _UNIT_WORDS.fullmatch(text, literal.end)
    return literal.value if prefix and suffix else None
