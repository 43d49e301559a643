"""Generate items with the ``reasoning-gym`` library.

In this library, item i of a generator has the seed ``seed + i``, so generators with close seeds
share most of their items. Here, each task of a card has a separate range of seeds, and a digest of
the question determines the split of an item. The splits are therefore disjoint, and each can be
generated separately.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from archon.answers import read_target
from archon.errors import SpecError, require
from archon.evals.benchmarks.items import SPLITS, Item, Split
from archon.spec.benchmark import MAX_TASKS, GymData, GymTask
from archon.spec.messages import json_path, shown, suggestion

STREAM_ITEMS = 100_000
"""Number of items generated for one task, for all splits together and including duplicates."""


def load(source: GymData, split: Split, limit: int | None, file: str | None = None) -> list[Item]:
    """Generate the first ``limit`` items of a split.

    Each task provides a share of the items in proportion to its weight. The order is fixed.

    Parameters
    ----------
    file
        The name of the card's file, for errors.

    Raises
    ------
    SpecError
        A task rejects its parameters, or has too few distinct questions.
    MissingExtraError
        The ``reasoning-gym`` library is not installed.
    """
    seen: set[str] = set()
    streams = [
        _Task(source, position, file).items(split, seen) for position in range(len(source.tasks))
    ]
    return [next(streams[position]) for position in _mix(source, split)[:limit]]


def _mix(source: GymData, split: Split) -> list[int]:
    """Return the task index of each item, in a fixed random order with shares by weight."""
    total = sum(task.weight for task in source.tasks)
    ideal = [source.items_per_split * task.weight / total for task in source.tasks]
    counts = [int(share) for share in ideal]
    by_remainder = sorted(range(len(ideal)), key=lambda task: counts[task] - ideal[task])
    for task in by_remainder[: source.items_per_split - sum(counts)]:
        counts[task] += 1
    order = [task for task, count in enumerate(counts) for _ in range(count)]
    random.Random(f"{source.seed} {split}").shuffle(order)
    return order


def split_of(question: str) -> Split:
    """Return the split of a question; it depends only on the question's text."""
    digest = hashlib.sha256(question.encode()).digest()
    return SPLITS[int.from_bytes(digest[:8], "big") % len(SPLITS)]


@dataclass(frozen=True)
class _Task:
    """One task of a card, and the generator of its items."""

    source: GymData
    position: int
    file: str | None

    def items(self, split: Split, seen: set[str]) -> Iterator[Item]:
        """Yield the items of a split whose questions are not in ``seen``."""
        name = self._spec.task
        # No two tasks of a card, and no two cards with different seeds, share an item's seed.
        first = (self.source.seed * MAX_TASKS + self.position) * STREAM_ITEMS
        rows = self._rows(first)
        for index in range(STREAM_ITEMS):
            row = rows[index]
            question = row["question"].strip()
            if question in seen or split_of(question) != split:
                continue
            seen.add(question)
            target = read_target(row["answer"], "number")
            assert target is not None, f"the answer of {name} is not a number: {row['answer']!r}"
            yield Item(f"{name}-{first + index}", question, target, {"task": name})
        count = self.source.items_per_split
        raise self._error(f"too few distinct questions for {count} items in each split")

    @property
    def _spec(self) -> GymTask:
        return self.source.tasks[self.position]

    def _rows(self, seed: int) -> Any:
        """Return the library's data set for this task; its row i has the seed ``seed + i``."""
        task = self._spec
        gym = require("reasoning_gym", "evals")
        _, config = require("reasoning_gym.factory", "evals").DATASETS[task.task]
        valid = {field.name for field in dataclasses.fields(config)} - {"seed", "size"}
        for name in task.params:
            if name not in valid:
                hint = suggestion(name, sorted(valid))
                reason = f"{task.task} has no parameter {shown(name)}{hint}"
                raise self._error(reason, "params", name)
        try:
            return gym.create_dataset(task.task, seed=seed, size=STREAM_ITEMS, **task.params)
        except (AssertionError, TypeError, ValueError) as error:
            raise self._error(f"{task.task} rejects the parameters: {error}", "params") from None

    def _error(self, reason: str, *parts: str) -> SpecError:
        path = json_path(["source", "reasoning_gym", "tasks", self.position, *parts])
        return SpecError(reason, file=self.file, path=path)
