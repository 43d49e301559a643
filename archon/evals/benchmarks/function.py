"""Benchmarks in Python: rows from a function, and optionally a custom scorer.

::

    def sums():
        for n in range(200):
            yield {"question": f"What is {n} + {n}?", "answer": 2 * n}

    archon.evaluate(architecture, sums)                   # from a program
    archon eval single path/to/file.py:sums               # from the command line

The rows are shuffled in the same way as a JSONL file. Then 30%, 30% and 40% of them go to the
*search*, *select* and *test* splits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from archon.errors import SpecError
from archon.evals.benchmarks.tables import Row, numbered
from archon.evals.user_code import folder, import_named, label, names_code, user_errors
from archon.plugins import lookup
from archon.spec import catalog
from archon.spec.benchmark import PythonCard
from archon.spec.messages import shown
from archon.spec.validation import parse
from archon.types import AnswerKind

MAX_ROWS = 1_000_000
"""Maximum number of rows. A function that yields more rows is assumed never to stop."""

ScoreFunction = Callable[[str, str], float]
"""(answer text, target in the row) → score from 0 to 1. Only an answer that scores 1 is right."""


@dataclass(frozen=True)
class PythonBenchmark:
    """A benchmark that is defined in Python.

    Parameters
    ----------
    rows
        Mappings with a question and its answer, or a function that returns them.
    name
        The benchmark's name in reports; by default the name of the function.
    answer
        The kind of answer.
    score
        The name of a scorer, or a function of an answer's text and the row's target. The function
        returns a number from 0 to 1; only an answer that scores 1 is right. By default, the usual
        scorer for the kind of answer.
    examples
        The exemplar pool of few-shot prompts: its name, or a path relative to the folder of the
        function's file. By default, the ``arithmetic`` pool.
    answer_after, fields
        The same as in a benchmark card.
    """

    rows: Iterable[Mapping[str, Any]] | Callable[[], Iterable[Mapping[str, Any]]]
    name: str | None = None
    description: str = ""
    answer: AnswerKind = "number"
    score: str | ScoreFunction | None = None
    examples: str | None = None
    answer_after: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


PythonReference = (
    str | Callable[[], Iterable[Mapping[str, Any]] | PythonBenchmark] | PythonBenchmark
)
"""``file.py:function``, ``package.module:function``, a function, or a ``PythonBenchmark``."""


@dataclass(frozen=True)
class LoadedPython:
    """A Python benchmark whose function has been called, so that its card and rows are known."""

    spec: PythonCard
    file: str
    """The benchmark's name in errors, such as ``sums.py:sums``."""
    base_dir: Path
    """The folder to which the path of its exemplar pool is relative."""
    rows: list[Mapping[str, Any]]
    score: ScoreFunction | None
    """The custom scoring function; None if the card names a scorer."""


def is_python(ref: object) -> TypeGuard[PythonReference]:
    """Return whether a benchmark reference names code, rather than a card."""
    if isinstance(ref, PythonBenchmark) or callable(ref) or names_code(ref):
        return True
    return isinstance(ref, str) and _of_plugin(ref) is not None


def _of_plugin(name: str) -> PythonBenchmark | None:
    """Return a plug-in's benchmark; None for a shipped name, a path, or an unknown name."""
    if catalog.is_path(name) or name in catalog.benchmark_names():
        return None
    registration = lookup.find("benchmark", name)
    if registration is None:
        return None
    options = {**registration.declaration.options, "name": name}
    return PythonBenchmark(registration.code, **options)


def load_python(ref: PythonReference) -> LoadedPython:
    """Load a Python benchmark: import its code, call its function, and list its rows.

    Raises
    ------
    SpecError
        The code cannot be imported, fails, or does not return a benchmark. The error names the
        file, and the line of a failure.
    """
    source: Any = ref
    if isinstance(ref, str):
        source = _of_plugin(ref) or import_named(ref)
    code = source.rows if isinstance(source, PythonBenchmark) else source
    file, name = "a Python benchmark", "python"
    if isinstance(ref, str) or callable(code):
        file = ref if isinstance(ref, str) else label(code)
        name = re.split("[:.]", file)[-1]
    made = _call(source, file)
    benchmark = made if isinstance(made, PythonBenchmark) else PythonBenchmark(made)
    rows = _call(benchmark.rows, file)
    card = _card(replace(benchmark, name=benchmark.name or name), file)
    score = benchmark.score if callable(benchmark.score) else None
    base_dir = folder(code) if callable(code) else Path.cwd()
    return LoadedPython(card, file, base_dir, _list_rows(rows, file), score)


def _call(value: Any, file: str) -> Any:
    """Call ``value`` if it is a function, and return the result; otherwise return ``value``."""
    with user_errors(file):
        return value() if callable(value) else value


def _list_rows(rows: Any, file: str) -> list[Mapping[str, Any]]:
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise SpecError(f"must return rows, not {shown(rows)}", file=file)
    with user_errors(file):
        listed = list(islice(rows, MAX_ROWS + 1))
    if len(listed) > MAX_ROWS:
        raise SpecError(f"must return at most {MAX_ROWS:,} rows", file=file)
    return listed


def _card(made: PythonBenchmark, file: str) -> PythonCard:
    same = ("name", "description", "answer_after", "answer", "examples")
    data: dict[str, Any] = {name: getattr(made, name) for name in same} | {
        "version": 1,
        "source": {"python": file},
        "fields": dict(made.fields),
    }
    if made.score is not None:
        data["score"] = label(made.score) if callable(made.score) else made.score
    return parse(PythonCard, data, file)


def rows_of(loaded: LoadedPython) -> list[Row]:
    """Return the rows of a benchmark as a table.

    Raises
    ------
    SpecError
        There are no rows, or a row is not a mapping; the error names its number, from 1.
    """
    if not loaded.rows:
        raise SpecError("returns no rows", file=loaded.file)
    return list(numbered(loaded.rows, loaded.file, "a mapping"))
