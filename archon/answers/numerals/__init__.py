r"""Read number literals as people and models write them, and convert them to a canonical form.

A canonical number is an exact rational number as a string: ``1000``, ``0.75``, ``-4`` or, without a
finite decimal expansion, ``p/q`` in lowest terms. Two numbers are equal if and only if their
canonical forms are the same string.

A literal is read completely or not at all. A number that is part of a longer literal, an expression
or a range has no value. ``docs/guides/evaluation.md`` lists the rules.

``normalization.py`` converts signs to one spelling, ``notation.py`` reads digits and separators,
``literals.py`` finds literals, ``context.py`` has patterns for the text around them,
``number_words.py`` reads numbers in words, and ``canonical.py`` computes the canonical form.

All functions run in time linear in the length of the text, because backtracking, powers of ten and
the digits of an integer are limited. Patterns that search a whole text begin with a small set of
characters, for which ``re`` is fast.
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
