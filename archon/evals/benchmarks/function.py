"""Benchmarks made in Python: rows from a program, and if it likes a scorer of its own.

::

    def sums():
        for n in range(200):
            yield {"question": f"What is {n} + {n}?", "answer": 2 * n}

    archon.evaluate(architecture, sums)                   # from a program
    archon eval single path/to/file.py:sums               # from the command line

The rows are dealt 30/30/40 to the three splits in the same fixed shuffle as those of a JSONL file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from archon.errors import SpecError
from archon.evals.benchmarks.items import Item, Split, check_ids, deal, item_from_row
from archon.evals.user_code import (
    folder,
    import_named,
    label,
    names_code,
    telling,
)
from archon.spec.benchmark import BenchmarkBase, PythonCard
from archon.spec.messages import shown
from archon.spec.validation import parse
from archon.types import AnswerKind

MAX_ROWS = 1_000_000
"""A program that gives more is taken for one that never ends."""

Row = Mapping[str, Any]
ScoreFunction = Callable[[str, str], float]
"""(text of the answer, target as the row has it) → score. Only exactly 1 is a right answer."""


@dataclass(frozen=True)
class PythonBenchmark:
    """A benchmark made in Python.

    Parameters
    ----------
    rows
        Mappings with a question and its answer, or a function that gives them.
    name
        The benchmark's name in reports; by default that of the function.
    answer
        The kind of answer wanted.
    score
        A scorer's registered name, or a function of an answer's text and the row's target that
        gives a number from 0 to 1, of which only 1 is right.
    examples
        Exemplar pool of few-shot prompts, by name, or by its path from the folder of the function's
        file; by default the arithmetic pool.
    answer_after, fields
        As in a benchmark card.
    """

    rows: Iterable[Row] | Callable[[], Iterable[Row]]
    name: str | None = None
    description: str = ""
    answer: AnswerKind = "number"
    score: str | ScoreFunction = "number-exact"
    examples: str | None = None
    answer_after: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


PythonReference = str | Callable[[], Iterable[Row] | PythonBenchmark] | PythonBenchmark
"""``file.py:function``, ``package.module:function``, a function, or a benchmark made in Python."""


@dataclass(frozen=True)
class LoadedPython:
    """A benchmark made in Python in the form of a card, and its rows."""

    spec: PythonCard
    file: str
    """What it is called in errors."""
    base_dir: Path
    """Where the path of its exemplar pool starts."""
    rows: list[Row]
    score: ScoreFunction | None
    """The user's own scorer, if there is one."""


def is_python(ref: object) -> TypeGuard[PythonReference]:
    """Whether a reference to a benchmark is to one made in Python."""
    return isinstance(ref, PythonBenchmark) or callable(ref) or names_code(ref)


def load_python(ref: PythonReference) -> LoadedPython:
    """A benchmark made in Python, its function called and its rows at hand.

    Raises
    ------
    SpecError
        The code cannot be imported or fails (names its file and line), or what it gives is no
        benchmark.
    """
    source = import_named(ref) if isinstance(ref, str) else ref
    code = source.rows if isinstance(source, PythonBenchmark) else source
    file, name = "a Python benchmark", "python"
    if isinstance(ref, str) or callable(code):
        file = ref if isinstance(ref, str) else label(code)
        name = re.split("[:.]", file)[-1]
    made = source if isinstance(source, PythonBenchmark) else _made(source, file)
    rows = made.rows
    if callable(rows):
        with telling(file):
            rows = rows()
    card = _card(replace(made, name=made.name or name), file)
    own = made.score if callable(made.score) else None
    base_dir = folder(code) if callable(code) else Path.cwd()
    return LoadedPython(card, file, base_dir, _listed(rows, file), own)


def _made(source: Any, file: str) -> PythonBenchmark:
    """What a function gives, or the rows that stand under a name, as a benchmark."""
    if callable(source):
        with telling(file):
            source = source()
    return source if isinstance(source, PythonBenchmark) else PythonBenchmark(source)


def _listed(rows: Any, file: str) -> list[Row]:
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise SpecError(f"gives {shown(rows)}, where rows are wanted", file=file)
    with telling(file):
        listed = list(islice(rows, MAX_ROWS + 1))
    if len(listed) > MAX_ROWS:
        raise SpecError(f"gives more than {MAX_ROWS:,} rows; does it ever end?", file=file)
    return listed


def _card(made: PythonBenchmark, file: str) -> PythonCard:
    data = {
        "version": 1,
        "name": made.name,
        "description": made.description,
        "source": {"python": file},
        "fields": dict(made.fields),
        "answer_after": made.answer_after,
        "answer": made.answer,
        "score": label(made.score) if callable(made.score) else made.score,
        "examples": made.examples,
    }
    return parse(PythonCard, data, file)


def load(
    rows: Sequence[Row], card: BenchmarkBase, file: str, *, canonical_targets: bool = True
) -> dict[Split, list[Item]]:
    """The items of rows, dealt 30/30/40 to the three splits.

    Raises
    ------
    SpecError
        There are no rows, or one of them is wrong; names its number, from 1.
    """
    items = []
    for number, row in enumerate(rows, start=1):
        place = f"{file}: row {number}"
        if not isinstance(row, Mapping):
            raise SpecError(f"is {shown(row)}, not a mapping", file=place)
        item = item_from_row(row, card, f"row-{number}", place, canonical_target=canonical_targets)
        items.append(item)
    if not items:
        raise SpecError("gives no rows", file=file)
    check_ids(items, file)
    return deal(items)
