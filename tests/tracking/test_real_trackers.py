"""The packages themselves, where they are installed, with local stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from archon.tracking.session import TrackerChoice, Tracking
from archon.tracking.tracker import TrackedRun, Trial

pytestmark = pytest.mark.filterwarnings("ignore")


def follow(name: str) -> None:
    """Record a study with a curve and a trial."""
    run = TrackedRun("search", "study", {"models": {"solver": "a"}}, "study")
    tracking = Tracking.of(TrackerChoice.parse(f"{name}:project"), run)
    tracking.log(1, {"accuracy": 0.5})
    tracking.trial(Trial(2, "whole", {"k": 4}, {"accuracy": 0.75}))
    tracking.finish("finished", {"test": {"accuracy": 0.7}}, "runs/study")


def test_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    follow("mlflow")
    follow("mlflow")  # continues the run
    assert caplog.messages == []
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("project").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert sorted(runs) == ["study", "trial 2"]
    parent, trial = runs["study"], runs["trial 2"]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trial.data.params == {"k": "4"}
    assert parent.data.params == {"models.solver": "a"}
    assert parent.data.metrics == {"accuracy": 0.75, "test/accuracy": 0.7}
    assert parent.info.status == "FINISHED"


def test_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    follow("wandb")
    assert caplog.messages == []
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 2


def test_trackio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read at import
    trackio = pytest.importorskip("trackio")
    follow("trackio")
    assert caplog.messages == []
    assert {run.name for run in trackio.Api().runs("project")} == {"study", "study-trial-2"}
