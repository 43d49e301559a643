"""A benchmark card in, the items of one split out."""

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
    """The first ``limit`` items of a split, in the order that is the same for every limit.

    Parameters
    ----------
    base_dir
        The card's folder, where its relative paths start.
    data_path
        A JSONL file whose items stand in for those of the card's own source.
    rows
        Those of a benchmark made in Python.
    canonical_targets
        Whether targets are canonical values, or what the rows have.

    Raises
    ------
    UsageError
        There is no such split, or the limit is less than 1.
    SpecError
        The source cannot be read, says something wrong, or has no item for the split.
    MissingExtraError
        The source needs a package that is not installed.
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {shown(split)}{suggestion(split, SPLITS)}")
    if limit is not None and limit < 1:
        raise UsageError(f"a limit must be at least 1, not {limit}")
    chosen: Split = next(name for name in SPLITS if name == split)
    if data_path is not None:
        items = jsonl.load(data_path, card, canonical_targets=canonical_targets)[chosen]
    elif isinstance(card, BenchmarkCard):
        items = _from_source(card, base_dir, chosen, limit)
    else:
        assert isinstance(card, PythonCard), "there are cards of files and of programs"
        name = card.source.python
        items = function.load(rows, card, name, canonical_targets=canonical_targets)[chosen]
    if not items:
        where = str(data_path) if data_path else f"benchmark {card.name!r}"
        raise SpecError(f"the split {split!r} has no items; there are too few", file=where)
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
    assert source.jsonl is not None, "the card's validator asks for one source"
    return jsonl.load(base_dir / source.jsonl, card)[split]
