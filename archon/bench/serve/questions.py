"""What clients ask in a measurement: prompts that begin alike, each asked several times."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from archon.errors import UsageError

_COMMON = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work number night "
    "point home water room mother area money story fact month lot right study book eye job word "
    "business issue side kind head house service friend father power hour game line end member law "
    "car city name team minute idea body back parent face level office door health person art war"
)
_WORDS = tuple(_COMMON.split())
"""Common enough to be one token each in most vocabularies."""
_CLOSING = "\n\nWrite a very long story with all of these words in it."
"""Small models end most other texts early."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: its question, and the seed of its draw."""

    question: str
    seed: int


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions of about so many tokens, whose first words are the same."""

    shared: tuple[str, ...]
    num_own: int
    """Words of each question's own."""
    words: tuple[str, ...]

    def asks(self, turn: int, count: int, times: int) -> list[Ask]:
        """``count`` requests, each question ``times`` in a row; every turn has questions of its
        own, so that no cache holds more of them than their shared beginning."""
        asks = []
        for number in range(count):
            if number % times == 0:
                rng = random.Random(f"{turn}:{number}")
                own = rng.choices(self.words, k=self.num_own)
                question = " ".join([*self.shared, *own]) + _CLOSING
            asks.append(Ask(question, number))
        return asks


def questions(
    prompt_tokens: int, shared_prefix_tokens: int, count: Callable[[str], int]
) -> Questions:
    """Questions that become prompts of this size.

    Parameters
    ----------
    count
        Tells how many tokens the whole prompt of a question has, template included.

    Raises
    ------
    UsageError
        The template and the request for a story alone have more.
    """
    base = count(_WORDS[0] + _CLOSING)
    cost = {word: count(f"{_WORDS[0]} {word}{_CLOSING}") - base for word in _WORDS}
    least = min(cost.values())
    words = tuple(word for word in _WORDS if cost[word] == least)
    head = count("")  # nearly all of it before the question
    if prompt_tokens < base + least:
        raise UsageError(f"--prompt-tokens must be at least {base + least} for this model")
    num_words = 1 + (prompt_tokens - base) // least
    num_shared = min(num_words - 1, max(0, shared_prefix_tokens - head) // least)
    shared = tuple(random.Random("shared").choices(words, k=num_shared))
    return Questions(shared, num_words - num_shared, words)
