"""Fit a linear probe, which is a reward head on the hidden states of a frozen model.

For judged replies, the loss is the logistic regression loss, −log P(judgement), where P(right) =
sigmoid(w·h + b). For preferences, it is the loss of Bradley and Terry (1952), −log P(chosen ≻
rejected), where P = sigmoid(w·h_chosen − w·h_rejected). In both cases, penalty / 2 · |w|² is added,
and the inputs are standardised to mean 0 and standard deviation 1. Both problems are convex. The
minimum is found by at most 300 iterations of L-BFGS in float64.

Shape suffixes: N replies, E width of the hidden states, P pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from archon.errors import UsageError
from archon.train.reward_data import ReplyDataset

_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted head, with its penalty, and the losses by which the penalty was chosen."""

    weight_E: Tensor
    """Weight in float64, for inputs that are not standardised."""
    bias: float
    penalty: float
    fold_losses: tuple[float, ...]
    """Penalty → cross-validated loss; empty if there was only one penalty, or if no fold could be
    evaluated."""


def head_logits(hidden_NE: Tensor, weight_E: Tensor, bias: float) -> Tensor:
    """Return a head's logits for these hidden states, (N,), computed in float64."""
    return hidden_NE.double() @ weight_E.double() + bias


def outcome_loss(logit_N: Tensor, correct_N: Tensor) -> Tensor:
    """Return the mean cross-entropy of judgements, a scalar in nats.

    Parameters
    ----------
    correct_N
        1 or True for each right reply, 0 or False for each wrong one; or probabilities.
    """
    return functional.binary_cross_entropy_with_logits(logit_N, correct_N.to(logit_N.dtype))


def preference_loss(logit_N: Tensor, pair_P2: Tensor) -> Tensor:
    """Return the mean of −log P(chosen ≻ rejected) over pairs, a scalar in nats.

    Parameters
    ----------
    pair_P2
        Indices of the chosen and the rejected reply in ``logit_N``.
    """
    return functional.softplus(logit_N[pair_P2[:, 1]] - logit_N[pair_P2[:, 0]]).mean()


def loss_of(replies: ReplyDataset) -> Callable[[Tensor], Tensor]:
    """Return the loss function for the replies' goal; it maps logits, (N,), to a scalar."""
    if replies.goal == "outcome":
        correct_N = torch.tensor(replies.correct)
        return lambda logit_N: outcome_loss(logit_N, correct_N.to(logit_N.device))
    pair_P2 = torch.tensor(replies.pairs)
    return lambda logit_N: preference_loss(logit_N, pair_P2.to(logit_N.device))


def fit_probe(
    hidden_NE: Tensor, replies: ReplyDataset, penalties: Sequence[float], seed: int = 0
) -> Probe:
    """Fit a head with the penalty that has the lowest cross-validated loss.

    All replies to a question are in the same fold. If no fold can be evaluated, for example because
    all right replies answer the same question, the greatest penalty is used.

    Parameters
    ----------
    hidden_NE
        Hidden state of each reply.
    penalties
        Penalties to choose from.

    Raises
    ------
    UsageError
        No head can learn from the replies (``check_learnable``).
    """
    check_learnable(replies)
    losses = _fold_losses(hidden_NE, replies, penalties, seed) if len(penalties) > 1 else ()
    penalty = max(penalties)
    if losses:
        penalty = penalties[min(range(len(penalties)), key=losses.__getitem__)]
    weight_E, bias = _fit(hidden_NE, replies, penalty)
    return Probe(weight_E, bias, penalty, losses)


def check_learnable(replies: ReplyDataset) -> None:
    """Check that a head can learn from these replies.

    Raises
    ------
    UsageError
        There are fewer than two questions. Or all replies are right, or all are wrong. Or no reply
        is preferred to another.
    """
    if len(replies.questions) < 2:
        raise UsageError(
            "training a reward model requires replies to at least two questions, not "
            f"{len(replies.questions)}"
        )
    if _has_contrast(replies):
        return
    if len(set(replies.correct)) < 2:
        judgement = "right" if replies.correct[0] else "wrong"
        raise UsageError(
            f"all replies in the training data are {judgement}; a reward model needs both right "
            "and wrong replies"
        )
    raise UsageError(
        "no question in the training data has both a right and a wrong reply, so there are no "
        "preferences to learn from"
    )


def _has_contrast(replies: ReplyDataset) -> bool:
    """Return whether at least one reply is better than another."""
    return bool(replies.pairs) if replies.goal == "preference" else len(set(replies.correct)) == 2


def _fold_losses(
    hidden_NE: Tensor, replies: ReplyDataset, penalties: Sequence[float], seed: int
) -> tuple[float, ...]:
    """Return penalty → cross-validated loss; empty if no fold could be evaluated."""
    questions = replies.questions
    Random(f"folds/{seed}").shuffle(questions)
    num_folds = min(_FOLDS, len(questions))
    fold_of = {question: i % num_folds for i, question in enumerate(questions)}
    fold_N = torch.tensor([fold_of[reply.question] for reply in replies.replies])
    totals, count = [0.0] * len(penalties), 0
    for fold in range(num_folds):
        learned = replies.subset(q for q in questions if fold_of[q] != fold)
        tested = replies.subset(q for q in questions if fold_of[q] == fold)
        size = len(tested.pairs if tested.goal == "preference" else tested.correct)
        if not size or not _has_contrast(learned):
            continue
        count += size
        for i, penalty in enumerate(penalties):
            weight_E, bias = _fit(hidden_NE[fold_N != fold], learned, penalty)
            logit_N = head_logits(hidden_NE[fold_N == fold], weight_E, bias)
            totals[i] += size * float(loss_of(tested)(logit_N))
    return tuple(total / count for total in totals) if count else ()


def _fit(hidden_NE: Tensor, replies: ReplyDataset, penalty: float) -> tuple[Tensor, float]:
    """Return the weight, (E,), and the bias that minimize the loss, in float64."""
    x_NE = hidden_NE.double()
    mean_E, deviation_E = x_NE.mean(0), x_NE.std(0, correction=0)
    # Inputs that are constant up to rounding become 0, and so get no weight.
    deviation_E = torch.where(deviation_E > 1e-8 * deviation_E.max(), deviation_E, math.inf)
    x_NE = (x_NE - mean_E) / deviation_E
    weight_E = torch.zeros(x_NE.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    loss_of_logits = loss_of(replies)
    minimize(
        lambda: loss_of_logits(x_NE @ weight_E + bias) + penalty / 2 * weight_E.square().sum(),
        [weight_E, bias], max_iter=300, tolerance_grad=1e-8, history_size=20,
    )  # fmt: skip
    # Preferences do not depend on the bias. It stays 0, so that an average reply has the logit 0.
    unscaled_E = weight_E.detach() / deviation_E
    return unscaled_E, float(bias.detach() - unscaled_E @ mean_E)


def minimize(loss: Callable[[], Tensor], parameters: list[Tensor], **options: Any) -> None:
    """Change parameters in place to minimize a loss, by L-BFGS with a strong-Wolfe line search.

    Parameters
    ----------
    loss
        Function that computes the loss, a scalar, of the parameters' current values.
    options
        Options of ``torch.optim.LBFGS``.
    """
    optimizer = torch.optim.LBFGS(
        parameters, tolerance_change=1e-12, line_search_fn="strong_wolfe", **options
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
