"""Calibrate a verifier's threshold from a run in which it scored right and wrong answers.

::

    archon eval MINE BENCH --split search --output runs/mine

    judged = judged_candidates(archon.read_run("runs/mine"), "check")
    print(calibrate(judged).threshold)      # the "threshold" of the node "check"

Choosing a threshold is a form of search, so only the *search* split may be used.
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
    """A verifier's score of one candidate, and whether the candidate's answer is right."""

    score: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold that best separates right and wrong answers, and its error rates.

    It maximizes Youden's J, which is the share of right answers that pass minus the share of wrong
    answers that pass. Unlike accuracy, J does not reward a verifier that rejects every answer
    because most answers are wrong.
    """

    threshold: float
    num_right: int
    num_wrong: int
    right_passed: float
    """Share of the right answers whose score is at least the threshold."""
    wrong_passed: float
    """Share of the wrong answers whose score is at least the threshold."""
    auc: float
    """Probability that a right answer has a higher score than a wrong one, where a tie counts one
    half. 0.5 means that the scores are uninformative."""


def calibrate(judged: Sequence[Judged]) -> Calibration:
    """Find the best threshold for these candidates.

    The threshold is midway between the two scores that it separates. If several thresholds are
    equally good, the lowest is used.

    Raises
    ------
    UsageError
        No answer is right, or no answer is wrong.
    """
    num_right = sum(j.is_right for j in judged)
    num_wrong = len(judged) - num_right
    if not num_right or not num_wrong:
        reason = "to calibrate a threshold, a run must have both right and wrong answers"
        raise UsageError(f"{reason}; it has {num_right} right and {num_wrong} wrong ones")
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
    """Return every candidate that a node of a run has scored, including those that it dropped.

    Raises
    ------
    UsageError
        The run used a split other than *search*, or its architecture has no node with this name.
    StorageError
        The journal cannot be read.
    """
    split = run.description["items"]["split"]
    if split != "search":
        reason = f"the run {run.path} used the split {shown(split)}"
        raise UsageError(f"{reason}; calibrate a threshold on a run with the 'search' split")
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
