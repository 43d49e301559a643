"""Reward heads: losses, the fit, calibration and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor

from archon.errors import UsageError
from archon.train.platt import platt_scaling
from archon.train.probe import fit_probe, head_logits, outcome_loss, preference_loss
from archon.train.reward_data import ReplyDataset, TrainingReply, split_questions, with_goal
from archon.train.reward_metrics import calibration_error, reward_metrics
from archon.types import Message

ASKED = (Message("user", "q"),)


# --------------------------------------------------------------------------------------- losses


def finite_differences(loss: Callable[[Tensor], Tensor], logit_N: Tensor) -> Tensor:
    step = 1e-6
    rows = torch.eye(len(logit_N), dtype=torch.float64) * step
    return torch.stack([(loss(logit_N + row) - loss(logit_N - row)) / (2 * step) for row in rows])


def losses() -> dict[str, Callable[[Tensor], Tensor]]:
    correct_N = torch.tensor([True, False, True, True, False])
    pair_P2 = torch.tensor([[0, 1], [2, 1], [3, 4]])
    return {
        "outcome": lambda logit_N: outcome_loss(logit_N, correct_N),
        "preference": lambda logit_N: preference_loss(logit_N, pair_P2),
    }


@pytest.mark.parametrize("name", losses())
@pytest.mark.parametrize("size", [0.1, 1.0, 20.0])
def test_gradients_equal_finite_differences(name: str, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logit_N = size * torch.randn(5, dtype=torch.float64, generator=generator)
    loss = losses()[name]
    asked = logit_N.clone().requires_grad_()
    loss(asked).backward()
    torch.testing.assert_close(asked.grad, finite_differences(loss, logit_N), atol=1e-8, rtol=1e-6)


def test_losses_equal_the_mean_negative_log_likelihood() -> None:
    logit_N = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    p = [1 / (1 + math.exp(-x)) for x in logit_N.tolist()]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2])) / 3
    found = outcome_loss(logit_N, torch.tensor([True, False, True]))
    assert float(found) == pytest.approx(expected)
    strengths = [math.exp(x) for x in logit_N.tolist()]
    expected = -math.log(strengths[2] / (strengths[2] + strengths[1]))
    found = preference_loss(logit_N, torch.tensor([[2, 1]]))
    assert float(found) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------- probe


def toy(num_questions: int = 60, width: int = 12, seed: int = 0) -> tuple[Tensor, ReplyDataset]:
    """Return hidden states and replies, which are right on one side of a hyperplane."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(width, generator=generator)
    hidden = torch.randn(4 * num_questions, width, generator=generator)
    score = hidden @ direction
    hidden = hidden * torch.linspace(0.1, 30, width) + 100
    replies = tuple(TrainingReply(str(i // 4), ASKED, str(i)) for i in range(len(score)))
    return hidden, ReplyDataset("outcome", replies, tuple((score > 0).tolist()))


@pytest.mark.parametrize("goal", ["outcome", "preference"])
def test_a_probe_separates_replies_to_held_out_questions(goal: str) -> None:
    hidden, replies = toy()
    learned, held_out = split_questions(replies.questions, 0.25, 0)
    assert not set(learned) & set(held_out)
    assert sorted(learned + held_out) == sorted(replies.questions)
    if goal == "preference":
        replies = with_goal(replies, "preference", 0)
    of = [reply.question for reply in replies.replies]
    learn, held = replies.subset(learned), replies.subset(held_out)
    probe = fit_probe(hidden[[q in learned for q in of]], learn, [1e-4, 1e-2, 10.0])
    assert probe.penalty < 10
    held_NE = hidden[[q in held_out for q in of]]
    report = reward_metrics(
        head_logits(held_NE, probe.weight_E, probe.bias).sigmoid().tolist(), held
    )
    if goal == "outcome":
        assert report["accuracy"] > 0.95
    assert report["auc"] > 0.95
    assert report["within_questions"] > 0.95
    if goal == "preference":
        mean = head_logits(hidden[[q in learned for q in of]], probe.weight_E, probe.bias).mean()
        assert abs(float(mean)) < 1e-6  # an average reply has the reward 0.5


def test_the_gradient_is_0_at_a_fitted_probe() -> None:
    hidden, replies = toy(20)
    probe = fit_probe(hidden, replies, [0.05])
    spread = hidden.double().std(0, correction=0)
    weight = probe.weight_E.clone().requires_grad_()
    bias = torch.tensor(probe.bias, dtype=torch.float64, requires_grad=True)
    logit_N = hidden.double() @ weight + bias
    loss = outcome_loss(logit_N, torch.tensor(replies.correct))
    (loss + 0.05 / 2 * (weight * spread).square().sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float((weight.grad / spread).abs().max()) < 1e-4
    assert abs(float(bias.grad)) < 1e-5


def test_a_constant_channel_gets_no_weight() -> None:
    hidden, replies = toy(20)
    hidden[:, 3] = 7.0
    probe = fit_probe(hidden, replies, [0.01])
    assert probe.weight_E[3] == 0
    assert probe.weight_E.isfinite().all()


def test_noise_is_not_learned() -> None:
    hidden, replies = toy(40, width=100)
    shuffled = Random(0).sample(replies.correct, len(replies.correct))
    noise = ReplyDataset("outcome", replies.replies, tuple(shuffled))
    probe = fit_probe(hidden, noise, [1e-4, 1e-2, 1.0, 100.0])
    assert probe.penalty >= 1
    assert len(probe.fold_losses) == 4


def test_the_greatest_penalty_is_used_if_no_fold_can_be_measured() -> None:
    replies = tuple(TrainingReply(question, ASKED, "") for question in "aabb")
    known = ReplyDataset("outcome", replies, (True, True, False, False))
    probe = fit_probe(torch.randn(4, 3), known, [0.01, 10.0, 0.1])
    assert (probe.penalty, probe.fold_losses) == (10.0, ())


def test_a_fold_without_a_pair_is_skipped() -> None:
    replies = tuple(TrainingReply(question, ASKED, "") for question in "aabbccdd")
    correct = (True, False, True, True, False, False, True, False)
    known = with_goal(ReplyDataset("outcome", replies, correct), "preference", 0)
    assert known.pairs == ((0, 1), (6, 7))
    probe = fit_probe(torch.randn(8, 3), known, [0.01, 0.1])
    assert len(probe.fold_losses) == 2
    assert all(map(math.isfinite, probe.fold_losses))


def test_preferences_without_a_pair_are_rejected() -> None:
    replies = tuple(TrainingReply(question, ASKED, "") for question in "aabb")
    known = with_goal(ReplyDataset("outcome", replies, (True, True, False, False)), "preference", 0)
    with pytest.raises(UsageError, match="has both a right and a wrong reply"):
        fit_probe(torch.randn(4, 3), known, [0.1])


@pytest.mark.parametrize(
    ("correct", "questions", "reason"),
    [
        ((True, True), "ab", "all replies in the training data are right"),
        ((False, False), "ab", "are wrong; a reward model needs both"),
        ((True, False), "aa", "requires replies to at least two questions"),
    ],
)
def test_replies_without_contrast_are_rejected(
    correct: tuple[bool, ...], questions: str, reason: str
) -> None:
    replies = ReplyDataset(
        "outcome", tuple(TrainingReply(q, ASKED, "") for q in questions), correct
    )
    with pytest.raises(UsageError, match=reason):
        fit_probe(torch.randn(2, 3), replies, [0.1])


# ----------------------------------------------------------------------------------------- platt


@pytest.mark.parametrize(("slope", "bias"), [(3.0, 0.0), (0.5, 2.0)])
def test_platt_scaling_calibrates_probabilities(slope: float, bias: float) -> None:
    rng = Random(0)
    true = [rng.gauss(0, 2) for _ in range(4000)]
    correct = [rng.random() < 1 / (1 + math.exp(-logit)) for logit in true]
    logit_N = slope * torch.tensor(true, dtype=torch.float64) + bias
    found, shift = platt_scaling(logit_N, correct)
    assert found == pytest.approx(1 / slope, rel=0.1)
    assert shift == pytest.approx(-bias / slope, abs=0.15)
    gap_N = (found * logit_N + shift).sigmoid() - torch.tensor(correct).double()
    assert abs(float(gap_N.mean())) < 1e-3
    assert abs(float((gap_N * logit_N).mean())) < 1e-2


def test_separable_logits_have_a_finite_slope() -> None:
    slope, _ = platt_scaling(torch.tensor([-1.0, -0.5, 0.5, 1.0]), [False, False, True, True])
    assert 0 < slope < 20


@pytest.mark.parametrize("correct", [[True, True], [False, False], [True, False]])
def test_logits_are_unchanged_if_no_scaling_can_be_fitted(correct: list[bool]) -> None:
    assert platt_scaling(torch.tensor([-1.0, 1.0]), correct) == (1.0, 0.0)


# --------------------------------------------------------------------------------------- report


def test_metrics_of_judged_replies() -> None:
    replies = tuple(TrainingReply(q, ASKED, "") for q in "aabbcc")
    known = ReplyDataset("outcome", replies, (True, False, True, False, False, False))
    found = reward_metrics([0.9, 0.1, 0.3, 0.4, 0.6, 0.2], known)
    assert found == {
        "questions": 3, "replies": 6, "right": 2 / 6, "accuracy": 4 / 6,
        "auc": pytest.approx((4 + 2) / 8),
        "brier": pytest.approx((0.01 + 0.01 + 0.49 + 0.16 + 0.36 + 0.04) / 6),
        "calibration_error": pytest.approx(calibration_error(
            list(zip([0.9, 0.1, 0.3, 0.4, 0.6, 0.2], known.correct, strict=True)))),
        "chance": pytest.approx(1 / 3), "best_of_n": pytest.approx(1 / 3),
        "within_questions": 0.5, "oracle": pytest.approx(2 / 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("questions", "values", "correct", "vote", "weighted"),
    [
        # Two wrong replies outvote the right one, whose reward is greater than both together.
        ("aaa", ["5", "4", "4"], [True, False, False], 0, 1),
        # Of equally supported values, the earlier one wins.
        ("aab", ["4", "5", "9"], [False, True, True], 1 / 2, 1 / 2),
        # Replies without a value have no vote; if no reply has one, the first is the answer.
        ("aaabb", [None, None, "5", None, None], [False, False, True, True, False], 1, 1),
    ],
)
def test_metrics_of_plain_and_weighted_votes(
    questions: str, values: list[str | None], correct: list[bool], vote: float, weighted: float
) -> None:
    replies = tuple(TrainingReply(question, ASKED, "") for question in questions)
    known = ReplyDataset("outcome", replies, tuple(correct), values=tuple(values))
    rewards = [0.9, 0.4, 0.4, 0.4, 0.4][: len(values)]
    report = reward_metrics(rewards, known)
    assert (report["vote"], report["vote_by_score"]) == (vote, weighted)


def test_metrics_of_votes_by_odds_and_of_preferences() -> None:
    replies = tuple(TrainingReply("a", ASKED, "") for _ in range(4))
    values = ("5", "4", "4", "4")
    known = ReplyDataset("outcome", replies, (True, False, False, False), values=values)
    rewards = [0.9, 0.6, 0.6, 0.6]  # sums of rewards: 0.9 and 1.8; of odds: 9 and 4.5
    report = reward_metrics(rewards, known)
    assert [report[f"vote{by}"] for by in ("", "_by_score", "_by_odds")] == [0, 0, 1]
    compared = reward_metrics(rewards, with_goal(known, "preference", 0))
    assert report.items() >= compared.items()
    assert set(report) - set(compared) == {"accuracy", "brier", "calibration_error"}


def test_calibrated_probabilities_have_no_calibration_error() -> None:
    pairs = [(0.25, i == 0) for i in range(4)] + [(0.75, i != 0) for i in range(4)]
    assert calibration_error(pairs) == 0
    assert calibration_error([(0.95, False)]) == pytest.approx(0.95)
    assert calibration_error([(1.0, True), (0.0, False)]) == 0
