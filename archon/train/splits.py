"""Held-out data, and the order of the data to learn from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


def hold_out(
    items: Sequence[_T], count: int, seed: int, question: Callable[[_T], Hashable]
) -> tuple[list[_T], list[_T]]:
    """Items to learn from, and ``count`` random items that are held out.

    Items with the ``question`` of a held-out item are dropped: duplicates would measure memory.

    >>> learnt, held_out = hold_out("aabbcc", 1, 0, lambda letter: letter)
    >>> len(learnt), len(held_out), set(learnt) & set(held_out)
    (4, 1, set())
    """
    order = list(items)
    Random(f"held out/{seed}").shuffle(order)
    held_out = order[:count]
    known = {question(item) for item in held_out}
    return [item for item in order[count:] if question(item) not in known], held_out


def rounds(items: Sequence[_T], seed: str) -> Iterator[list[_T]]:
    """All items again and again, each round in a new order."""
    random = Random(seed)
    while True:
        yield random.sample(items, len(items))
