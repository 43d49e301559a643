"""The interface of a run that a page can show, and its implementation for stored runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from archon.evals.ablation import ablation_rows
from archon.evals.records import Record
from archon.evals.run import Run

Trace = Mapping[str, Any]
"""A trace as plain data (``archon.graph.trace.Trace.to_json``)."""
Answer = tuple[Record, Trace | None]
"""(the record of an item in one epoch, its trace); the trace of a failure is None."""


class RunData(Protocol):
    """The data that a page needs from a run, finished or not."""

    @property
    def description(self) -> Mapping[str, Any]:
        """The description of the run (``archon.evals.run_spec.description``)."""
        ...

    @property
    def report(self) -> Mapping[str, Any]:
        """The report (``Report.to_json``), with ablation rows under the ``ablations`` key."""
        ...

    def answers(self) -> Iterator[Answer]:
        """Yield every answer and failure. This is called more than once."""
        ...


class StoredRun:
    """``RunData`` for a run that is stored in a folder.

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
