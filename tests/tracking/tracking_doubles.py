"""Fakes of the packages of experiment trackers. They keep what they are given."""

from __future__ import annotations

import sys
from collections import defaultdict
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class FakeRun:
    """A run of wandb or trackio."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.logged: list[tuple[int | None, dict[str, float]]] = []
        self.summary: dict[str, float] = {}
        self.ends: list[int] = []

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert not self.ends, "a finished run cannot log"
        self.logged.append((step, metrics))

    def finish(self, exit_code: int = 0) -> None:
        self.ends.append(exit_code)


def fake_wandb(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """Install a fake of wandb; return the list of its runs."""
    runs: list[FakeRun] = []

    def init(**arguments: Any) -> FakeRun:
        runs.append(FakeRun(arguments))
        return runs[-1]

    _install(monkeypatch, "wandb", init=init, setup=lambda settings: None, Settings=SimpleNamespace)
    return runs


def fake_trackio(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """Install a fake of trackio; return the list of its runs."""
    runs: list[FakeRun] = []

    def init(project: str, **arguments: Any) -> FakeRun:
        print("* Trackio project initialized")
        runs.append(FakeRun({"project": project, **arguments}))
        return runs[-1]

    _install(monkeypatch, "trackio", init=init)
    return runs


class FakeMlflow:
    """The part of an MLflow store that the tracker uses."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.params: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.metrics: defaultdict[str, list[tuple[str, float, int]]] = defaultdict(list)
        self.status: dict[str, str] = {}
        self.files: dict[tuple[str, str], Any] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        found = self.experiments.get(name)
        return None if found is None else SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, f"experiment {len(self.experiments)}")

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        return [
            SimpleNamespace(
                info=SimpleNamespace(run_id=run), data=SimpleNamespace(params=self.params[run])
            )
            for run, tags in self.tags.items()
            if query == f"tags.`archon.id` = '{tags.get('archon.id')}'"
        ][:max_results]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        run = f"run {len(self.tags)}"
        self.names[run], self.tags[run], self.status[run] = run_name, tags, "RUNNING"
        return SimpleNamespace(info=SimpleNamespace(run_id=run))

    def update_run(self, run: str, status: str) -> None:
        self.status[run] = status

    set_terminated = update_run

    def log_batch(self, run: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        self.metrics[run] += [(m.key, m.value, m.step) for m in metrics]
        for param in params:
            assert self.params[run].setdefault(param.key, param.value) == param.value

    def log_dict(self, run: str, data: Any, name: str) -> None:
        self.files[run, name] = data


def fake_mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    """Install a fake of MLflow; return its store."""
    store = FakeMlflow()

    def metric(key: str, value: float, timestamp: int, step: int) -> Any:
        return SimpleNamespace(key=key, value=value, step=step)

    def param(key: str, value: str) -> Any:
        return SimpleNamespace(key=key, value=value)

    entities = SimpleNamespace(Metric=metric, Param=param)
    _install(monkeypatch, "mlflow", MlflowClient=lambda: store, entities=entities)
    return store


def _install(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    module = ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)
