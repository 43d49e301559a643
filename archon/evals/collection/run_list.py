"""The rows of all runs in a folder, which are read again only if their files have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archon.errors import ArchonError
from archon.evals.collection.find_runs import find_runs, runs_of_comparison
from archon.evals.collection.item_marks import ItemKey, item_means
from archon.evals.collection.run_row import RunRow, Signature, run_row, signature
from archon.storage.lock import is_locked


@dataclass
class RunList:
    """The runs, comparisons and studies of a folder.

    Parameters
    ----------
    study_file
        Name of the file that marks the folder of a study.
    study_row
        Returns the row of a study as plain data, with at least its ``path``.
    """

    folder: Path
    study_file: str
    study_row: Callable[[Path], dict[str, Any]]
    _rows: dict[Path, tuple[Signature, RunRow]] = field(default_factory=dict)
    _means: dict[Path, tuple[Signature, dict[ItemKey, float]]] = field(default_factory=dict)

    def read(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of ``runs``, ``comparisons`` and ``studies`` as plain data.

        Raises
        ------
        UsageError
            The folder cannot be read.
        """
        found = find_runs(self.folder, study_file=self.study_file)
        comparison_of = {
            run: str(path) for path in found.comparisons for run in runs_of_comparison(path)
        }
        return {
            "runs": [
                {**self._row(path).to_json(), "comparison": comparison_of.get(path)}
                for path in found.runs
            ],
            "comparisons": [
                {"path": str(path), "runs": [str(run) for run in runs_of_comparison(path)]}
                for path in found.comparisons
            ],
            "studies": [self.study_row(path) for path in found.studies],
        }

    def _row(self, path: Path) -> RunRow:
        known = self._rows.get(path)
        current = signature(path)
        if known is None or known[0] != current or known[1].state == "running" or is_locked(path):
            self._rows[path] = (current, run_row(path))
        return self._rows[path][1]

    def item_means(self, path: Path) -> dict[ItemKey, float]:
        """Return item → share of right answers of a run; empty if the run cannot be read."""
        known = self._means.get(path)
        current = signature(path)
        if known is None or known[0] != current:
            try:
                means = item_means(path)
            except ArchonError:
                means = {}
            self._means[path] = (current, means)
        return self._means[path][1]
