"""Warnings about models that were trained on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import archon
from archon.evals.contamination import training_warnings

HUB = {"huggingface": {"repo": "owner/sums"}}


def specification(trained_on: list[str], source: Any = None) -> dict[str, Any]:
    inner = {"architecture": {"name": "single"}, "models": {"solver": {"name": "deep"}}}
    inner["models"]["solver"]["trained_on"] = trained_on
    models = {"solver": {"name": "small"}, "own": None, "inner": inner}
    return {"benchmark": {"name": "sums", "source": source}, "models": models}


def test_a_model_trained_on_the_benchmark_or_its_repository_is_named() -> None:
    for trained_on in (["Sums"], ["x", "owner/Sums"]):
        (warning,) = training_warnings(specification(trained_on, HUB))
        assert warning.startswith("the card of deep says that it was trained on sums")
    assert training_warnings(specification(["owner/sums"])) == []
    assert training_warnings(specification([])) == []


def test_the_report_of_a_run_has_the_warning(tmp_path: Path) -> None:
    card = {"name": "s", "backend": "scripted", "trained_on": ["smoke"]}
    architecture = archon.load("single", models={"solver": card})
    report = archon.evaluate(architecture, "smoke", limit=1, cache=False, output=tmp_path / "r")
    assert report.warnings[0].startswith("the card of s says that it was trained on smoke")
    plain = archon.load("single", models="scripted")
    other = archon.evaluate(plain, "smoke", limit=1, cache=False, output=tmp_path / "o")
    assert not any("trained on" in warning for warning in other.warnings)
