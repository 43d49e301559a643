"""One run as a row of a list: what was asked, how far it is, and its result.

A run has thousands of prompts and completions, so a list must not read its journal. The row of a
finished run comes from ``report.json``. The journal is read only where the report cannot be
trusted: it is missing or damaged, or it does not cover all answers of the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from archon.errors import ArchonError
from archon.evals.folder import JOURNAL, REPORT, RUN, RunFolder
from archon.evals.report import Tally
from archon.evals.run import Run, read_run
from archon.evals.run_spec import headings
from archon.storage.lock import is_locked

State = Literal["finished", "interrupted", "running", "damaged"]
"""``running``: a process is writing the run. ``damaged``: its files cannot be read."""
Signature = tuple[tuple[int, int] | None, ...]
_FIGURES = (
    "num_items",
    "num_runs",
    "num_errors",
    "accuracy",
    "accuracy_interval",
    "mean_score",
    "mean_score_interval",
    "cost_tokens",
    "total_cost_tokens",
    "seconds",
)
"""Columns of the report that a row has."""


@dataclass(frozen=True)
class RunRow:
    """One run in a list. The figures are None for a run without answers."""

    path: str
    state: State
    reason: str | None = None
    """Why the run is damaged."""
    num_asked: int | None = None
    """Number of answers in the complete run: items times epochs."""
    num_runs: int = 0
    """Number of answers and failures so far."""
    num_items: int = 0
    num_errors: int = 0
    architecture: str | None = None
    models: Mapping[str, str | None] | None = None
    benchmark: str | None = None
    split: str | None = None
    scorer: str | None = None
    limit: int | None = None
    epochs: int | None = None
    seed: int | None = None
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    mean_score: float | None = None
    mean_score_interval: tuple[float, float] | None = None
    cost_tokens: float | None = None
    total_cost_tokens: int | None = None
    seconds: float | None = None
    start_time: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def run_row(path: Path) -> RunRow:
    """Return the row of the run in a folder; an unreadable run is ``damaged``."""
    try:
        run = read_run(path)
        figures = _reported(run)
        is_running = is_locked(path)
        if figures is None:
            tally = Tally.of(entry.record for entry in run.entries())
            figures = {name: tally.value(name) for name in _FIGURES}
    except ArchonError as error:
        return RunRow(str(path), "damaged", str(error))
    is_finished = figures["num_runs"] >= run.num_runs
    known = headings(run.description)
    known.pop("answer")
    start = run.description.get("start_time")
    return RunRow(
        str(path),
        "running" if is_running else "finished" if is_finished else "interrupted",
        num_asked=run.num_runs,
        start_time=start if isinstance(start, str) else None,
        **known,
        **figures,
    )


def signature(path: Path) -> Signature:
    """Return the sizes and times of a run's files, which change whenever the run does."""
    return tuple(_stat(path / name) for name in (RUN, JOURNAL, REPORT))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _reported(run: Run) -> dict[str, Any] | None:
    """Return the figures of ``report.json`` if they are those of the complete run, else None.

    A failed item may be asked again later, so a report with failures must also be younger than the
    journal. A report without failures stays right, whatever the times of copied files are.
    """
    try:
        report = json.loads((run.path / REPORT).read_text(encoding="utf-8"))
        figures = {name: report[name] for name in _FIGURES}
        same = headings(run.description)
        is_of_run = all(report[name] == same[name] for name in ("benchmark", "split", "seed"))
        is_complete = figures["num_runs"] == run.num_runs and not report["interrupted"]
        has_errors = figures["num_errors"] > 0
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (is_of_run and is_complete):
        return None
    if has_errors and not _is_younger(run.path / REPORT, RunFolder(run.path).journal):
        return None
    return figures


def _is_younger(report: Path, journal: Path) -> bool:
    times = _stat(report), _stat(journal)
    return times[0] is not None and times[1] is not None and times[0][0] >= times[1][0]
