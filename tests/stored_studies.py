"""Stored studies with invented trials."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import optuna

from archon.spec.space import parse_space
from archon.study.load_study import StoredStudy
from archon.study.objectives import ItemResult
from archon.study.space import Space
from archon.study.trials import RECORD, TrialRecord

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPACE: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "description": "Samples, checked or not.",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {
            "type": "generator",
            "model": "solver",
            "samples": {"$choice": [1, 3, 9], "$name": "samples"},
            "sampling": {"temperature": {"$float": [0.2, 1.2], "$name": "temperature"}},
        },
        "checked": {
            "$choice": {
                "no": None,
                "yes": {
                    "type": "verifier",
                    "model": "solver",
                    "method": {"$choice": ["reason", "logit"], "$name": "method"},
                    "inputs": ["draft"],
                },
            },
            "$name": "check",
        },
        "answer": {"type": "vote", "inputs": ["checked"]},
    },
    "output": "answer",
}
IDENTITY: dict[str, Any] = {
    "version": 1,
    "space": SPACE,
    "models": {},
    "benchmark": {"name": "sums"},
    "items": [f"item-{n}" for n in range(20)],
    "objectives": ["accuracy", "tokens"],
    "limits": {},
    "seed": 0,
}


def finished(number: int, outcome: Any = "whole", **changed: Any) -> optuna.trial.FrozenTrial:
    """Make a finished trial; more samples are better and cost more."""
    study, rng = optuna.create_study(directions=["maximize", "minimize"]), random.Random(number)
    space = Space(parse_space(changed.pop("space", SPACE)))
    trial = optuna.trial.FixedTrial(space.random_point(rng))
    point = space.suggest(trial)  # type: ignore[arg-type]
    share = 0.2 + 0.08 * int(str(point["samples"]))
    asked = outcome in ("whole", "stopped")
    num_items = {"whole": 20, "stopped": 10}.get(outcome, 0)
    results = [
        ItemResult(float(rng.random() < share), 100.0 * int(str(point["samples"])), 0.5)
        for _ in range(num_items)
    ]
    record = TrialRecord(
        number,
        outcome,
        point,
        f"digest-{sorted(point.items())}",
        None if outcome == "whole" else f"it was {outcome}",
        results,
        **changed,
    )
    state = {"whole": "COMPLETE", "stopped": "COMPLETE", "failed": "FAIL"}.get(outcome, "PRUNED")
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            params=trial.params,
            distributions=trial.distributions,
            values=[record.values["accuracy"], record.values["tokens"]] if asked else None,
            user_attrs={RECORD: record.to_attribute()},
        )
    )
    made = study.get_trials()[0]
    made.number = number
    return made


def running(number: int, worker: str) -> optuna.trial.FrozenTrial:
    """Make an unfinished trial."""
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        user_attrs={"beat": {"worker": worker, "count": 3}},
    )
    trial.number = number
    return trial


def finals(winner: int, accuracy: float = 0.6, **changed: Any) -> dict[str, Any]:
    """Make the results of finals."""
    report = {
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.1, accuracy + 0.1],
        "num_items": 40,
        "cost_tokens": 900.0,
        "seconds": 2.5,
        "run": "runs/study/test/0000",
    }
    row = {"drafts": 9, "difference": 0.05, "interval": [-0.02, 0.12], "p_value": 0.2}
    row |= {"is_enough": True, "cost_tokens": 900.0, "vote_cost_tokens": 880.0, "num_items": 40}
    nodes = {"draft": {"type": "generator", "model": "solver"}}
    return {
        "num_trials": 30,
        "end_time": "2026-01-02T03:04:05+00:00",
        "finalists": [{"trial": winner, **report}],
        "winner": winner,
        "architecture": {
            "name": "tiny-best",
            "models": {"solver": "scripted"},
            "nodes": nodes,
            "output": "draft",
        },
        "select": report,
        "test": report,
        "equal_cost": row,
        **changed,
    }


def stored(
    *trials: optuna.trial.FrozenTrial, folder: Path | None = None, **attributes: Any
) -> StoredStudy:
    """A study of these trials."""
    identity = attributes.pop("identity", IDENTITY)
    return StoredStudy(
        "one", "study.db", identity, attributes, sorted(trials, key=lambda t: t.number), folder
    )


def plenty(num: int = 30) -> list[optuna.trial.FrozenTrial]:
    """Trials of every outcome."""
    outcomes = ["whole", "whole", "stopped", "whole", "rejected", "failed"]
    return [finished(n, outcomes[n % 6]) for n in range(num)]
