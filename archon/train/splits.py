"""Hold out data, and yield the remaining data in random order and in batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


def hold_out(
    items: Sequence[_T], count: int, seed: int, question: Callable[[_T], Hashable]
) -> tuple[list[_T], list[_T]]:
    """Split items at random into training items and ``count`` held-out items.

    Training items with the same ``question`` as a held-out item are dropped. A model trained on
    them could otherwise answer the held-out item from memory.

    >>> learned, held_out = hold_out("aabbcc", 1, 0, lambda letter: letter)
    >>> len(learned), len(held_out), set(learned) & set(held_out)
    (4, 1, set())
    """
    order = list(items)
    Random(f"held out/{seed}").shuffle(order)
    held_out = order[:count]
    known = {question(item) for item in held_out}
    return [item for item in order[count:] if question(item) not in known], held_out


def rounds(items: Sequence[_T], seed: str) -> Iterator[list[_T]]:
    """Yield lists of all items endlessly, each in a new random order."""
    random = Random(seed)
    while True:
        yield random.sample(items, len(items))


def batches(items: Sequence[_T], size: int, seed: str, num_skipped: int = 0) -> Iterator[list[_T]]:
    """Yield batches of ``size`` items endlessly, starting after ``num_skipped`` batches.

    The items are taken from ``rounds`` in order, so a batch may contain items from two rounds.
    """
    stream = islice(chain.from_iterable(rounds(items, seed)), num_skipped * size, None)
    while True:
        yield list(islice(stream, size))


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield the items in order, ``size`` at a time; the last chunk may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
