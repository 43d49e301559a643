"""Compare stored runs on the answers that they have, without new calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archon.errors import UsageError
from archon.evals.comparison import compare
from archon.evals.costs import Cost
from archon.evals.equal_cost import equal_cost
from archon.evals.records import Record
from archon.evals.run import Run, read_run


def compare_runs(paths: Sequence[Path], cost: Cost = "tokens") -> dict[str, Any]:
    """Compare the runs in these folders.

    Parameters
    ----------
    cost
        The cost at which ``equal_cost`` compares.

    Returns
    -------
    The same as ``archon.evals.comparison.compare``, with the rows of
    ``archon.evals.equal_cost.equal_cost`` under ``equal_cost``. The warnings also name what else
    differs between the runs: seeds, scorers, epochs, and answers that are missing.

    Raises
    ------
    UsageError
        A folder does not contain a run or is given twice. The runs have different benchmarks,
        splits or items.
    MissingExtraError
        Scipy is not installed.
    """
    _check_distinct(paths)
    runs = [read_run(path) for path in paths]
    reports = [run.report().to_json() for run in runs]
    _check_same_benchmark(reports)
    records = [run.records() for run in runs]
    _check_same_items(runs, records)
    found = compare(reports, records)
    names = [row["name"] for row in found["rows"]]
    specs = [run.description["specification"]["architecture"] for run in runs]
    found["warnings"] = [*_other_differences(names, runs, reports), *found["warnings"]]
    return found | {"equal_cost": equal_cost(names, specs, records, cost)}


def _check_distinct(paths: Sequence[Path]) -> None:
    for path, number in Counter(path.resolve() for path in paths).items():
        if number > 1:
            raise UsageError(f"the run {path} is given {number} times; give each run once")


def _check_same_benchmark(reports: Sequence[dict[str, Any]]) -> None:
    def name(report: dict[str, Any]) -> str:
        return f"{report['benchmark']} ({report['split']})"

    if len(set(map(name, reports))) > 1:
        listed = "".join(f"\n  {report['run']}: {name(report)}" for report in reports)
        raise UsageError(f"the runs have different benchmarks or splits:{listed}")


def _check_same_items(runs: Sequence[Run], records: Sequence[Sequence[Record]]) -> None:
    """Check that equal ids mean equal items: two files of data can both have an item 7."""
    first: dict[str, tuple[Run, Record]] = {}
    for run, own in zip(runs, records, strict=True):
        for record in own:
            other_run, other = first.setdefault(record.item, (run, record))
            if (record.question, record.target) != (other.question, other.target):
                raise UsageError(
                    f"the item {record.item!r} has another question or target in {run.path} than "
                    f"in {other_run.path}; compare runs on the same data"
                )


def _other_differences(
    names: Sequence[str], runs: Sequence[Run], reports: Sequence[dict[str, Any]]
) -> list[str]:
    """Return a sentence for each difference besides the architectures that affects the result."""

    def versus(value: Callable[[int], Any]) -> str | None:
        values = [value(i) for i in range(len(runs))]
        if len(set(values)) == 1:
            return None
        return ", ".join(f"{name} {one}" for name, one in zip(names, values, strict=True))

    found = []
    if listed := versus(lambda i: reports[i]["scorer"]):
        found.append(f"the runs have different scorers: {listed}")
    if listed := versus(lambda i: reports[i]["seed"]):
        found.append(f"the runs have different seeds, so they share no samples: {listed}")
    if listed := versus(lambda i: reports[i]["epochs"]):
        found.append(f"the runs have different numbers of epochs: {listed}")
    if listed := versus(lambda i: runs[i].description["specification"].get("reading")):
        found.append(f"the runs read answers by different rules (reading): {listed}")
    for name, run, report in zip(names, runs, reports, strict=True):
        if report["interrupted"]:
            counts = f"{report['num_runs']} of {run.num_runs}"
            found.append(f"{name} is not finished ({counts} answers); only these are compared")
    return found
