"""Synthetic sums: chain sums with a step-by-step solution, and plain sums for pretraining.

The questions of chain sums have the wording of the library reasoning-gym. Only questions of a
benchmark's *search* split are generated (``archon.evals.benchmarks.reasoning_gym.split_of``), so
the training data never contains an item of a *select* or *test* split, regardless of the
benchmark's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from archon.errors import UsageError
from archon.evals.benchmarks.reasoning_gym import split_of

_TERMS, _DIGITS = (2, 6), (1, 4)
_WRITTEN_DIGITS = 5
"""Number of digits of the greatest possible sum."""
_PLAIN_BELOW = 100
_MAX_REPEATS = 10_000
"""Maximum number of attempts to find a new text, after which the rule is considered exhausted."""

_T = TypeVar("_T")
QuestionAnswer = tuple[str, str]
"""A question and its answer."""


def chain_sums(count: int, seed: int) -> Iterator[QuestionAnswer]:
    """Yield ``count`` different sums of two to six terms of one to four digits.

    Raises
    ------
    UsageError
        Not enough different sums were found.
    """
    random = Random(f"chain-sums/{seed}")

    def sample() -> QuestionAnswer | None:
        question, answer = chain_sum_of(_random_terms(random))
        return (question, answer) if split_of(question) == "search" else None

    return _distinct(sample, count)


def chain_sum_of(terms: list[int]) -> QuestionAnswer:
    """Return a sum as a question, and its step-by-step solution.

    A negative term after the first one is subtracted.

    The solution consists of steps that a small model learns quickly:

    1. A list of the terms to add, and a list of the terms to subtract.
    2. Both lists again, each number with five digits, units first. Each number except the first is
       followed by the running total. Each digit of a total depends on two digits at fixed distances
       and on the carry of the digit just written.
    3. The total to subtract, as its complement to 100,000, which is added like any other number.
       If there is a carry out of the highest digit, the result is positive. Otherwise, the
       complement of the result is its absolute value.

    The solution contains no ``=``, because a checker would read reversed digits as a wrong
    equation.

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
    subtracted = [-term for term in terms[1:] if term < 0]
    lists = {"+": added} | ({"-": subtracted} if subtracted else {})
    lines = [" ".join([sign, *map(str, numbers)]) for sign, numbers in lists.items()]
    lines += [_units_first(*_with_totals(numbers)) for numbers in lists.values()]
    total = sum(terms)
    if subtracted:
        complement = -sum(subtracted)
        lines += [_units_first(sum(added), complement, total)]
        lines += [f"{_sign(total)} {_units_first(abs(total))}"]
    return question, "\n".join([*lines, f"The answer is {total}."])


def _with_totals(numbers: list[int]) -> Iterator[int]:
    """Yield the numbers; each number except the first is followed by the running total."""
    total = numbers[0]
    yield total
    for number in numbers[1:]:
        total += number
        yield number
        yield total


def _units_first(*numbers: int) -> str:
    """Format each number as five digits, units first; a negative number as its complement."""
    modulus = 10**_WRITTEN_DIGITS
    return " ".join(f"{number % modulus:0{_WRITTEN_DIGITS}}"[::-1] for number in numbers)


def _sign(term: int) -> str:
    return "-" if term < 0 else "+"


def plain_sums(count: int, seed: int) -> Iterator[str]:
    """Yield ``count`` different sums of two numbers below a hundred, as plain texts.

    The wording is the same as in prompts to models without a chat template.

    Raises
    ------
    UsageError
        Not enough different sums were found.
    """
    random = Random(f"sums/{seed}")

    def sample() -> str:
        a, b = random.randrange(_PLAIN_BELOW), random.randrange(_PLAIN_BELOW)
        return f"Question: {a} + {b}\n\nAnswer: {a + b}"

    return _distinct(sample, count)


def _random_terms(random: Random) -> list[int]:
    digits = random.randint(*_DIGITS)
    low, high = 0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1
    first, *rest = (random.randint(low, high) for _ in range(random.randint(*_TERMS)))
    return [first, *(term if random.random() < 0.5 else -term for term in rest)]


def _distinct(sample: Callable[[], _T | None], count: int) -> Iterator[_T]:
    """Call ``sample`` repeatedly, and yield ``count`` different results; None is skipped."""
    seen: set[_T] = set()
    repeats = 0
    while len(seen) < count:
        value = sample()
        repeats += 1
        if value is not None and value not in seen:
            seen.add(value)
            repeats = 0
            yield value
        if repeats > _MAX_REPEATS:
            raise UsageError(
                f"the rule has only about {len(seen)} different texts, not {count}; reduce 'items'"
            )
