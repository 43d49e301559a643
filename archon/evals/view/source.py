"""Where a page's data comes from: a run, finished or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from archon.evals.ablation import ablation_rows
from archon.evals.records import Record
from archon.evals.run import Run

Trace = Mapping[str, Any]
"""Plain data of ``archon.graph.trace.Trace.to_json``."""
Answer = tuple[Record, Trace | None]
"""What came of one item in one epoch, and how; without a trace where it failed."""


class RunData(Protocol):
    """What a page tells of a run; ``answers`` may be asked for more than once."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What was asked for (``archon.evals.run_spec.description``)."""
        ...

    @property
    def report(self) -> Mapping[str, Any]:
        """The result (``Report.to_json``), with ``ablations`` where there are some."""
        ...

    def answers(self) -> Iterator[Answer]:
        """Every finished answer."""
        ...


class StoredRun:
    """A run on disk as ``RunData``.

    Raises
    ------
    StorageError, SpecError
        Its journal cannot be read.
    MissingExtraError
        It has ablations, and scipy is not installed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.description = run.description
        self.report = run.report().to_json() | {"ablations": ablation_rows(run)}

    def answers(self) -> Iterator[Answer]:
        """See ``RunData.answers``."""
        return ((entry.record, entry.trace) for entry in self._run.entries())
