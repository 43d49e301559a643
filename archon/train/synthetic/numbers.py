"""Synthetic translation task: integers below a million, in English words and in French.

``forty-two`` is ``quarante-deux``, but ``ninety-two`` is ``quatre-vingt-douze``. The languages
differ in the order of words, hyphens and plurals, so word-by-word translation is not enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from num2words import num2words

_MAX_DIGITS = 6
_HELD_OUT_PERIOD = 20


@dataclass(frozen=True, slots=True)
class NumberPair:
    """The words for a number in both languages."""

    english: str
    french: str


def pair(number: int) -> NumberPair:
    """Return the words for a number: ``7`` → ``seven``, ``sept``."""
    return NumberPair(num2words(number, lang="en"), num2words(number, lang="fr"))


def is_held_out(number: int) -> bool:
    """Return whether a number is held out for tests. The digest selects one number in twenty."""
    digest = blake2b(str(number).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _HELD_OUT_PERIOD == 0


def random_numbers(seed: int, *, held_out: bool) -> Iterator[int]:
    """Yield random numbers of one to six digits endlessly; each length is equally likely.

    Parameters
    ----------
    held_out
        Whether to yield only held-out numbers (``is_held_out``). If False, only numbers that are
        not held out are yielded.
    """
    random = Random(f"numbers/{seed}/{held_out}")
    while True:
        digits = random.randint(1, _MAX_DIGITS)
        number = random.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)
        if is_held_out(number) == held_out:
            yield number


def held_out_numbers(count: int, seed: int = 0) -> Sequence[int]:
    """Return ``count`` different held-out numbers."""
    numbers = random_numbers(seed, held_out=True)
    found: dict[int, None] = {}
    while len(found) < count:
        found[next(numbers)] = None
    return list(found)
