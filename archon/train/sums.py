"""Tasks made by rule: sums to be worked step by step, and plain ones to learn reading from.

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
    """Sums of two to six terms of one to four digits, and the working of each."""
    random = Random(f"chain-sums/{seed}")

    def draw() -> Pair | None:
        question, answer = chain_sum_of(_draw_terms(random))
        return (question, answer) if split_of(question) == "search" else None

    return _different(draw, count)


def chain_sum_of(terms: list[int]) -> Pair:
    """The question of a sum, and its working; the sign of a later term is its operator.

    The working is made of steps that a small model learns soon: what is added comes first, then
    what is taken away, then the difference, the smaller from the larger, so that no step crosses
    zero; and each number goes in digit by digit, the highest first, so that a step changes a digit
    and what it carries.

    >>> question, answer = chain_sum_of([95, -130, 12])
    >>> print(question, answer, sep="\\n")
    State the final answer to the following arithmetic problem: 95 - 130 + 12 =
    95 + 10 = 105
    105 + 2 = 107
    130 - 100 = 30
    30 - 7 = 23
    The answer is -23.
    """
    expression = str(terms[0]) + "".join(f" {_sign(term)} {abs(term)}" for term in terms[1:])
    question = f"State the final answer to the following arithmetic problem: {expression} ="
    taken_away = [-term for term in terms[1:] if term < 0]
    lines, total = _added([terms[0], *(term for term in terms[1:] if term >= 0)])
    if taken_away:
        more, less = _added(taken_away)
        larger, smaller = max(total, less), min(total, less)
        lines += [*more, *_steps(larger, "-", smaller)]
        total -= less
    return question, "\n".join([*lines, f"The answer is {total}."])


def _added(numbers: list[int]) -> tuple[list[str], int]:
    """The steps that add up numbers, none of them below zero, and their sum."""
    total, lines = numbers[0], []
    for number in numbers[1:]:
        lines += _steps(total, "+", number)
        total += number
    return lines, total


def _steps(total: int, operator: str, number: int) -> list[str]:
    """The steps that add a number or take it away, one for each digit that is not zero."""
    digits = str(number)
    parts = [int(d) * 10**place for place, d in enumerate(reversed(digits)) if d != "0"]
    lines = []
    for part in reversed(parts or [0]):
        result = total + part if operator == "+" else total - part
        lines.append(f"{total} {operator} {part} = {result}")
        total = result
    return lines


def _sign(term: int) -> str:
    return "-" if term < 0 else "+"


def plain_sums(count: int, seed: int) -> Iterator[str]:
    """a + b below a hundred each, in the words in which the engine asks a model without a chat
    template."""
    random = Random(f"sums/{seed}")

    def draw() -> str:
        a, b = random.randrange(_PLAIN_BELOW), random.randrange(_PLAIN_BELOW)
        return f"Question: {a} + {b}\n\nAnswer: {a + b}"

    return _different(draw, count)


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
