"""Tasks made by rule: sums to be worked one step a line, and plain ones to learn reading from.

A chain sum is worded as the library reasoning-gym words it, and only those are made whose question
a benchmark would deal to its *search* split (``archon.evals.benchmarks.reasoning_gym.split_of``):
so no training sees an item of any *select* or *test* split, whatever a benchmark's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from archon.errors import UsageError
from archon.evals.benchmarks.reasoning_gym import split_of

_TERMS, _DIGITS = (2, 6), (1, 4)
_PLAIN_BELOW = 100
_MOST_REPEATS = 10_000

_T = TypeVar("_T")
Pair = tuple[str, str]
"""A question and its answer."""


def chain_sums(count: int, seed: int) -> Iterator[Pair]:
    """Sums of two to six terms of one to four digits, and each worked one step a line."""
    random = Random(f"chain-sums/{seed}")

    def draw() -> Pair | None:
        question, answer = chain_sum_of(_draw_terms(random))
        return (question, answer) if split_of(question) == "search" else None

    return _different(draw, count)


def chain_sum_of(terms: list[int]) -> Pair:
    """The question of a sum, and its working; the sign of a later term is its operator.

    Before each result stand its digits, units first, as they are found by hand: each then follows
    from two digits and a carry, where the first digit of the result itself depends on them all
    (Lee et al. 2023, arXiv 2307.03381).

    >>> question, answer = chain_sum_of([95, -5, 30])
    >>> print(question, answer, sep="\\n")
    State the final answer to the following arithmetic problem: 95 - 5 + 30 =
    95 - 5 [09] = 90
    90 + 30 [021] = 120
    The answer is 120.
    """
    total, lines, expression = terms[0], [], str(terms[0])
    for term in terms[1:]:
        step = f" {'-' if term < 0 else '+'} {abs(term)}"
        expression += step
        lines.append(f"{total}{step} [{_units_first(total, term)}] = {total + term}")
        total += term
    question = f"State the final answer to the following arithmetic problem: {expression} ="
    return question, "\n".join([*lines, f"The answer is {total}."])


def plain_sums(count: int, seed: int) -> Iterator[str]:
    """a + b below a hundred each, in the words in which the engine asks a model without a chat
    template."""
    random = Random(f"sums/{seed}")

    def draw() -> str:
        a, b = random.randrange(_PLAIN_BELOW), random.randrange(_PLAIN_BELOW)
        return f"Question: {a} + {b}\n\nAnswer: {a + b}"

    return _different(draw, count)


def _units_first(a: int, b: int) -> str:
    """The digits of a + b, or of the difference where their signs differ, as long as the longer of
    both."""
    width = len(str(max(abs(a), abs(b))))
    return f"{abs(a + b):0{width}}"[::-1]


def _draw_terms(random: Random) -> list[int]:
    digits = random.randint(*_DIGITS)
    low, high = 0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1
    first, *rest = (random.randint(low, high) for _ in range(random.randint(*_TERMS)))
    return [first, *(term if random.random() < 0.5 else -term for term in rest)]


def _different(draw: Callable[[], _T | None], count: int) -> Iterator[_T]:
    """So many values, each once."""
    seen: set[_T] = set()
    repeats = 0
    while len(seen) < count:
        value = draw()
        repeats += 1
        if value is not None and value not in seen:
            seen.add(value)
            repeats = 0
            yield value
        if repeats > _MOST_REPEATS:
            raise UsageError(f"the rule makes about {len(seen)} different texts, not {count}")
