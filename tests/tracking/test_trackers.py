"""Runs, studies and training in each tracker, with fakes of their packages."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tracking_doubles import fake_mlflow, fake_trackio, fake_wandb

import archon
from archon.study.objectives import ItemResult
from archon.study.search_config import SearchConfig, TrialFinished, TrialStarted
from archon.study.tracked import recorded as recorded_study
from archon.study.trials import TrialRecord
from archon.tracking import session
from archon.tracking.session import TrackerChoice

SUMS = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(10)]


@pytest.fixture(autouse=True)
def batches_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BATCH_SECONDS", 0.01)


def evaluate(folder: Path, track: str, **options: Any) -> Any:
    """Evaluate a scripted model on the three sums of the split ``select``."""
    data = folder.parent / "sums.jsonl"
    data.write_text("\n".join(map(json.dumps, SUMS)))
    card = {"version": 1, "name": "sums", "source": {"jsonl": str(data)}, "answer": "number"}
    return archon.evaluate(
        archon.load("self-consistency", models="scripted"),
        card,
        output=folder,
        cache=False,
        track=track,
        **options,
    )


def study(choice: str, on_event: Any = None) -> None:
    """Record a study with a complete and a rejected trial."""
    config = SearchConfig(track=TrackerChoice.parse(choice))
    identity = {
        "space": {"name": "small"}, "benchmark": {"name": "sums"}, "items": ["a"], "models": {},
        "objectives": ["accuracy"], "limits": {}, "seed": 0,
    }  # fmt: skip
    with recorded_study("my-study", identity, config, on_event, "runs/my-study") as recorder:
        assert recorder.on_event is not None
        recorder.on_event(TrialStarted(0, {"k": 4}))
        whole = TrialRecord(0, "whole", {"k": 4}, results=[ItemResult(1.0, 30.0, 0.1, False)])
        recorder.on_event(TrialFinished(whole))
        recorder.on_event(TrialFinished(TrialRecord(1, "rejected", {"k": 8})))
        result = {"num_trials": 1, "cost_tokens": 99, "test": {"accuracy": 0.5}}
        recorder.result = SimpleNamespace(to_json=lambda: result)  # type: ignore[assignment]


def test_mlflow_has_the_run_and_continues_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fake_mlflow(monkeypatch)
    report = evaluate(tmp_path / "run", "mlflow:sums")
    assert list(store.experiments) == ["sums"]
    assert store.names == {"run 0": "self-consistency on sums"}
    assert store.params["run 0"]["models.solver"] == "scripted"
    assert store.status["run 0"] == "FINISHED"
    last = {name: value for name, value, step in store.metrics["run 0"]}
    assert last["accuracy"] == report.accuracy
    assert last["accuracy_low"] == report.accuracy_interval[0]
    assert max(step for name, _, step in store.metrics["run 0"] if name == "accuracy") == 3
    assert store.files["run 0", "report.json"]["accuracy"] == report.accuracy
    evaluate(tmp_path / "run", "mlflow:sums", resume=True)
    assert len(store.names) == 1


def test_mlflow_has_trials_as_nested_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fake_mlflow(monkeypatch)
    study("mlflow")
    assert list(store.names.values()) == ["my-study", "trial 0", "trial 1"]
    assert store.tags["run 1"] == {"mlflow.parentRunId": "run 0", "archon.outcome": "whole"}
    assert store.params["run 1"] == {"k": "4"}
    assert ("accuracy", 1.0, 0) in store.metrics["run 1"]
    assert ("accuracy", 1.0, 0) in store.metrics["run 0"]
    assert [m for m in store.metrics["run 0"] if m[0].startswith("test/")] == [
        ("test/accuracy", 0.5, 0)
    ]
    assert set(store.status.values()) == {"FINISHED"}


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = fake_wandb(monkeypatch)
    report = evaluate(tmp_path / "run", "wandb")
    (run,) = runs
    assert run.arguments["project"] == "archon"
    assert run.arguments["resume"] == "allow"
    assert run.logged[-1][0] == 3
    assert run.summary["accuracy"] == report.accuracy
    assert run.ends == [0]
    study("wandb:p")
    parent, whole, rejected = runs[1:]
    assert [r.arguments["group"] for r in (parent, whole, rejected)] == ["my-study"] * 3
    assert whole.arguments["config"] == {"k": 4, "outcome": "whole"}
    assert parent.logged == [(0, whole.logged[0][1]), (1, {})]
    assert parent.summary == {"num_trials": 1.0, "test/accuracy": 0.5}


def test_trackio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = fake_trackio(monkeypatch)
    report = evaluate(tmp_path / "run", "trackio:p")
    (run,) = runs
    assert run.arguments["project"] == "p"
    assert run.arguments["name"].startswith("self-consistency on sums-")
    assert run.logged[-1][1]["final/accuracy"] == report.accuracy
    events: list[Any] = []
    study("trackio", events.append)
    assert len(events) == 3
    assert [r.arguments["name"] for r in runs[1:]] == [
        "my-study", "my-study-trial-0", "my-study-trial-1",
    ]  # fmt: skip
    assert all(len(run.ends) == 1 for run in runs)
    assert capsys.readouterr().out == ""


def test_a_run_that_ends_early_is_closed_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = fake_wandb(monkeypatch)

    def stop(progress: Any) -> None:
        if progress.num_done == 2:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        evaluate(tmp_path / "run", "wandb", on_progress=stop)
    assert runs[0].ends == [1]
    assert runs[0].summary["num_runs"] >= 2
    evaluate(tmp_path / "run", "wandb", resume=True)
    assert runs[0].arguments["id"] == runs[1].arguments["id"]
    assert runs[1].ends == [0]
