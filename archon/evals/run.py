"""Read stored runs, finished or not: the description, every answer, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import SpecError, UsageError, require
from archon.evals.contamination import training_warnings
from archon.evals.folder import ABLATIONS, RUN, RunFolder
from archon.evals.journal import Entry, read_entries
from archon.evals.records import Record
from archon.evals.report import Report, Tally
from archon.evals.run_spec import fault, headings

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Run:
    """A run that is stored in a folder.

    ::

        run = archon.read_run("runs/20260102-120000-single")
        wrong = [record for record in run.records() if not record.is_right]
        print(run.report().accuracy, len(wrong))
    """

    path: Path
    description: dict[str, Any]
    """The contents of ``run.json``: architecture, benchmark, items and machine."""

    def entries(self) -> Iterator[Entry]:
        """Yield every answer and failure with its trace, in the order in which they finished.

        Raises
        ------
        StorageError
            The journal cannot be read.
        SpecError
            The journal has an unknown version.
        """
        journal = RunFolder(self.path).journal
        if not journal.exists():  # stopped before the first answer
            return
        try:
            yield from read_entries(journal)
        except ValueError as error:
            raise SpecError(str(error), file=str(journal)) from None

    def sorted_entries(self) -> list[Entry]:
        """Return the entries, sorted by item and epoch."""
        return sorted(self.entries(), key=lambda entry: (entry.record.item, entry.record.epoch))

    def records(self) -> list[Record]:
        """Return the records, sorted by item and epoch."""
        return [entry.record for entry in self.sorted_entries()]

    def report(self, by: Sequence[str] | None = None) -> Report:
        """Compute the report from the answers in the journal.

        Parameters
        ----------
        by
            Columns of the rows by which the results are grouped; None for those that the run was
            started with.
        """
        tally = Tally(by=self.by if by is None else by)
        seconds: dict[int, float] = {}
        joules: dict[int, float | None] = {}
        for entry in self.entries():
            tally.add(entry.record)
            session, energy = entry.session, entry.session_joules
            seconds[session] = max(entry.session_seconds, seconds.get(session, 0.0))
            before = joules.get(session, 0.0)
            joules[session] = None if None in (energy, before) else max(energy or 0, before or 0)
        known = [energy for energy in joules.values() if energy is not None]
        is_measured = len(known) == len(joules) > 0
        results = tally.results(sum(seconds.values()), sum(known) if is_measured else None)
        trained = training_warnings(self.description["specification"])
        return Report(
            **headings(self.description),
            run=str(self.path),
            interrupted=tally.num_runs < self.num_runs,
            **(results | {"warnings": [*trained, *results["warnings"]]}),
        )

    @property
    def by(self) -> tuple[str, ...]:
        """Columns of the rows by which the report groups the results."""
        return tuple(self.description.get("by", ()))

    @property
    def num_runs(self) -> int:
        """Number of answers in the complete run: items times epochs."""
        return int(self.description["items"]["count"] * self.description["epochs"])

    def to_pandas(self) -> DataFrame:
        """Return the records as a pandas data frame, sorted by item and epoch.

        The columns are those of ``archon export --format csv``: the fields of ``Record``, with one
        column for each figure in ``usage``, each metric and each column of the benchmark's rows
        (``metadata.NAME``).

        Raises
        ------
        MissingExtraError
            Pandas is not installed (``datasets`` brings it, of the extra ``evals``).
        """
        from archon.evals.export import flat_row

        pandas = require("pandas", "evals")
        return pandas.DataFrame([flat_row(record) for record in self.records()])

    def __repr__(self) -> str:
        specification, items = self.description["specification"], self.description["items"]
        name, benchmark = specification["architecture"]["name"], specification["benchmark"]["name"]
        return (
            f"<Run of {name} on {items['count']} items of {benchmark} ({items['split']}): "
            f"{self.path}>"
        )

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the report so far, and the folder."""
        return self.report()._repr_html_()

    def ablations(self) -> dict[str, Run]:
        """Return node → the run that bypasses it. Empty unless the run used ``--ablate``."""
        nodes = self.description["specification"]["architecture"]["nodes"]
        folders = {node: self.path / ABLATIONS / node for node in nodes}
        return {node: read_run(path) for node, path in folders.items() if RunFolder(path).holds_run}


def read_run(path: Path | str) -> Run:
    """Open the run in a folder, finished or not.

    Raises
    ------
    UsageError
        The folder does not contain a run, or its ``run.json`` is damaged.
    """
    path = Path(path)
    description = RunFolder(path).read_description()
    if (reason := fault(description)) is not None:
        raise UsageError(f"{path / RUN} does not describe a run: {reason}")
    return Run(path, description)
