r"""Number literals as people and models write them, and their canonical form.

A canonical number is an exact rational as text: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest
terms. Two numbers are equal if and only if their canonical forms are the same string.

A literal is read completely or not at all: what is a part of a longer literal, of an expression or
of a range has no value. ``docs/evaluation.md`` lists the rules.

``plain.py`` gives a text one spelling for each sign, ``notation.py`` reads digits and separators,
``literals.py`` finds literals and looks at what surrounds them, ``words.py`` reads number words,
``canonical.py`` has the canonical form.

Everything here is linear in the text: the patterns do not backtrack over more than a constant, a
power of ten is bounded, and integers are made only of digits of bounded number. Patterns that a
whole text is searched for begin with a set of characters, between which ``re`` skips quickly.
"""

from archon.answers.numerals.literals import (
    Literal,
    canonical_number,
    literal_at,
    literals_in,
    sole_number,
)
from archon.answers.numerals.plain import OPAQUE, plain
from archon.answers.numerals.words import number_of_words

__all__ = [
    "OPAQUE",
    "Literal",
    "canonical_number",
    "literal_at",
    "literals_in",
    "number_of_words",
    "plain",
    "sole_number",
]
