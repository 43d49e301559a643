"""Load one split of a benchmark, from any type of source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon.errors import SpecError, UsageError
from archon.evals.benchmarks import function, jsonl
from archon.evals.benchmarks.items import SPLITS, Item, Split
from archon.spec.benchmark import BenchmarkBase, BenchmarkCard, PythonCard
from archon.spec.messages import shown, suggestion


def load_items(
    card: BenchmarkBase,
    base_dir: Path,
    split: str = "select",
    limit: int | None = None,
    data_path: Path | None = None,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    canonical_targets: bool = True,
) -> list[Item]:
    """Load the first ``limit`` items of a split.

    The order of a split's items is fixed, so a smaller limit returns a prefix of the same list.

    Parameters
    ----------
    base_dir
        The card's folder, to which its paths are relative.
    data_path
        A JSONL file that replaces the card's source.
    rows
        The rows of a Python benchmark.
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
    if split not in SPLITS:
        raise UsageError(f"unknown split {shown(split)}{suggestion(split, SPLITS)}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit must be at least 1, not {limit}")
    chosen: Split = next(name for name in SPLITS if name == split)
    if data_path is not None:
        items = jsonl.load(data_path, card, canonical_targets=canonical_targets)[chosen]
    elif isinstance(card, BenchmarkCard):
        items = _from_source(card, base_dir, chosen, limit)
    else:
        assert isinstance(card, PythonCard), "cards come from files or from Python"
        name = card.source.python
        items = function.load(rows, card, name, canonical_targets=canonical_targets)[chosen]
    if not items:
        where = str(data_path) if data_path else f"benchmark {card.name!r}"
        raise SpecError(f"the split {split!r} has no items; add rows to the data", file=where)
    return items[:limit]


def _from_source(
    card: BenchmarkCard, base_dir: Path, split: Split, limit: int | None
) -> list[Item]:
    from archon.evals.benchmarks import huggingface, reasoning_gym

    source = card.source
    if source.reasoning_gym is not None:
        return reasoning_gym.load(source.reasoning_gym, split, limit, card.name)
    if source.huggingface is not None:
        return huggingface.load(source.huggingface, card, split)
    assert source.jsonl is not None, "a card has exactly one source"
    return jsonl.load(base_dir / source.jsonl, card)[split]
