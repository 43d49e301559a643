r"""Number literals as people and models write them, and their canonical form.

A canonical number is an exact rational as text: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest
terms. Two numbers are equal if and only if their canonical forms are the same string.

A literal is read completely or not at all: a part of a longer literal, of an expression or of a
range has no value. ``docs/guides/evaluation.md`` lists the rules.

``normalization.py`` gives each sign one spelling, ``notation.py`` reads digits and separators,
``literals.py`` finds literals, ``context.py`` has the patterns for what surrounds them,
``number_words.py`` reads number words, ``canonical.py`` writes the canonical form.

Everything here is linear in the text: the patterns backtrack over at most a constant, powers of ten
are bounded, and integers are made only of a bounded number of digits. Patterns that search a whole
text begin with a set of characters, between which ``re`` skips quickly.
"""

from archon.answers.numerals.literals import (
    Literal,
    canonical_number,
    literal_at,
    literals_in,
    sole_number,
)
from archon.answers.numerals.normalization import normalize
from archon.answers.numerals.number_words import number_of_words

__all__ = [
    "Literal",
    "canonical_number",
    "literal_at",
    "literals_in",
    "normalize",
    "number_of_words",
    "sole_number",
]
