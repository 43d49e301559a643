"""The result of every item of a run in a compact form, so that a page can compare runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archon.evals.report import Tally
from archon.evals.run import read_run

ItemKey = tuple[str, str, str]
"""Id, question and target of an item. Items of two runs are paired only if all three are equal."""


def item_means(path: Path) -> dict[ItemKey, float]:
    """Return item → share of right answers in a stored run; failures count as wrong.

    Raises
    ------
    UsageError, SpecError, StorageError
        The run cannot be read.
    """
    keys: dict[str, ItemKey] = {}
    tally = Tally()
    for entry in read_run(path).entries():
        record = entry.record
        keys.setdefault(record.item, (record.item, record.question, record.target))
        tally.right[record.item] += record.is_right
        tally.runs[record.item] += 1
    return {keys[item]: mean for item, mean in tally.item_means.items()}


@dataclass
class ItemMarks:
    """Numbers the items of all runs, so that each run's results become a list by number."""

    numbers: dict[ItemKey, int] = field(default_factory=dict)

    def of(self, means: Mapping[ItemKey, float]) -> str | list[float | None]:
        """Return the results of a run by item number.

        If each result is 0 or 1, this is a text of ``0``, ``1`` and, for items that the run does
        not contain, ``.``. Otherwise it is a list of shares, with None for such items.
        """
        by_number = {self.numbers.setdefault(key, len(self.numbers)): means[key] for key in means}
        size = max(by_number, default=-1) + 1
        shares = [by_number.get(number) for number in range(size)]
        if all(share in (None, 0, 1) for share in shares):
            return "".join("." if share is None else str(int(share)) for share in shares)
        return shares
