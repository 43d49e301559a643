"""``scripts/agreement.py``: the same scores as lm-eval and Inspect, if they are installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from archon.evals.scorers import find_scorers
from archon.spec.benchmark import BenchmarkCard

SCRIPT = Path(__file__).parents[2] / "scripts" / "agreement.py"


@pytest.fixture(scope="module")
def agreement() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agreement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_have_an_answer_and_a_right_option(agreement: ModuleType) -> None:
    rows = agreement.rows(200)
    assert len({row["id"] for row in rows}) == 200
    for row in rows:
        target = row["answer"].rpartition("#### ")[2].replace(",", "")
        assert row[row["right"]] == target
        assert len({row[letter] for letter in "ABCD"}) == 4


def test_labels_are_those_of_the_scorers(agreement: ModuleType) -> None:
    given = [*agreement.LM_EVAL_SCORERS, *(g for g, _ in agreement.INSPECT_SCORERS.values())]
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}, "score": given}
    found = find_scorers(BenchmarkCard.model_validate(card))
    assert [scorer.label for scorer in found] == [
        *agreement.LM_EVAL_SCORERS,
        *agreement.INSPECT_SCORERS,
    ]


@pytest.mark.parametrize(
    "model", ["scripted", pytest.param("smollm2-135m", marks=pytest.mark.real)]
)
def test_scores_are_equal_item_by_item(agreement: ModuleType, model: str, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("inspect_ai")
    result = agreement.compare(model, 12, sys.executable, tmp_path)
    assert len(result) == len(agreement.LM_EVAL_SCORERS) + len(agreement.INSPECT_SCORERS) + 1
    assert [name for name, row in result.items() if row["different"]] == []
    assert {row["items"] for row in result.values()} == {12}
