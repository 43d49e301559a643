r"""Number literals as people and models write them, and their canonical form.

A canonical number is an exact rational as text: ``1000``, ``0.75``, ``-4``, else ``p/q`` in lowest
terms. Two numbers are equal if and only if their canonical forms are the same string.

A literal is read completely or not at all: a part of a longer literal, of an expression or of a
range has no value. ``docs/guides/evaluation.md`` lists the rules.

``normalization.py`` gives each sign one spelling, ``notation.py`` reads digits and separators,
``literals.py`` finds literals, ``context.py`` has the patterns for their context,
``number_words.py`` reads number words, ``canonical.py`` writes the canonical form.

All functions run in time linear in the text: backtracking, powers of ten and the digits of an
integer are bounded. Patterns that search a whole text begin with a small set of characters, which
``re`` finds quickly.
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
