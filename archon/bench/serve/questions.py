"""Requests of a measurement: questions with a common beginning, each sent several times."""

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
"""Common words, each of which is one token in most vocabularies."""
_CLOSING = "\n\nWrite a very long story with all of these words in it."
"""The instruction. It makes small models write long answers, unlike most instructions."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: a question, and the seed of its sample."""

    question: str
    seed: int


@dataclass(frozen=True, slots=True)
class Questions:
    """Generator of questions: common words, then random words, then an instruction."""

    shared: tuple[str, ...]
    num_random: int
    """Number of random words per question."""
    words: tuple[str, ...]
    """The words from which random words are chosen."""

    def asks(self, turn: int, count: int, times: int) -> list[Ask]:
        """Return ``count`` requests, each question ``times`` times in a row.

        The questions differ between turns, so that caches contain only the common beginning.
        """
        asks = []
        for number in range(count):
            if number % times == 0:
                rng = random.Random(f"{turn}:{number}")
                words = rng.choices(self.words, k=self.num_random)
                question = " ".join([*self.shared, *words]) + _CLOSING
            asks.append(Ask(question, number))
        return asks


def questions(
    prompt_tokens: int, shared_prefix_tokens: int, count: Callable[[str], int]
) -> Questions:
    """Make a generator of questions whose prompts have about this number of tokens.

    Parameters
    ----------
    count
        Function that returns the number of tokens of a question in the chat template.

    Raises
    ------
    UsageError
        The chat template and the instruction alone have more tokens.
    """
    base = count(_WORDS[0] + _CLOSING)
    cost = {word: count(f"{_WORDS[0]} {word}{_CLOSING}") - base for word in _WORDS}
    word_tokens = min(cost.values())
    words = tuple(word for word in _WORDS if cost[word] == word_tokens)
    template_tokens = count("")  # nearly all of them precede the question
    if prompt_tokens < base + word_tokens:
        raise UsageError(f"--prompt-tokens must be at least {base + word_tokens} for this model")
    num_words = 1 + (prompt_tokens - base) // word_tokens
    num_shared = min(num_words - 1, max(0, shared_prefix_tokens - template_tokens) // word_tokens)
    shared = tuple(random.Random("shared").choices(words, k=num_shared))
    return Questions(shared, num_words - num_shared, words)
