"""One study as a row of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archon.errors import ArchonError, MissingExtraError
from archon.evals.statistics import mean_interval
from archon.study.finals_lease import FINALS
from archon.study.load_study import StoredStudy, read_study
from archon.study.trials import TrialRecord, counted, ranked
from archon.study.workers import BEAT, is_gone


def study_row(path: Path) -> dict[str, Any]:
    """Return a row for the study in a folder, as plain data.

    ``state`` is ``finished`` (the finals are done), ``running``, ``interrupted`` or ``damaged``.
    The accuracy is that of the winner on *test* if there were finals; otherwise it is that of the
    best trial on *search*, which is too high because it was chosen for it. ``accuracy_split`` says
    which. Without Optuna, the row has only the path and the ``reason``.
    """
    row: dict[str, Any] = {
        "path": str(path),
        "name": path.name,
        "state": None,
        "reason": None,
        "space": None,
        "benchmark": None,
        "num_trials": 0,
        "accuracy": None,
        "accuracy_interval": None,
        "accuracy_split": None,
        "cost_tokens": None,
        "start_time": None,
    }
    try:
        return row | _figures(read_study(str(path)))
    except MissingExtraError as error:
        return row | {"reason": str(error)}
    except ArchonError as error:
        return row | {"state": "damaged", "reason": str(error)}


def _figures(stored: StoredStudy) -> dict[str, Any]:
    records = [record for trial in stored.trials if (record := TrialRecord.of(trial)) is not None]
    finals = list(stored.attributes.get(FINALS) or [])
    starts = [trial.datetime_start for trial in stored.trials if trial.datetime_start is not None]
    is_running = any(
        trial.state.name == "RUNNING"
        and not is_gone((trial.user_attrs.get(BEAT) or {}).get("worker", "?/0/?"))
        for trial in stored.trials
    )
    has_winner = stored.folder is not None and (stored.folder / "best.json").is_file()
    is_finished = bool(finals) or has_winner
    return {
        "name": stored.name,
        "state": "running" if is_running else "finished" if is_finished else "interrupted",
        "space": stored.identity["space"].get("name"),
        "benchmark": stored.identity["benchmark"]["name"],
        "num_trials": counted(records),
        # Optuna stores local times without a zone.
        "start_time": min(starts).astimezone().isoformat(timespec="seconds") if starts else None,
        **_best(records, finals, list(stored.identity["objectives"])),
    }


def _best(
    records: list[TrialRecord], finals: list[dict[str, Any]], objectives: list[str]
) -> dict[str, Any]:
    if finals:
        test = finals[-1]["test"]
        names = ("accuracy", "accuracy_interval", "cost_tokens")
        return {name: test[name] for name in names} | {"accuracy_split": "test"}
    best = ranked(records, objectives)[:1]
    if not best:
        return {}
    scores = [result.accuracy for result in best[0].results]
    return {
        "accuracy": best[0].values["accuracy"],
        "accuracy_interval": mean_interval(scores, len(scores)),
        "accuracy_split": "search",
        "cost_tokens": best[0].values["tokens"],
    }
