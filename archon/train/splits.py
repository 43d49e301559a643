"""Held-out data, and the random order and batches of the data to learn from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


def hold_out(
    items: Sequence[_T], count: int, seed: int, question: Callable[[_T], Hashable]
) -> tuple[list[_T], list[_T]]:
    """Split items at random into those to learn from and ``count`` held-out ones.

    Other items with the same ``question`` as a held-out item are dropped, since a model that has
    learned them could answer the held-out item from memory.

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
    """Yield lists of all items without end, each in a new random order."""
    random = Random(seed)
    while True:
        yield random.sample(items, len(items))


def batches(items: Sequence[_T], size: int, seed: str, num_skipped: int = 0) -> Iterator[list[_T]]:
    """Yield batches of ``size`` items without end, after the first ``num_skipped`` batches.

    The items are those of ``rounds`` in their order, so a batch may contain items of two rounds.
    """
    stream = islice(chain.from_iterable(rounds(items, seed)), num_skipped * size, None)
    while True:
        yield list(islice(stream, size))


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield the items in their order, ``size`` at a time; the last chunk may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
