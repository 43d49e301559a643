"""Load the items, the scorer and the exemplars of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from archon.errors import SpecError, UsageError, reference_at
from archon.evals.benchmarks import function
from archon.evals.benchmarks.columns import Columns, find_columns, with_columns
from archon.evals.benchmarks.function import LoadedPython
from archon.evals.benchmarks.items import SPLITS, Item, Selection, SplitChoice, split_sizes
from archon.evals.benchmarks.load import load_items, table_items
from archon.evals.benchmarks.own_data import OwnData
from archon.evals.benchmarks.rows import columns_read, field
from archon.evals.benchmarks.tables import Row, read_table
from archon.evals.rounding import percent
from archon.evals.scorers import (
    Scorer,
    ScorerOption,
    chosen_scorers,
    default_scorer,
    need_canonical_targets,
    plain_scorer,
    scorers_given,
    with_scorers,
)
from archon.graph.exemplars import load_pool
from archon.spec.benchmark import BenchmarkBase, BenchmarkCard, ItemSource
from archon.spec.reader import Loaded
from archon.types import Example

LoadedBenchmark = Loaded[BenchmarkCard] | LoadedPython | OwnData


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
    notes: tuple[str, ...] = ()
    """Lines for the user: the columns of own data, the number of its rows in each split, and
    published scores."""


def open_benchmark(
    loaded: LoadedBenchmark,
    *,
    split: str,
    limit: int | None = None,
    data: Path | None = None,
    scorer: ScorerOption = None,
    allow_code_execution: bool = False,
    columns: Columns | None = None,
) -> Benchmark:
    """Load the first ``limit`` items of a split, along with the scorer and the exemplars.

    Parameters
    ----------
    split
        A split, or ``all``.
    data
        A file that replaces the card's source.
    scorer
        One or more scorers that replace the benchmark's (``ScorerOption``). The first decides the
        accuracy.
    allow_code_execution
        Whether programs may run outside of the restricted sandbox.
    columns
        Columns and the kind of answer, which replace the card's. Those of own data are already in
        its card.

    Raises
    ------
    SpecError
        A file is missing or invalid, a column is missing, or the user's code fails.
    UsageError
        The split or the scorer is unknown, the limit is less than 1, or there is other data than
        the benchmark's own.
    MissingExtraError
        The source needs a package that is not installed.
    """
    card, rows, path, notes = _source(loaded, data, columns or Columns())
    if isinstance(loaded, OwnData) and (columns is None or columns.answer is None):
        card, notes = _judged_by(card, scorer, notes)
    custom = loaded.score if isinstance(loaded, LoadedPython) else None
    scorers = chosen_scorers(
        card,
        loaded.file,
        scorer,
        custom,
        base_dir=loaded.base_dir,
        allow_code_execution=allow_code_execution,
    )
    card = with_scorers(card, scorers)
    examples = _examples(card, loaded)
    with _reference_to_file(loaded) if rows is None else nullcontext():
        items = load_items(
            card,
            loaded.base_dir,
            split,
            limit,
            path,
            rows=rows,
            canonical_targets=need_canonical_targets(scorers),
        )
    if rows is not None and (path is not None or isinstance(loaded, OwnData)):
        notes += (_sizes_note(rows, card, split),)
    if card.published and split in ("test", "all") and data is None:
        notes += (_published_note(card),)
    selection = Selection(card, cast(SplitChoice, split), limit, path)
    first, *others = scorers
    return Benchmark(selection, items, first, examples, loaded.base_dir, tuple(others), notes)


def _source(
    loaded: LoadedBenchmark, data: Path | None, columns: Columns
) -> tuple[BenchmarkBase, list[Row] | None, Path | None, tuple[str, ...]]:
    """Return the card, the rows or None if the card's source has them, their file, and notes."""
    card: BenchmarkBase = loaded.spec
    if columns.answer is not None and columns.answer != card.answer:
        score = default_scorer(columns.answer)
        card = card.model_copy(update={"answer": columns.answer, "score": score})
    if isinstance(loaded, OwnData):
        if data is not None:
            raise UsageError(f"{loaded.file} has the items already; leave out --data")
        return card, loaded.rows, loaded.path, (loaded.note,)
    if data is not None:
        table = read_table(data)
        card, notes = _fitted(card, table, columns, str(data))
        return card, table, data, notes
    rows = function.rows_of(loaded) if isinstance(loaded, LoadedPython) else None
    if columns.named:
        shown = rows if rows is not None else _rows_of_card(loaded)
        fields = with_columns(card.fields, columns, shown, loaded.file or card.name)
        card = card.model_copy(update={"fields": fields})
    return card, rows, None, ()


def _judged_by(
    card: BenchmarkBase, option: ScorerOption, notes: tuple[str, ...]
) -> tuple[BenchmarkBase, tuple[str, ...]]:
    """Return own data's card with a kind of answer that the user's scorer judges, and notes.

    Targets that are numbers can also be compared as text, for example.
    """
    names = [given.partition(":")[0] for given in scorers_given(option) if isinstance(given, str)]
    if not names or card.answer not in ("number", "text"):
        return card, notes
    try:
        kinds = plain_scorer(names[0]).type.kinds
    except UsageError:  # an unknown scorer, or one that needs parameters: reported later
        return card, notes
    if card.answer in kinds:
        return card, notes
    note = f"answers: {kinds[0]}, because {names[0]} judges this kind"
    return card.model_copy(update={"answer": kinds[0]}), (*notes, note)


def _fitted(
    card: BenchmarkBase, rows: list[Row], columns: Columns, file: str
) -> tuple[BenchmarkBase, tuple[str, ...]]:
    """Return a card whose fields are columns of a file that replaces its source, and notes.

    The columns are those that the user named, otherwise those of the card; if the file does not
    have these, they are recognized by their names.
    """
    fields = with_columns(card.fields, columns, rows, file)
    notes: tuple[str, ...] = ()
    if not all(any(_has(row, name) for row in rows) for name in columns_read(fields)):
        found = find_columns(rows, replace(columns, answer=card.answer), file)
        fields, notes = found.fields, (found.note,)
    return card.model_copy(update={"fields": fields}), notes


def _has(row: Row, name: str) -> bool:
    try:
        field(row.values, name, row.place)
    except SpecError:
        return False
    return True


def _rows_of_card(loaded: Loaded[BenchmarkCard] | LoadedPython) -> list[Row]:
    """Return rows of a card's source, to find the columns that the user named."""
    source = loaded.spec.source
    if isinstance(source, ItemSource):
        if source.path is not None:
            path = loaded.base_dir / source.path
            return read_table(path, is_json_lines=source.jsonl is not None)
        if source.huggingface is not None:
            from archon.evals.benchmarks import huggingface

            return huggingface.first_rows(source.huggingface, "test")
    raise UsageError(f"the items of {loaded.spec.name!r} are generated; they have no columns")


def _examples(card: BenchmarkBase, loaded: LoadedBenchmark) -> tuple[Example, ...] | None:
    """Load the exemplars that a card names; None if it names none."""
    if card.examples is None:
        return None
    file = loaded.file if isinstance(loaded, Loaded) else None
    with reference_at(file, "$.examples"):
        return load_pool(card.examples, loaded.base_dir)


def _reference_to_file(loaded: LoadedBenchmark) -> AbstractContextManager[None]:
    """Add the place where a card names its file to errors about the file."""
    source = loaded.spec.source
    if not isinstance(source, ItemSource) or source.path is None:
        return nullcontext()
    key = "$.source.file" if source.file is not None else "$.source.jsonl"
    return reference_at(loaded.file, key)


def _published_note(card: BenchmarkBase) -> str:
    """Return a line with the published scores of a benchmark."""
    scores = (
        f"{score.model} {percent(score.score)}%{f' ({score.note})' if score.note else ''}"
        for score in card.published
    )
    return f"published: {', '.join(scores)}"


def _sizes_note(rows: Sequence[Row], card: BenchmarkBase, split: str) -> str:
    """Return a sentence with the number of rows in each split."""
    if split == "all":
        return f"all {len(rows):,} rows are used" if len(rows) > 1 else "the only row is used"
    sizes = split_sizes(table_items(rows, card, card.name, canonical_targets=False))
    counts = ", ".join(f"{sizes[name]:,} to {name}" for name in SPLITS)
    return f"{len(rows):,} rows: {counts}; --split all uses every row"
