"""How good rewards are: on replies that the head has not learnt from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from archon.errors import UsageError
from archon.evals.calibration import Judged, calibrate
from archon.graph.nodes.vote import odds_of
from archon.train.reward_data import ReplyDataset

_BINS = 10


def reward_metrics(rewards: Sequence[float], replies: ReplyDataset) -> dict[str, Any]:
    """Figures of rewards in (0, 1), one a reply.

    Of judged replies: the area under the ROC curve; how often a right reply outscores a wrong one
    to the same question (``within_questions``: the area counts those to different ones, too, and
    hard questions are easily told from easy ones); and of each question's best reply by its reward
    how often it is right, beside a reply at random (``chance``) and the best that choosing could do
    (``oracle``). Where the goal was to tell what is right, so that rewards are its probabilities:
    accuracy at the threshold 0.5, the Brier score, the expected calibration error over ten bins.
    Where the replies' values are known, how often a vote of each question's replies is right: each
    with the weight 1 (``vote``), with its reward (``vote_by_score``) or with the odds of that
    (``vote_by_odds``). Of a reader's preferences: how often the chosen one has the higher reward.
    """
    if not replies.correct:
        scores = [(rewards[a], rewards[b]) for a, b in replies.pairs]
        wins = [(chosen > rejected) + (chosen == rejected) / 2 for chosen, rejected in scores]
        return {"questions": len(replies.questions), "pairs": len(wins), "accuracy": fmean(wins)}
    pairs = list(zip(rewards, replies.correct, strict=True))
    of_question: dict[str, list[tuple[float, bool]]] = {}
    for reply, pair in zip(replies.replies, pairs, strict=True):
        of_question.setdefault(reply.question, []).append(pair)
    groups = list(of_question.values())
    report = {
        "questions": len(groups),
        "replies": len(pairs),
        "right": fmean(replies.correct),
        "auc": _auc(pairs),
        "chance": fmean(fmean(is_right for _, is_right in group) for group in groups),
        "best_of_n": fmean(max(group, key=lambda pair: pair[0])[1] for group in groups),
        "within_questions": _within(groups),
        "oracle": fmean(any(is_right for _, is_right in group) for group in groups),
    }
    if replies.goal == "outcome":
        report |= {
            "accuracy": fmean((reward >= 0.5) == is_right for reward, is_right in pairs),
            "brier": fmean((reward - is_right) ** 2 for reward, is_right in pairs),
            "calibration_error": calibration_error(pairs),
        }
    if replies.values:
        report |= {
            "vote": _vote([1.0] * len(rewards), replies),
            "vote_by_score": _vote(rewards, replies),
            "vote_by_odds": _vote([odds_of(reward) for reward in rewards], replies),
        }
    return report


def _vote(weights: Sequence[float], replies: ReplyDataset) -> float:
    """The share of questions whose best supported value is right, as ``archon.graph.nodes.vote``
    has it: of equals the earlier; where no reply has a value, the first is the answer."""
    support: dict[str, dict[str | None, float]] = {}
    answer: dict[tuple[str, str | None], bool] = {}
    for i, reply in enumerate(replies.replies):
        value, of_value = replies.values[i], support.setdefault(reply.question, {})
        answer.setdefault((reply.question, value), replies.correct[i])
        of_value[value] = of_value.get(value, 0.0) + (0.0 if value is None else weights[i])
    chosen = {
        question: max(of_value, key=lambda value: (value is not None, of_value[value]))
        for question, of_value in support.items()
    }
    return fmean(answer[question, value] for question, value in chosen.items())


def calibration_error(pairs: Sequence[tuple[float, bool]]) -> float:
    """Σ over bins of probability, by their share of all: |mean probability − share that is right|.

    (Guo et al. 2017, arXiv 1706.04599.)

    >>> calibration_error([(0.75, True), (0.75, False)])
    0.25
    """
    bins: dict[int, list[tuple[float, bool]]] = {}
    for reward, is_right in pairs:
        bins.setdefault(min(math.floor(reward * _BINS), _BINS - 1), []).append((reward, is_right))
    return sum(
        abs(sum(reward - is_right for reward, is_right in found)) for found in bins.values()
    ) / len(pairs)


def _within(groups: Sequence[Sequence[tuple[float, bool]]]) -> float | None:
    """How often a right reply outscores a wrong one to the same question, ties one half."""
    wins = [
        (right > wrong) + (right == wrong) / 2
        for group in groups
        for right, is_right in group
        for wrong, is_also_right in group
        if is_right and not is_also_right
    ]
    return fmean(wins) if wins else None


def _auc(pairs: Sequence[tuple[float, bool]]) -> float | None:
    try:
        return calibrate([Judged(reward, is_right) for reward, is_right in pairs]).auc
    except UsageError:  # all are right, or all wrong
        return None
