"""A run is resumed only with the weights that answered its first items."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from archon import api
from archon.errors import UsageError
from archon.evals.folder import RunFolder
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.graph.architecture import Architecture
from archon.graph.loading import Loader
from archon.lm import factory
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.model import LocalCard, ModelCard

NESTED = {
    "version": 1,
    "name": "outer",
    "models": {"own": "./weights.gguf", "inner": {"architecture": "./inner.json"}},
    "nodes": {
        "one": {"type": "generator", "model": "own"},
        "two": {"type": "generator", "model": "inner", "inputs": ["one"]},
        "vote": {"type": "vote", "inputs": ["two"]},
    },
    "output": "vote",
}
INNER = {
    "version": 1,
    "name": "inner",
    "models": {"solver": "./weights.gguf"},
    "nodes": {"answer": {"type": "generator", "model": "solver"}},
    "output": "answer",
}


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Let every local model answer like the scripted one; return the names of opened models."""
    names: list[str] = []

    def open_lm(card: ModelCard, base_dir: Path | None) -> ScriptedLM:
        names.append(card.name)
        return ScriptedLM(lambda request, draw: "4")

    monkeypatch.setattr(factory, "open_lm", open_lm)
    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path / "cache"))
    return names


def write(folder: Path, content: bytes) -> str:
    (folder / "weights.gguf").write_bytes(content)
    return sha256(content).hexdigest()


def load(folder: Path) -> tuple[Architecture, Loader]:
    for name, spec in (("outer", NESTED), ("inner", INNER)):
        (folder / f"{name}.json").write_text(json.dumps(spec))
    loader = Loader()
    return loader.architecture(folder / "outer.json"), loader


async def answer(folder: Path, num_items: int) -> None:
    architecture, loader = load(folder)
    evaluation = Evaluation.of(architecture, api.benchmark("smoke", limit=3))
    try:
        await evaluate(evaluation, RunFolder.resume(folder / "run"), num_items=num_items)
    finally:
        for lm in loader.lms:
            await lm.aclose()


def answered(folder: Path, num_items: int) -> dict[str, Any]:
    """Answer the first items; return what ``run.json`` says."""
    asyncio.run(answer(folder, num_items))
    return dict(read_run(folder / "run").description)


def test_a_run_is_not_resumed_with_other_weights(tmp_path: Path) -> None:
    digest = write(tmp_path, b"GGUF, first")
    first = answered(tmp_path, 1)
    assert first["weights"] == {"own": digest, "inner.solver": digest}
    write(tmp_path, b"GGUF, second")
    with pytest.raises(UsageError, match=r"weights of model 'inner\.solver' have changed"):
        answered(tmp_path, 2)
    assert len(read_run(tmp_path / "run").records()) == 1
    write(tmp_path, b"GGUF, first")
    assert answered(tmp_path, 3) == first
    write(tmp_path, b"GGUF, second")
    answered(tmp_path, 3)  # nothing is asked


def test_a_run_without_recorded_weights_is_resumed_and_gets_them(tmp_path: Path) -> None:
    digest = write(tmp_path, b"GGUF, first")
    answered(tmp_path, 1)
    path = tmp_path / "run" / "run.json"
    stored = json.loads(path.read_text())
    del stored["weights"]
    path.write_text(json.dumps(stored))
    assert answered(tmp_path, 2) == {**stored, "weights": {"own": digest, "inner.solver": digest}}


def test_weights_are_named_by_role_and_opened_on_request(tmp_path: Path, opened: list[str]) -> None:
    digest = write(tmp_path, b"GGUF, first")
    architecture, _ = load(tmp_path)
    assert architecture.weights_digests() == {}
    assert not opened
    assert architecture.weights_digests(["inner.solver"])["inner.solver"] == digest
    assert opened == ["weights"]
    assert isinstance(architecture.cards["own"], LocalCard)
