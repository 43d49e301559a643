"""Load one split of a benchmark, from any type of source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from archon.errors import SpecError, UsageError
from archon.evals.benchmarks.items import (
    SPLITS,
    Item,
    Split,
    SplitChoice,
    check_ids,
    divide,
    least_questions,
)
from archon.evals.benchmarks.rows import items_from_rows
from archon.evals.benchmarks.tables import Row, read_table
from archon.spec.benchmark import BenchmarkBase, BenchmarkCard
from archon.spec.messages import shown, suggestion


def load_items(
    card: BenchmarkBase,
    base_dir: Path,
    split: str = "select",
    limit: int | None = None,
    data_path: Path | None = None,
    *,
    rows: Sequence[Row] | None = None,
    canonical_targets: bool = True,
) -> list[Item]:
    """Load the first ``limit`` items of a split.

    The order of a split's items is fixed, so a smaller limit returns a prefix of the same list.

    Parameters
    ----------
    base_dir
        The card's folder, to which its paths are relative.
    split
        One of ``SPLITS``, or ``all`` for all items. Those of a file are then in its order.
    data_path
        A file that replaces the card's source.
    rows
        Rows that replace the card's source and are not divided in the hub; ``data_path`` is then
        only their name.
    canonical_targets
        Whether to convert targets to canonical values. If False, the text in the rows is kept.

    Raises
    ------
    UsageError
        The split is unknown, or the limit is less than 1.
    SpecError
        The source cannot be read, is invalid, or contains no items for the split.
    MissingExtraError
        The source needs a package that is not installed.
    """
    choices = get_args(SplitChoice)
    if split not in choices:
        raise UsageError(f"unknown split {shown(split)}{suggestion(split, choices)}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit must be at least 1, not {limit}")
    chosen: SplitChoice = next(name for name in choices if name == split)
    file = str(data_path) if data_path is not None else f"benchmark {card.name!r}"
    if rows is None and data_path is not None:
        rows = read_table(data_path)
    if rows is None and isinstance(card, BenchmarkCard) and card.source.path is not None:
        path = base_dir / card.source.path
        file, rows = str(path), read_table(path, is_json_lines=card.source.jsonl is not None)
    if rows is not None:
        items = table_items(rows, card, file, canonical_targets=canonical_targets)
        return _of_split(items, chosen, file)[:limit]
    assert isinstance(card, BenchmarkCard), "a benchmark in Python has rows"
    items = _from_source(card, chosen, limit)
    if not items:
        raise SpecError(f"the split {split!r} has no items; add rows to the data", file=file)
    return items[:limit]


def table_items(
    rows: Sequence[Row], card: BenchmarkBase, file: str, *, canonical_targets: bool = True
) -> list[Item]:
    """Convert the rows of a table to items, and check their ids.

    Raises
    ------
    SpecError
        A row is invalid, or two items have the same id.
    """
    items = items_from_rows(rows, card, canonical_targets=canonical_targets)
    check_ids(items, file)
    return items


def _of_split(items: list[Item], split: SplitChoice, file: str) -> list[Item]:
    if split == "all":
        return items
    chosen = divide(items)[split]
    if not chosen:
        number = len({item.question for item in items})
        questions = f"{number} distinct question{'' if number == 1 else 's'}"
        reason = f"the split {split!r} has no items, because the data has only {questions}"
        cure = f"at least {least_questions()} are needed; add rows, or use all: --split all"
        raise SpecError(f"{reason}; {cure}", file=file)
    return chosen


def _from_source(card: BenchmarkCard, split: SplitChoice, limit: int | None) -> list[Item]:
    if split == "all":
        by_split = {name: _split_of_source(card, name, limit) for name in SPLITS}
        items = [item for name in SPLITS for item in by_split[name]]
        check_ids(items, f"benchmark {card.name!r}")
        return items
    return _split_of_source(card, split, limit)


def _split_of_source(card: BenchmarkCard, split: Split, limit: int | None) -> list[Item]:
    from archon.evals.benchmarks import huggingface, reasoning_gym

    source = card.source
    if source.reasoning_gym is not None:
        return reasoning_gym.load(source.reasoning_gym, split, limit, card.name)
    assert source.huggingface is not None, "a card has exactly one source"
    return huggingface.load(source.huggingface, card, split)
