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
_WRITTEN_DIGITS = 5  # so many has the greatest sum
_PLAIN_BELOW = 100
_MOST_REPEATS = 10_000

_T = TypeVar("_T")
QuestionAnswer = tuple[str, str]
"""A question and its answer."""


def chain_sums(count: int, seed: int) -> Iterator[QuestionAnswer]:
    """Sums of two to six terms of one to four digits, and the working of each."""
    random = Random(f"chain-sums/{seed}")

    def draw() -> QuestionAnswer | None:
        question, answer = chain_sum_of(_draw_terms(random))
        return (question, answer) if split_of(question) == "search" else None

    return _different(draw, count)


def chain_sum_of(terms: list[int]) -> QuestionAnswer:
    """The question of a sum, and its working; the sign of a later term is its operator.

    The working is made of steps that a small model learns soon. First it lists what is added and
    what is taken away. Then come both lists once more, each number in five digits, the units
    first: behind every number after the first stands what they are together so far. So each digit
    of a total is the sum of two that stand at fixed distances, and of a carry that has just been
    written. What is taken away becomes its complement to 100,000, and is added like all else: a
    carry out of the highest digit makes the result positive, and without one the complement of
    what came out is the amount below zero. There is no ``=``: digits in this order are no
    calculation that a reader should check.

    >>> question, answer = chain_sum_of([95, -130, 12])
    >>> print(question, answer, sep="\\n")
    State the final answer to the following arithmetic problem: 95 - 130 + 12 =
    + 95 12
    - 130
    59000 21000 70100
    03100
    70100 07899 77999
    - 32000
    The answer is -23.
    """
    expression = str(terms[0]) + "".join(f" {_sign(term)} {abs(term)}" for term in terms[1:])
    question = f"State the final answer to the following arithmetic problem: {expression} ="
    added = [terms[0], *(term for term in terms[1:] if term >= 0)]
    taken_away = [-term for term in terms[1:] if term < 0]
    lists = {"+": added} | ({"-": taken_away} if taken_away else {})
    lines = [" ".join([sign, *map(str, numbers)]) for sign, numbers in lists.items()]
    lines += [_units_first(*_with_totals(numbers)) for numbers in lists.values()]
    total = sum(terms)
    if taken_away:
        complement = -sum(taken_away)
        lines += [_units_first(sum(added), complement, total)]
        lines += [f"{_sign(total)} {_units_first(abs(total))}"]
    return question, "\n".join([*lines, f"The answer is {total}."])


def _with_totals(numbers: list[int]) -> Iterator[int]:
    """Numbers, each after the first followed by the sum of all so far."""
    total = numbers[0]
    yield total
    for number in numbers[1:]:
        total += number
        yield number
        yield total


def _units_first(*numbers: int) -> str:
    """Five digits of each; below zero, of its complement."""
    modulus = 10**_WRITTEN_DIGITS
    return " ".join(f"{number % modulus:0{_WRITTEN_DIGITS}}"[::-1] for number in numbers)


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
