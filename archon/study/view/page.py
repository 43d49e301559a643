"""The HTML page of a study: gathers its data and writes the document."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from archon.errors import GraphError, SpecError
from archon.evals.statistics import mean_interval
from archon.pages.document import document, embedded, filled, static, write_document
from archon.spec.space import Parameter, parse_space
from archon.study.finals import warnings_of
from archon.study.finals_lease import FINALS, LEASE, num_tested
from archon.study.importance import importance
from archon.study.load_study import StoredStudy
from archon.study.objectives import OBJECTIVES
from archon.study.result import plain
from archon.study.space import Space
from archon.study.trials import StudyCost, TrialRecord, counted, front, ranked
from archon.study.workers import BEAT, is_gone

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SHARED_STYLES = ("base.css", "overview.css", "graph.css")
_SHARED_SCRIPTS = ("dom.js", "format.js", "stages.js", "wires.js", "charts.js")
"""Scripts that the pages of studies and runs have in common."""
STYLES = ("study.css",)
SCRIPTS = (
    "plots.js",
    "numbers.js",
    "front.js",
    "parameters.js",
    "best.js",
    "trials.js",
    "study.js",
)
_MAX_ARCHITECTURES = 8
_PLANE = ("accuracy", "tokens")
"""Axes of the Pareto front that every page shows, whatever the objectives of the study."""


def write_study_page(stored: StoredStudy, output: Path) -> dict[str, Any]:
    """Write the HTML page of a study, and return its data.

    Raises
    ------
    UsageError
        The file cannot be written.
    """
    data = gather(stored, output)
    write_document(output, html(data))
    return data


def html(data: dict[str, Any]) -> str:
    """Return the complete HTML document."""
    return document(
        f"{data['name']}: {data['space']['name']} on {data['benchmark']}",
        filled(_static("study.html"), {"data": embedded(data)}),
        styles=[*map(static, _SHARED_STYLES), *map(_static, STYLES)],
        scripts=[*map(static, _SHARED_SCRIPTS), *map(_static, SCRIPTS)],
    )


def _static(name: str) -> str:
    return static(name, "archon.study.view")


def gather(stored: StoredStudy, output: Path) -> dict[str, Any]:
    """Gather the data of a study's page.

    Parameters
    ----------
    output
        The file of the page; links to pages of runs are relative to its folder.

    Raises
    ------
    SpecError
        The study's space cannot be read.
    MissingExtraError
        Optuna is not installed.
    """
    return _Gatherer(stored, output.absolute().parent).page()


@dataclass
class _Gatherer:
    stored: StoredStudy
    start: Path
    """The folder of the page, from which relative links start."""

    def __post_init__(self) -> None:
        identity = self.stored.identity
        self.space = Space(parse_space(identity["space"], self.stored.storage))
        self.objectives: list[str] = list(identity["objectives"])
        found = ((trial, TrialRecord.of(trial)) for trial in self.stored.trials)
        self.records = {trial.number: record for trial, record in found if record is not None}
        records = list(self.records.values())
        self.ranked = ranked(records, self.objectives)
        self.front = front(records, _PLANE)
        self.finals: list[dict[str, Any]] = list(self.stored.attributes.get(FINALS) or [])

    def page(self) -> dict[str, Any]:
        """Return all data of the page."""
        identity, records = self.stored.identity, list(self.records.values())
        outcomes = Counter(record.outcome for record in records)
        return {
            "name": self.stored.name,
            "storage": self.stored.storage,
            "space": {
                "name": self.space.name,
                "description": self.space.spec.description,
                "num_points": self.space.count(),
            },
            "benchmark": identity["benchmark"]["name"],
            "models": identity["models"],
            "objectives": [[name, OBJECTIVES[name]] for name in self.objectives],
            "limits": identity["limits"],
            "seed": identity["seed"],
            "num_items": len(identity["items"]),
            "num_trials": counted(records),
            "outcomes": dict(outcomes),
            "num_waiting": sum(trial.state.name == "WAITING" for trial in self.stored.trials),
            "under_way": self._under_way(),
            "tokens": asdict(StudyCost.of(records, len(identity["items"]))),
            "holes": self._parameters(),
            "trials": [self._trial(t) for t in self.stored.trials if t.number in self.records],
            "importance": self._importances(),
            "finals": self._finals(),
            "claimed_by": self._claimed_by(),
            "architectures": self._architectures(),
        }

    def _trial(self, trial: FrozenTrial) -> dict[str, Any]:
        record = self.records[trial.number]
        values = record.values if record.results else {}
        scores = [result.accuracy for result in record.results]
        return {
            "number": record.number,
            "outcome": record.outcome,
            "point": dict(record.point),
            "reason": record.reason,
            "num_items": len(scores),
            "interval": mean_interval(scores, len(scores)) if scores else None,
            **{name: values.get(name) for name in OBJECTIVES},
            "sought": dict(zip(self.objectives, self._sought(trial), strict=False)),
            "is_feasible": record.is_feasible,
            "is_on_front": any(record is other for other in self.front),
            "run": self._link(record.run),
        }

    def _sought(self, trial: FrozenTrial) -> Sequence[float]:
        """Return a trial's objective values: measured, predicted if it was stopped, else empty."""
        asked = self.records[trial.number].outcome in ("whole", "stopped")
        return (trial.values or []) if asked else []

    def _under_way(self) -> list[dict[str, Any]]:
        """Return the unfinished trials; ``is_gone`` means that the worker has ended."""
        running = [trial for trial in self.stored.trials if trial.state.name == "RUNNING"]
        return [
            {
                "number": trial.number,
                "point": dict(trial.params),
                "is_gone": is_gone((trial.user_attrs.get(BEAT) or {}).get("worker", "?/0/?")),
            }
            for trial in running
        ]

    def _link(self, run: str | None) -> dict[str, Any] | None:
        """Return a run's path, whether it is on this machine, and a link to its page, if any."""
        if run is None:
            return None
        path = Path(run)
        if not path.is_dir() and self.stored.folder is not None:
            path = self.stored.folder.joinpath(*path.parts[-2:])
        if not path.is_dir():
            return {"path": run, "is_here": False, "href": None}
        page = path / "view.html"
        href = quote(os.path.relpath(page.absolute(), self.start)) if page.is_file() else None
        return {"path": str(path), "is_here": True, "href": href}

    def _parameters(self) -> list[dict[str, Any]]:
        """Return a row per parameter: its name, kind, and values or range."""
        first: dict[str, Parameter] = {}
        for parameter in self.space.spec.all_parameters():
            first.setdefault(parameter.name, parameter)
        outer = {parameter.name for parameter in self.space.spec.parameters}
        return [
            {
                "name": parameter.name,
                "kind": parameter.kind,
                "values": list(parameter.alternatives),
                "low": parameter.low,
                "high": parameter.high,
                "is_log": parameter.is_log,
                "is_conditional": parameter.name not in outer,
            }
            for parameter in first.values()
        ]

    def _importances(self) -> list[dict[str, Any]]:
        trials = [t for t in self.stored.trials if t.number in self.records and self._sought(t)]
        found = []
        for i, name in enumerate(self.objectives):
            values = [self._sought(trial)[i] for trial in trials]
            shares = importance(trials, values, is_higher_better=OBJECTIVES[name])
            found.append({"objective": name, **asdict(shares)})
        return found

    def _finals(self) -> list[dict[str, Any]]:
        """Return the results of all finals with links and warnings, the latest first."""
        found = []
        for number, entry in enumerate(self.finals, start=1):
            accuracy = self.records[entry["winner"]].values["accuracy"]
            tested = num_tested(self.finals[:number])
            warnings = warnings_of(accuracy, entry["test"], entry["equal_cost"], tested)
            links = {split: self._link(entry[split]["run"]) for split in ("select", "test")}
            finalists = [f | {"run": self._link(f["run"])} for f in entry["finalists"]]
            found.append({**entry, "finalists": finalists, "warnings": warnings, "links": links})
        return found[::-1]

    def _claimed_by(self) -> Mapping[str, Any] | None:
        beat: Mapping[str, Any] | None = self.stored.attributes.get(LEASE)
        return beat and {"worker": beat["worker"], "is_gone": is_gone(beat["worker"])}

    def _architectures(self) -> list[dict[str, Any]]:
        """Return distinct architectures to draw: the winner, the front, then the next best."""
        last = self.finals[-1] if self.finals else None
        listed = [
            *([(self.records[last["winner"]], "winner")] if last else []),
            *((record, "front") for record in self.front),
            *((record, "next") for record in self.ranked),
        ]
        shown: dict[str | None, dict[str, Any]] = {}
        for record, why in listed:
            if record.digest in shown or len(shown) == _MAX_ARCHITECTURES:
                continue
            data = last["architecture"] if last and why == "winner" else self._built(record)
            if data is not None:
                file = {"version": 1, **data}
                shown[record.digest] = {"trial": record.number, "why": why, "file": file}
        return list(shown.values())

    def _built(self, record: TrialRecord) -> dict[str, Any] | None:
        """Build the architecture of a trial; None if this version of Archon rejects it."""
        try:
            return plain(self.space.build(record.point))
        except (SpecError, GraphError):
            return None
