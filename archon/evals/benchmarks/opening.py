"""Load the items, the scorer and the exemplars of a benchmark."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from archon.errors import reference_at
from archon.evals.benchmarks.function import LoadedPython
from archon.evals.benchmarks.items import Item, Selection, Split
from archon.evals.benchmarks.load import load_items
from archon.evals.scorers import (
    Scorer,
    ScorerOption,
    chosen_scorers,
    need_canonical_targets,
    with_scorers,
)
from archon.graph.exemplars import load_pool
from archon.spec.benchmark import BenchmarkCard
from archon.spec.reader import Loaded
from archon.types import Example


@dataclass(frozen=True)
class Benchmark:
    """The selected items of a benchmark, with its scorer and exemplars."""

    selection: Selection
    items: list[Item]
    scorer: Scorer
    examples: tuple[Example, ...] | None
    """The exemplars for few-shot prompts; None if the card names no pool."""
    base_dir: Path
    """The folder to which paths in the card are relative."""
    other_scorers: tuple[Scorer, ...] = ()
    """Scorers that add figures to the accuracy, which the first scorer decides."""


def open_benchmark(
    loaded: Loaded[BenchmarkCard] | LoadedPython,
    *,
    split: str,
    limit: int | None = None,
    data: Path | None = None,
    scorer: ScorerOption = None,
    allow_code_execution: bool = False,
) -> Benchmark:
    """Load the first ``limit`` items of a split, along with the scorer and the exemplars.

    Parameters
    ----------
    data
        A JSONL file that replaces the card's source.
    scorer
        One or more scorers that replace the benchmark's (``ScorerOption``). The first decides the
        accuracy.
    allow_code_execution
        Whether programs may run outside of the restricted sandbox.

    Raises
    ------
    SpecError
        A file is missing or invalid, or the user's code fails.
    UsageError
        The split or the scorer is unknown, or the limit is less than 1.
    MissingExtraError
        The source needs a package that is not installed.
    """
    card, rows, custom = loaded.spec, [], None
    if isinstance(loaded, LoadedPython):
        rows, custom = loaded.rows, loaded.score if scorer is None else None
    scorers = chosen_scorers(
        card,
        loaded.file,
        scorer,
        custom,
        base_dir=loaded.base_dir,
        allow_code_execution=allow_code_execution,
    )
    card = with_scorers(card, scorers)
    file = loaded.file if isinstance(loaded, Loaded) else None
    examples = None
    if card.examples is not None:
        with reference_at(file, "$.examples"):
            examples = load_pool(card.examples, loaded.base_dir)
    names_data = data is None and isinstance(card, BenchmarkCard) and card.source.jsonl is not None
    with reference_at(file, "$.source.jsonl") if names_data else nullcontext():
        items = load_items(
            card,
            loaded.base_dir,
            split,
            limit,
            data,
            rows=rows,
            canonical_targets=need_canonical_targets(scorers),
        )
    selection = Selection(card, cast(Split, split), limit, data)
    first, *others = scorers
    return Benchmark(selection, items, first, examples, loaded.base_dir, tuple(others))
