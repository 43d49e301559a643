"""Load items from a JSON Lines file, which contains one JSON object per line."""

from __future__ import annotations

from pathlib import Path

from archon.errors import SpecError
from archon.evals.benchmarks.items import Item, Split, check_ids, divide, item_from_row
from archon.spec.benchmark import BenchmarkBase
from archon.spec.json_lines import read_rows


def load(
    path: Path, card: BenchmarkBase, *, canonical_targets: bool = True
) -> dict[Split, list[Item]]:
    """Load the items of a file, and divide them 30/30/40 between *search*, *select* and *test*.

    Raises
    ------
    SpecError
        The file cannot be read, or a line is invalid; the error names the file and the line.
    """
    items = [
        item_from_row(
            row, card, f"line-{line}", f"{path}:{line}", canonical_target=canonical_targets
        )
        for line, row in read_rows(path)
    ]
    if not items:
        raise SpecError("the file has no items", file=str(path))
    check_ids(items, str(path))
    return divide(items)
