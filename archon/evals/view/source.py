"""Where a page's data comes from: a finished run, or what there is of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from archon.errors import UsageError
from archon.evals.folder import REPORT, TRACES, Record, read_records, read_report, read_run
from archon.evals.report import Tally

Trace = dict[str, Any]
"""Plain data of ``archon.graph.trace.Trace.to_json``."""
Entry = tuple[Record, Trace | None]
"""What came of one item in one epoch, and how; without a trace where it failed."""


class RunData(Protocol):
    """What a page tells of a run; ``entries`` may be asked for more than once."""

    @property
    def description(self) -> dict[str, Any]:
        """What was asked for: architecture, models, benchmark, machine."""
        ...

    @property
    def report(self) -> dict[str, Any]:
        """The result, as ``archon.evals.report.Report.to_json`` gives it."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Every finished answer."""
        ...


class FolderRun:
    """A run's folder as ``RunData``; one that was killed before its report gets a partial one.

    Raises
    ------
    UsageError : the folder holds no run.
    SpecError : a record is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.description = read_run(path)
        self.report = read_report(path) if (path / REPORT).exists() else self._partial_report()

    def entries(self) -> Iterator[Entry]:
        """Records with their traces, which stand in the same order in a file of their own."""
        traces = self._traces()
        for record in read_records(self._path):
            trace = None
            if record.error is None:
                key = (record.item, record.epoch)
                trace = next((data for found, data in traces if found == key), None)
            yield record, trace

    def _traces(self) -> Iterator[tuple[tuple[str, int], Trace]]:
        file = self._path / TRACES
        try:
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    if line.endswith("\n"):
                        data = json.loads(line)
                        yield (data["item"], data["epoch"]), data["trace"]
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(f"{file} holds no readable traces: {error}") from None

    def _partial_report(self) -> dict[str, Any]:
        records = read_records(self._path)
        first = next(records, None)
        if first is None:
            raise UsageError(f"{self._path} holds a run of which nothing is finished")
        tally = Tally.of(chain([first], records))
        asked = self.description
        results = tally.results(wall_seconds=0.0)
        return {
            "architecture": asked["architecture"]["name"],
            "benchmark": asked["benchmark"]["name"],
            "scorer": asked["benchmark"].get("score"),
            "models": {role: card and card["name"] for role, card in asked["models"].items()},
            **{key: asked.get(key) for key in ("split", "limit", "epochs", "seed")},
            **results,
            "usage": {"generated_tokens": results["usage"].generated_tokens},
            "run": str(self._path),
            "interrupted": True,
        }
