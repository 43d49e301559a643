"""The curve of a training run in an experiment tracker."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_trainings import write_training

from archon.cli import main
from archon.tracking.session import TrackerChoice
from archon.train import trainer


def test_a_resumed_training_records_the_whole_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    class Tracker:
        def __init__(self) -> None:
            self.steps: list[tuple[int, dict[str, float]]] = []
            opened.append(self)

        def start(self, run: Any) -> None:
            self.run = run

        def log(self, points: Any) -> None:
            self.steps += [(point.step, dict(point.metrics)) for point in points]

        def finish(self, status: str, metrics: Any, report: Any) -> None:
            self.status, self.metrics = status, metrics

    monkeypatch.setattr(TrackerChoice, "open", lambda self: Tracker())
    config = write_training("pretrain", tmp_path / "in")
    command = ["train", "pretrain", str(config), "--output", str(tmp_path / "out"), "--track"]
    num_steps = SimpleNamespace(left=3)

    def interrupted() -> bool:
        num_steps.left -= 1
        return num_steps.left <= 0

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "delayed_interrupts", lambda: nullcontext(interrupted))
        assert main([*command, "trackio", "--json"]) == 130
    assert main([*command, "trackio", "--json", "--resume"]) == 0
    *_, first, _, second = opened  # ``--track`` also opens a tracker to check its package
    assert (first.status, second.status) == ("interrupted", "finished")
    assert first.run.id == second.run.id
    assert [step for step, _ in second.steps] == [1, 2, 3, 4, 5, 6]
    assert second.steps[: len(first.steps)] == first.steps
    assert "after/held_out_loss" in second.metrics
