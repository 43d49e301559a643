"""Items from JSON Lines: a file of JSON objects, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.errors import SpecError
from archon.evals.benchmarks.items import Item, Split, check_ids, deal, item_from_row
from archon.spec.benchmark import BenchmarkBase
from archon.spec.messages import shown
from archon.spec.strict_json import MAX_BYTES, decode_json


def load(
    path: Path, card: BenchmarkBase, *, canonical_targets: bool = True
) -> dict[Split, list[Item]]:
    """The items of a file, dealt 30/30/40 to the three splits.

    Raises
    ------
    SpecError : the file cannot be read or a line of it is wrong; names the file and the line.
    """
    items = [
        item_from_row(
            row, card, f"line-{line}", f"{path}:{line}", canonical_target=canonical_targets
        )
        for line, row in read_rows(path)
    ]
    if not items:
        raise SpecError("the file holds no items", file=str(path))
    check_ids(items, str(path))
    return deal(items)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with the numbers of their lines; blank lines are skipped.

    Raises
    ------
    SpecError : the file cannot be read, or a line is not one strict JSON object.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_BYTES + 1):
                number += 1
                if line.strip():
                    yield number, _row(line, f"{path}:{number}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"cannot be read: {reason}", file=str(path)) from None


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = decode_json(line.strip())
    except SpecError as error:
        # The decoder takes the line for a whole file.
        reason = error.reason.replace("line 1 column", "column").replace("the file", "the line")
        raise SpecError(reason, file=place, path=error.path) from None
    if not isinstance(row, dict):
        raise SpecError(
            f"holds {shown(row)}; JSON Lines has one object like {{…}} on each line", file=place
        )
    return row
