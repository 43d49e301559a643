"""A task made by rule: whole numbers below a million, in English words and in French.

``forty-two`` is ``quarante-deux``, but ``ninety-two`` is ``quatre-vingt-douze``: the order of the
words, hyphens and plurals differ, so that it is a little translation and no list of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from num2words import num2words

BELOW = 1_000_000
_ONE_IN = 20


@dataclass(frozen=True, slots=True)
class NumberPair:
    """A number in both languages."""

    english: str
    french: str


def pair(number: int) -> NumberPair:
    """A number's words."""
    return NumberPair(num2words(number, lang="en"), num2words(number, lang="fr"))


def is_held_out(number: int) -> bool:
    """Whether a number is for testing only: one in twenty, by its digest."""
    digest = blake2b(str(number).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _ONE_IN == 0


def draw_numbers(seed: int, *, held_out: bool) -> Iterator[int]:
    """Numbers of one to six digits, each length as frequent as the others, without end."""
    random = Random(f"numbers/{seed}/{held_out}")
    while True:
        digits = random.randint(1, 6)
        number = random.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)
        if is_held_out(number) == held_out:
            yield number


def held_out_numbers(count: int, seed: int = 0) -> Sequence[int]:
    """So many different numbers that no training sees."""
    found: dict[int, None] = {}
    for number in draw_numbers(seed, held_out=True):
        found[number] = None
        if len(found) >= count:
            break
    return list(found)
