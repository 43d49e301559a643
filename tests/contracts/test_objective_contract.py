"""What every objective must do, run over every kind of training in the registry."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tiny_trainings import CONFIGURATIONS, write_training

from archon.evals.run import Run
from archon.spec.model import LocalCard
from archon.spec.reader import load_model_card, load_training
from archon.spec.training import AnyTraining, SampledReplies
from archon.train.folder import CARD, TrainingFolder
from archon.train.objectives import objective_module
from archon.train.registry import TRAININGS
from archon.train.trainer import Start, Trainer

INTERRUPTED_AFTER = 3


def test_specs_registry_and_tiny_trainings_name_the_same_kinds() -> None:
    fields = (spec.model_fields["training"] for spec in get_args(AnyTraining))
    kinds = {kind for field in fields for kind in get_args(field.annotation)}
    assert kinds == TRAININGS.keys() == CONFIGURATIONS.keys()


def train(kind: str, path: Path, *, interrupt: bool = False) -> dict[str, Any]:
    """Train, or resume the training in the folder; returns the record."""
    loaded = load_training(str(write_training(kind, path)))
    spec, base_dir = loaded.spec, loaded.base_dir

    def pull_card(name: str) -> tuple[LocalCard, Path]:
        card = load_model_card(name, base_dir)
        assert isinstance(card.spec, LocalCard)
        return card.spec, card.base_dir

    def sample_replies(data: SampledReplies) -> Run:
        raise AssertionError(data)

    def on_progress(what: str, done: int, of: int) -> None:
        if interrupt and what.startswith(f"{spec.name},") and done == INTERRUPTED_AFTER:
            signal.raise_signal(signal.SIGINT)

    asked = spec.model_dump(mode="json", exclude_none=True)
    with TrainingFolder.exclusive(path / "out", asked, resume=True) as folder:
        start = Start(base_dir, folder, torch.device("cpu"), pull_card, sample_replies)
        objective = objective_module(kind).open_objective(spec, start)
        return dict(Trainer(objective, folder, spec.name, on_progress).run())


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def weights_in(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*.safetensors")}


@pytest.mark.parametrize("kind", TRAININGS)
class TestObjective:
    def test_it_trains_reports_and_leaves_a_card(self, kind: str, tmp_path: Path) -> None:
        record = train(kind, tmp_path)
        assert {"before", "after", "trained_parameters"} <= record.keys()
        assert weights_in(tmp_path / "out")
        assert not (tmp_path / "out" / "state.safetensors").exists()
        lines = list(objective_module(kind).report(record))
        assert lines
        assert all(line and style in {"bold", "dim", "yellow", None} for line, style in lines)
        if (tmp_path / "out" / CARD).exists():
            load_model_card(str(tmp_path / "out" / CARD))

    def test_a_resumed_training_ends_bit_equal_to_an_uninterrupted_one(
        self, kind: str, tmp_path: Path
    ) -> None:
        expected = train(kind, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            train(kind, tmp_path / "other", interrupt=True)
        assert (tmp_path / "other" / "out" / "state.safetensors").is_file()
        resumed = train(kind, tmp_path / "other")
        assert without_seconds(resumed) == without_seconds(expected)
        assert weights_in(tmp_path / "other" / "out") == weights_in(tmp_path / "whole" / "out")
