"""Direct preference optimization: the loss, and complete trainings through the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_folders import write_folder
from tiny_models import TinyModel

import archon
from archon.cli import main
from archon.train.objectives import dpo


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "base", TinyModel("qwen2"))


def pairs(count: int = 24) -> list[dict[str, Any]]:
    return [{"prompt": f"say {i}", "chosen": f"{i}!", "rejected": f"{i}?"} for i in range(count)]


def command(path: Path, base: Path, data: list[dict[str, Any]], **changes: Any) -> list[str]:
    (path / "data.jsonl").write_text("\n".join(map(json.dumps, data)))
    card = {"version": 1, "name": "base", "backend": "local", "precision": "float32",
            "sources": [{"path": str(base)}]}  # fmt: skip
    (path / "base.json").write_text(json.dumps(card))
    spec = {
        "version": 1, "training": "dpo", "name": "tiny", "model": "./base.json",
        "data": {"path": "data.jsonl"}, "held_out": 6, "context": 96, "rows": 4, "pairs": 6,
        "steps": 12, "learning_rate": 0.01, "warmup_steps": 1, "save_every": 4, "beta": 0.5,
    }  # fmt: skip
    (path / "dpo.json").write_text(json.dumps(spec | changes))
    return ["train", "dpo", str(path / "dpo.json"), "--output", str(path / "out")]


def record_of(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((path / "out" / "training.json").read_text())
    return record


def test_the_loss_is_the_bradley_terry_likelihood_of_the_margin() -> None:
    margin_P = torch.tensor([0.0, 1.5, -40.0])
    expected = [-math.log(1 / (1 + math.exp(-m))) for m in margin_P.tolist()]
    assert dpo.dpo_losses(margin_P).tolist() == pytest.approx(expected)


def test_training_starts_at_margin_0_and_separates_held_out_pairs(
    tmp_path: Path, base: Path
) -> None:
    assert main(command(tmp_path, base, pairs())) == 0
    record = record_of(tmp_path)
    assert record["before"]["held_out_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert record["before"]["held_out_margin"] == pytest.approx(0, abs=1e-4)
    assert record["after"]["held_out_accuracy"] == 1
    assert record["after"]["held_out_loss"] < 0.5
    assert (record["pairs"], record["after"]["num_held_out"]) == (18, 6)


def test_the_loss_of_a_step_does_not_depend_on_how_its_pairs_are_packed(
    tmp_path: Path, base: Path
) -> None:
    losses = []
    for rows in (2, 12):
        path = tmp_path / str(rows)
        path.mkdir()
        assert main(command(path, base, pairs(), rows=rows, steps=3)) == 0
        losses.append(record_of(path)["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_the_card_runs_the_trained_model(tmp_path: Path, base: Path) -> None:
    assert main(command(tmp_path, base, pairs(), lora={"rank": 2, "alpha": 4})) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert (card["adapter"], card["prompt"]) == ("./adapter", {"template": "bare"})
    path = str(tmp_path / "out" / "card.json")
    plain = archon.load("single", models={"solver": str(base)}).run("say 3")
    trained = archon.load("single", models={"solver": path}).run("say 3")
    assert plain.text != trained.text


def test_judged_replies_become_pairs_of_right_and_wrong(tmp_path: Path, base: Path) -> None:
    rows = [
        {"prompt": f"say {i}", "completion": f"{i}{end}", "correct": end == "!"}
        for i in range(12)
        for end in "!?."
    ]
    assert main(command(tmp_path, base, rows, steps=2)) == 0
    record = record_of(tmp_path)
    # Two pairs per question; those of a held-out question are not learned from.
    assert record["pairs"] % 2 == 0
    assert record["pairs"] <= 24 - 6


@pytest.mark.parametrize(
    ("rows", "changes", "reason"),
    [
        (pairs(3), {}, "no pairs are left for training: of 3 pairs"),
        (pairs(), {"context": 8}, "24 do not fit in 8 tokens"),
        (pairs(), {"beta": 0}, "$.beta"),
        ([{"prompt": "a", "chosen": "b"}], {}, "data.jsonl:1"),
        (pairs(), {"last_layers": 9}, "'last_layers' is 9, but"),
    ],
)
def test_an_invalid_training_is_rejected_with_a_reason(
    tmp_path: Path,
    base: Path,
    rows: list[dict[str, Any]],
    changes: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(tmp_path, base, rows, **changes)) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error
