"""Measure the quality of rewards on held-out replies."""

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
    """Return metrics of the quality of rewards.

    Parameters
    ----------
    rewards
        Reward of each reply, in (0, 1).

    Returns
    -------
    For compared replies: ``accuracy``, how often the chosen reply has the higher reward.

    For judged replies:

    - ``right``: share of right replies;
    - ``auc``: area under the ROC curve over all replies;
    - ``within_questions``: how often a right reply has a higher reward than a wrong one to the same
      question. (The ROC curve also compares replies to different questions, some of which are
      easier.)
    - ``best_of_n``: how often the reply with the highest reward of a question is right. For
      comparison, ``chance`` is how often a random reply is right, and ``oracle`` how often at least
      one reply is right.

    For the ``outcome`` goal, whose rewards are probabilities, also: ``accuracy`` at the threshold
    0.5, ``brier`` (Brier score) and ``calibration_error``.

    If the replies' values are known, also how often a vote over a question's replies is right:
    ``vote`` with equal weights, ``vote_by_score`` with the rewards as weights, ``vote_by_odds``
    with the odds of the rewards.
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
    """Return the share of questions whose most supported value is right.

    The rules are the same as in ``archon.graph.nodes.vote``: of two equally supported values, the
    earlier one wins, and the first reply is the answer if no reply has a value.
    """
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
    """Return the expected calibration error over ten bins of probability.

    Σ_b (n_b / n) · |mean probability in bin b − share of right replies in bin b| (Guo et al. 2017,
    arXiv 1706.04599).

    Parameters
    ----------
    pairs
        (probability, whether it is right) for each reply.

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
    """Return how often a right reply has a higher reward than a wrong one in its group.

    Ties count one half. Return None if there are no such pairs.
    """
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
    except UsageError:  # all replies are right, or all are wrong
        return None
