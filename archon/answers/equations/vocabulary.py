"""Word lists of the equation checker: relations, operators, units, and words that cause doubt."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IS = _words("is are equals equal gives give makes make yields becomes leaves was totals")
"""Verbs that may be used in place of an equals sign."""
APPROXIMATELY = _words("about approximately roughly around nearly almost approx")
BEFORE_RESULT = APPROXIMATELY | _words(
    "just only exactly a an the total of to us in at be equal also then now"
)
"""Words that may occur between a relation and the number after it."""
AFTER_OF = _words(
    """the her his their its my our your all those these that total remaining original initial
    same"""
)
"""Words that may occur between "20% of" and the number after it."""

OPERATORS = {"plus": "+", "minus": "-", "times": "*"}
OPERATORS_BY = {"multiplied": "*", "divided": "/"}
"""Words that are operators if followed by "by"."""
AGGREGATES = {"sum": "+", "difference": "-", "product": "*", "quotient": "/"}
"""Nouns that are operators, as in "the sum of 3 and 4" or "the difference between 9 and 2"."""
MULTIPLES = {
    "twice": Fraction(2), "double": Fraction(2), "thrice": Fraction(3), "triple": Fraction(3),
    "quadruple": Fraction(4), "half": Fraction(1, 2),
}  # fmt: skip
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
COUNTS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "seven": 7, "nine": 9}
PARTS = _PARTS | {f"{word}s": part for word, part in _PARTS.items()}
SHARES = {
    f"{count}-{part}": Fraction(over, under)
    for count, over in COUNTS.items()
    for part, under in PARTS.items()
}
"""Fractions in words with a hyphen, such as ``two-thirds`` → 2/3."""

REMAINDER = _words("remainder remaining remains remain leftover leftovers left rest")
"""Words that name a remainder; the quotient before such a word is rounded down."""

ENDS_UNIT = _words(
    """and or so then thus therefore hence because since that this which who if when while but he
    she it they we i you his her their has have had having is are was were be been being will
    would can could should do does did get gets got getting need needs needed pay pays paid spend
    spends spent earn earns earned buy buys bought sell sells sold eat eats ate take takes took
    give gives gave make makes made use uses used than as of where not let let's now there that's
    came come comes cost costs weigh weighs means want wants know find add subtract multiply divide
    calculate calculated becomes become equals equal it's"""
)
"""Words that cannot belong to the unit of a number."""
CONTINUES = frozenset({"and", "of", "than", "as", "or"})
"""Words that end a unit, but after which the expression may continue."""
ARITHMETIC = _words(
    """half twice double doubled triple tripled thrice quadruple more less fewer than square squared
    cube cubed root ratio plus minus times divided multiplied mod modulo log sin cos tan max min
    sqrt factorial remainder power gcd lcm absolute reciprocal round ceil dozen"""
)
"""Words that may change the meaning of the expression after them."""
ARITHMETIC_OF = PARTS.keys() | AGGREGATES.keys() | _words("average mean median percent")
"""Words that may change the meaning of the next expression if followed by "of" or "between"."""
AFTER_NUMBER = _words("mod modulo squared cubed divided multiplied choose")
"""Words that change the number directly before them."""
PREPOSITIONS = _words("for in by with at from on after before per until over")
UNWRITTEN_MEANING = _words("am pm o'clock mod modulo")
"""Words in a number's unit that change the number's meaning."""
DENIALS = _words(
    "wrong incorrect incorrectly mistakenly false never if suppose unless instead impossible"
)
"""Words before or after a statement that deny it or make it conditional."""
LABELS = _words(
    """step day week month year room box problem question case chapter page level part equation
    group plan option team player person class grade round trip house bag number no stage section
    lesson phase item figure table room line bus train q eq"""
)
"""Words after which a number is a name, as in ``step 3``, and not a quantity."""
OF_WHAT = PREPOSITIONS | {"of", "to", "than"}
"""Words that make the expression after them part of a longer phrase, which is the verb's
subject."""


def _table(*dimensions: Mapping[str, int | str]) -> dict[str, Fraction]:
    table: dict[str, Fraction] = {}
    for dimension in dimensions:
        for names, factor in dimension.items():
            table.update(dict.fromkeys(names.split(), Fraction(factor)))
    return table


FACTORS = _table(
    {
        "second seconds sec secs": 1,
        "minute minutes min mins": 60,
        "hour hours hr hrs": 3600,
        "day days": 86400,
        "week weeks": 604800,
    },
    {"month months": 1, "year years": 12},
    {
        "cent cents penny pennies": 1,
        "nickel nickels": 5,
        "dime dimes": 10,
        "quarter quarters": 25,
        "dollar dollars usd euro euros rupee rupees": 100,
    },
    {"mm millimeter millimeters": 1, "cm centimeter centimeters": 10}
    | {"meter meters metre metres": 1000, "km kilometer kilometers kilometre kilometres": 10**6},
    {"inch inches": 1, "foot feet ft": 12, "yard yards": 36, "mile miles": 63360},
    {"ounce ounces oz": 1, "pound pounds lb lbs": 16},
    {
        "mg milligram milligrams": "1/1000",
        "gram grams": 1,
        "kg kilogram kilograms": 1000,
        "ton tons tonne tonnes": 10**6,
    },
    {"ml milliliter milliliters": 1, "liter liters litre litres": 1000},
    {
        "teaspoon teaspoons tsp": "1/48",
        "tablespoon tablespoons tbsp": "1/16",
        "cup cups": 1,
        "pint pints": 2,
        "quart quarts": 4,
        "gallon gallons": 16,
    },
)
"""Unit → its size in the smallest unit of its dimension."""
SCALES = _table(
    {"pair pairs": 2, "dozen dozens": 12, "hundred hundreds": 100, "thousand thousands": 1000}
    | {"k": 1000, "million millions": 10**6, "billion billions": 10**9, "trillion": 10**12},
)
"""Word that multiplies a number with any unit, as in "3 million dollars" → its factor."""
CHANGES = _words("off more less discount increase decrease extra")
"""Words that change the meaning of the percentage before them, as in "20% off"."""
PER = _words("per a an each every")
CURRENCY_FACTOR = Fraction(100)
