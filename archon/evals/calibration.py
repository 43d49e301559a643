"""Calibration of a verifier's threshold, from the scores and right answers of a run.

::

    archon eval MINE BENCH --split search --output runs/mine

    judged = judged_candidates(archon.read_run("runs/mine"), "check")
    print(calibrate(judged).threshold)      # for "threshold" of the node "check"

A threshold is tuned like a parameter of a search, so only the search split may be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archon.errors import UsageError
from archon.evals.journal import Entry
from archon.evals.run import Run
from archon.spec.messages import shown, suggestion


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate's score, and whether its answer is right."""

    score: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold that separates right answers from wrong ones best, and its error rates.

    It maximizes Youden's J: the share of right answers that pass minus the share of wrong ones that
    pass. Unlike accuracy, J does not reward a judge that rejects everything if most is wrong.
    """

    threshold: float
    num_right: int
    num_wrong: int
    right_passed: float
    """Share of the right answers that score at least the threshold."""
    wrong_passed: float
    auc: float
    """Probability that a right answer outscores a wrong one, ties counting one half; 0.5 means
    uninformative scores."""


def calibrate(judged: Sequence[Judged]) -> Calibration:
    """Find the best threshold: midway between the scores that it separates; of equals the lowest.

    Raises
    ------
    UsageError
        There are no right answers, or no wrong ones.
    """
    num_right = sum(j.is_right for j in judged)
    num_wrong = len(judged) - num_right
    if not num_right or not num_wrong:
        raise UsageError("calibrating a threshold needs both right and wrong answers")
    scores = sorted({j.score for j in judged}, reverse=True)
    right = dict.fromkeys(scores, 0)
    wrong = dict.fromkeys(scores, 0)
    for j in judged:
        (right if j.is_right else wrong)[j.score] += 1
    best = (0, 0, 0)  # J times both counts, right and wrong answers that pass
    threshold = scores[-1]
    right_passed = wrong_passed = doubled_wins = 0
    for i, score in enumerate(scores):
        doubled_wins += wrong[score] * (2 * right_passed + right[score])
        right_passed, wrong_passed = right_passed + right[score], wrong_passed + wrong[score]
        advantage = right_passed * num_wrong - wrong_passed * num_right
        if advantage >= best[0]:
            best = (advantage, right_passed, wrong_passed)
            following = scores[i + 1] if i + 1 < len(scores) else score
            threshold = (score + following) / 2
    return Calibration(
        threshold=threshold,
        num_right=num_right,
        num_wrong=num_wrong,
        right_passed=best[1] / num_right,
        wrong_passed=best[2] / num_wrong,
        auc=doubled_wins / (2 * num_right * num_wrong),
    )


def judged_candidates(run: Run, node: str) -> list[Judged]:
    """Return every candidate that a node of a run has scored, dropped ones included.

    Raises
    ------
    UsageError
        The run is not of the search split, or its architecture has no such node.
    StorageError
        The journal cannot be read.
    """
    split = run.description["items"]["split"]
    if split != "search":
        reason = f"the run {run.path} is of the split {shown(split)}"
        raise UsageError(f"{reason}; calibrate a threshold on a run of the split 'search'")
    nodes = run.description["specification"]["architecture"]["nodes"]
    if node not in nodes:
        raise UsageError(f"the run has no node {shown(node)}{suggestion(node, nodes)}")
    return [judged for entry in run.entries() for judged in _judged(entry, node)]


def _judged(entry: Entry, name: str) -> list[Judged]:
    trace = entry.trace
    nodes = {} if trace is None else {node["node"]: node for node in trace["nodes"]}
    if name not in nodes or nodes[name]["bypassed"]:
        return []
    is_right: dict[tuple[str, int], bool] = {}
    for writer, draws in entry.record.draws.items():
        written = [c["id"] for c in nodes[writer]["outputs"] if c["id"]["node"] == writer]
        for identity, draw in zip(written, draws, strict=True):
            is_right[writer, identity["draw"]] = draw.is_right
    judged = []
    for candidate in (*nodes[name]["outputs"], *nodes[name]["dropped"]):
        identity = (candidate["id"]["node"], candidate["id"]["draw"])
        scores = [
            annotation["value"]
            for annotation in candidate["annotations"]
            if annotation["node"] == name and annotation["kind"] == "score"
        ]
        if scores and identity in is_right:
            judged.append(Judged(scores[-1], is_right[identity]))
    return judged
