"""Sources of a page's data: runs, finished or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from archon.evals.ablation import ablation_rows
from archon.evals.records import Record
from archon.evals.run import Run

Trace = Mapping[str, Any]
"""Plain data of ``archon.graph.trace.Trace.to_json``."""
Answer = tuple[Record, Trace | None]
"""The record of one item in one epoch, and its trace; None for a failure."""


class RunData(Protocol):
    """The data of a run for its page; ``answers`` may be called more than once."""

    @property
    def description(self) -> Mapping[str, Any]:
        """The description (``archon.evals.run_spec.description``)."""
        ...

    @property
    def report(self) -> Mapping[str, Any]:
        """The result (``Report.to_json``), with ``ablations`` if the run has any."""
        ...

    def answers(self) -> Iterator[Answer]:
        """Yield every finished answer."""
        ...


class StoredRun:
    """A stored run as ``RunData``.

    Raises
    ------
    StorageError, SpecError
        Its journal cannot be read.
    MissingExtraError
        The run has ablations, and scipy is not installed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.description = run.description
        self.report = run.report().to_json() | {"ablations": ablation_rows(run)}

    def answers(self) -> Iterator[Answer]:
        """See ``RunData.answers``."""
        return ((entry.record, entry.trace) for entry in self._run.entries())
