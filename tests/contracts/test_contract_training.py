"""Trainings: files, keys, and the names, shapes and types of the tensors that they write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_files import check, shape
from safetensors import safe_open
from tiny_folders import write_folder
from tiny_models import TinyModel

import archon
from archon.cli import main

COMMON: dict[str, Any] = {
    "version": 1, "name": "tiny", "held_out": 2, "context": 96, "rows": 2, "steps": 2,
    "learning_rate": 0.01, "warmup_steps": 1, "save_every": 2, "data": {"path": "data.jsonl"},
}  # fmt: skip
LORA = {"lora": {"rank": 2}}
SHAPE = {"num_layers": 1, "width": 32, "ffn_width": 32, "num_heads": 2, "num_kv_heads": 1}
SAMPLED = {"samples": 1, "sample_tokens": 4}
REWARDED = {"prompts": 2, "group": 2, "max_tokens": 3, "reward": {"model": "./judge.json"}}
TRAININGS: dict[str, dict[str, Any]] = {
    "sft": COMMON | LORA | SAMPLED | {"training": "sft", "model": "./base.json"},
    "sft-whole": COMMON | SAMPLED | {"training": "sft", "model": "./base.json"},
    "dpo": COMMON | LORA | {"training": "dpo", "model": "./base.json", "pairs": 2,
                            "data": {"path": "pairs.jsonl"}},
    "grpo": COMMON | LORA | REWARDED | {"training": "grpo", "model": "./base.json"},
    "ppo": COMMON | LORA | REWARDED | {"training": "ppo", "model": "./base.json"},
    "pretrain": COMMON | SAMPLED | {"training": "pretrain", "decoder": SHAPE,
                                    "data": {"rule": "sums", "items": 30}},
    "reward": {"version": 1, "name": "tiny", "training": "reward", "model": "./base.json",
               "data": {"path": "judged.jsonl"}, "penalties": [0.1]},
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_folder(folder / "base", TinyModel("qwen2", num_layers=1))
    card = {"name": "base", "backend": "local", "sources": [{"path": "./base"}],
            "precision": "float32"}  # fmt: skip
    judge = {"version": 1, "name": "judge", "backend": "scripted", "reward": True}
    replies = [{"prompt": f"say {i}", "completion": f"{i}!"} for i in range(12)]
    pairs = [{"prompt": f"say {i}", "chosen": f"{i}!", "rejected": f"{i}?"} for i in range(12)]
    judged = [
        {"prompt": f"say {i}", "completion": f"{i}{end}", "correct": end == "!"}
        for i in range(30)
        for end in "!?"
    ]
    for name, value in {"base": card, "judge": judge}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    for name, rows in {"data": replies, "pairs": pairs, "judged": judged}.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, spec in TRAININGS.items():
        (folder / f"{name}.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture
def train(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    def run(name: str) -> tuple[Path, dict[str, Any]]:
        capsys.readouterr()
        verb = TRAININGS[name]["training"]
        device = [] if verb == "reward" else ["--device", "cpu"]
        config = str(inputs / f"{name}.json")
        assert (
            main(["train", verb, config, "--output", str(tmp_path / "out"), "--json", *device]) == 0
        )
        return tmp_path / "out", json.loads(capsys.readouterr().out)

    return run


def tensors(path: Path) -> dict[str, str]:
    """Name to type and shape; also the metadata of the file."""
    with safe_open(path, "numpy") as file:
        found = {}
        for name in sorted(file.keys()):
            part = file.get_slice(name)
            found[name] = f"{part.get_dtype()} {part.get_shape()}"
        return found | {"metadata": json.dumps(file.metadata(), sort_keys=True)}


def contents(folder: Path) -> dict[str, Any]:
    """File to what can be relied on in it."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors":
            found[name] = tensors(path)
        elif name.endswith("adapter_config.json"):
            found[name] = json.loads(path.read_text())
        elif path.name in ("tokenizer.json", "tokenizer_config.json"):
            found[name] = sorted(json.loads(path.read_text()))
        elif path.suffix == ".json":
            data = json.loads(path.read_text())
            data.pop("spec", None)  # the file that was given, with its defaults
            found[name] = shape(data)
        elif path.is_file():
            found[name] = "file"
    return found


@pytest.mark.parametrize("name", TRAININGS)
def test_files_of_a_training(
    name: str, train: Callable[[str], tuple[Path, dict[str, Any]]]
) -> None:
    folder, report = train(name)
    kept = json.loads((folder / "training.json").read_text())
    spec = kept.pop("spec")
    assert report == {"name": "tiny", "folder": str(folder)} | kept
    assert spec["training"] == TRAININGS[name]["training"]
    check(f"training/{name}.json", contents(folder))


def test_adapter_and_report_of_a_fixed_seed(
    train: Callable[[str], tuple[Path, dict[str, Any]]],
) -> None:
    """The losses to three digits, and that the card runs what was trained."""
    folder, report = train("sft")
    losses = {when: f"{report[when]['held_out_loss']:.3f}" for when in ("before", "after")}
    found = {"losses": losses, "parameters": [report["parameters"], report["trained_parameters"]]}
    answer = archon.load("single", models={"solver": str(folder / "card.json")}).run("say 3")
    assert answer.usage.completion_tokens > 0
    check("training/sft-values.json", found)
