from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon import api
from archon.errors import UsageError
from archon.evals.calibration import Judged, calibrate, judged_candidates
from archon.evals.run import read_run


def judged(right: list[float], wrong: list[float]) -> list[Judged]:
    return [Judged(s, True) for s in right] + [Judged(s, False) for s in wrong]


def test_the_threshold_is_midway_between_right_and_wrong() -> None:
    found = calibrate(judged([0.8, 0.9], [0.1, 0.2, 0.4]))
    assert found.threshold == pytest.approx(0.6)
    assert (found.right_passed, found.wrong_passed, found.auc) == (1.0, 0.0, 1.0)
    assert (found.num_right, found.num_wrong) == (2, 3)


def test_uninformative_scores_pass_everything() -> None:
    found = calibrate(judged([0.5, 0.5], [0.5]))
    assert (found.threshold, found.right_passed, found.wrong_passed, found.auc) == (0.5, 1, 1, 0.5)


@pytest.mark.parametrize("mine", [judged([0.5], []), judged([], [0.5]), []])
def test_calibration_needs_right_and_wrong_answers(mine: list[Judged]) -> None:
    with pytest.raises(UsageError, match="both right and wrong answers"):
        calibrate(mine)


SCORES = st.lists(st.sampled_from([-2.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_no_other_threshold_does_better(right: list[float], wrong: list[float]) -> None:
    def shares(threshold: float) -> tuple[float, float]:
        return (
            sum(s >= threshold for s in right) / len(right),
            sum(s >= threshold for s in wrong) / len(wrong),
        )

    found = calibrate(judged(right, wrong))
    assert shares(found.threshold) == (found.right_passed, found.wrong_passed)
    best = max(a - b for a, b in map(shares, [-3.0, -1, 0.1, 0.3, 0.75, 2]))
    assert found.right_passed - found.wrong_passed == pytest.approx(best)
    pairs = [(a > b) + (a == b) / 2 for a in right for b in wrong]
    assert found.auc == pytest.approx(sum(pairs) / len(pairs))


def spec(**verifier: Any) -> dict[str, Any]:
    check = {"type": "verifier", "model": "judge", "inputs": ["draft"], "method": "reward"}
    reward = {"name": "r", "backend": "scripted", "reward": True, "accuracy": 0.9}
    return {
        "version": 1,
        "name": "checked",
        "models": {"solver": "scripted", "judge": reward},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 5},
            "check": {**check, **verifier},
            "answer": {"type": "vote", "inputs": ["check"]},
        },
        "output": "answer",
    }


def test_judged_candidates_include_dropped_ones(tmp_path: Path) -> None:
    path = tmp_path / "run"
    items = [{"id": str(i), "question": f"{i} + 17?", "answer": str(i + 17)} for i in range(40)]
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    api.evaluate(api.load(spec()), "smoke", split="search", data=data, output=path)
    run = read_run(path)
    mine = judged_candidates(run, "check")
    assert len(mine) == 5 * run.report().num_items
    found = calibrate(mine)
    assert found.auc > 0.6
    assert -1 < found.threshold < 1
    with pytest.raises(UsageError, match="did you mean 'check'"):
        judged_candidates(run, "chek")


def test_a_threshold_is_not_calibrated_on_other_splits(tmp_path: Path) -> None:
    path = tmp_path / "run"
    api.evaluate(api.load(spec()), "smoke", limit=2, output=path)
    with pytest.raises(UsageError, match="'select'"):
        judged_candidates(read_run(path), "check")
