"""Fitting a reward head to hidden states that stay as they are: a convex problem.

Of judged replies, logistic regression: −log P(what was judged), P = sigmoid(w·h + b). Of
preferences, Bradley–Terry (1952): −log P(chosen before rejected), P = sigmoid(w·h_chosen −
w·h_rejected). Both with a penalty on the squares of the weights, of inputs brought to mean 0 and
spread 1. The minimum is sought by at most 300 iterations of L-BFGS in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from archon.errors import UsageError
from archon.train.reward_data import ReplyDataset

_FOLDS = 4
_MAX_ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted head, and how it was chosen."""

    weight_E: Tensor
    """In float64, of the inputs as they are."""
    bias: float
    penalty: float
    fold_losses: tuple[float, ...]
    """For each penalty that was tried, the mean loss on questions that were left out; empty where
    there was no choice, or nothing to choose by."""

    def logits(self, hidden_NE: Tensor) -> Tensor:
        """(N,), in float64."""
        return hidden_NE.double() @ self.weight_E + self.bias


def outcome_loss(logit_N: Tensor, correct_N: Tensor) -> Tensor:
    """Mean cross-entropy of judgements, or of their probabilities, in nats: a scalar."""
    return functional.binary_cross_entropy_with_logits(logit_N, correct_N.to(logit_N.dtype))


def preference_loss(logit_N: Tensor, pair_P2: Tensor) -> Tensor:
    """Mean −log P(chosen before rejected) of pairs of places in ``logit_N``, in nats: a scalar."""
    return functional.softplus(logit_N[pair_P2[:, 1]] - logit_N[pair_P2[:, 0]]).mean()


def loss_of(replies: ReplyDataset) -> Callable[[Tensor], Tensor]:
    """The loss of the logits of replies, (N,)."""
    if replies.goal == "outcome":
        correct_N = torch.tensor(replies.correct)
        return lambda logit_N: outcome_loss(logit_N, correct_N.to(logit_N.device))
    pair_P2 = torch.tensor(replies.pairs)
    return lambda logit_N: preference_loss(logit_N, pair_P2.to(logit_N.device))


def fit_probe(
    hidden_NE: Tensor, replies: ReplyDataset, penalties: Sequence[float], seed: int = 0
) -> Probe:
    """The head of least loss, by the penalty that does best on questions left out of the fit.

    Where no fold can tell, as one question has all that is right or wrong, the greatest is taken.

    Parameters
    ----------
    hidden_NE
        Of each reply.

    Raises
    ------
    UsageError
        There is one question alone, or nothing that is better than another.
    """
    check_learnable(replies)
    losses = _fold_losses(hidden_NE, replies, penalties, seed) if len(penalties) > 1 else ()
    penalty = max(penalties)
    if losses:
        penalty = penalties[min(range(len(penalties)), key=losses.__getitem__)]
    weight_E, bias = _fit(hidden_NE, replies, penalty)
    return Probe(weight_E, bias, penalty, losses)


def check_learnable(replies: ReplyDataset) -> None:
    """Refuse what tells nothing.

    Raises
    ------
    UsageError
        There is one question alone; or all replies are right, or all wrong; or none is preferred.
    """
    if len(replies.questions) < 2:
        raise UsageError("to learn what is good takes replies to at least two questions")
    if _teaches(replies):
        return
    if len(set(replies.correct)) < 2:
        what = "right" if replies.correct[0] else "wrong"
        raise UsageError(f"all replies to learn from are {what}, so that they teach nothing")
    raise UsageError(
        "no question to learn from has both a right and a wrong reply, so that none teaches which "
        "is better"
    )


def _teaches(replies: ReplyDataset) -> bool:
    """Whether one of the replies is better than another."""
    return bool(replies.pairs) if replies.goal == "preference" else len(set(replies.correct)) == 2


def _fold_losses(
    hidden_NE: Tensor, replies: ReplyDataset, penalties: Sequence[float], seed: int
) -> tuple[float, ...]:
    """The mean loss of each penalty, over folds of questions; empty if none could be tried."""
    questions = replies.questions
    Random(f"folds/{seed}").shuffle(questions)
    num_folds = min(_FOLDS, len(questions))
    fold_of = {question: i % num_folds for i, question in enumerate(questions)}
    fold_N = torch.tensor([fold_of[reply.question] for reply in replies.replies])
    totals, count = [0.0] * len(penalties), 0
    for fold in range(num_folds):
        inside = replies.of(q for q in questions if fold_of[q] != fold)
        outside = replies.of(q for q in questions if fold_of[q] == fold)
        size = len(outside.pairs if outside.goal == "preference" else outside.correct)
        if not size or not _teaches(inside):
            continue
        count += size
        for i, penalty in enumerate(penalties):
            weight_E, bias = _fit(hidden_NE[fold_N != fold], inside, penalty)
            logit_N = hidden_NE[fold_N == fold].double() @ weight_E + bias
            totals[i] += size * float(loss_of(outside)(logit_N))
    return tuple(total / count for total in totals) if count else ()


def _fit(hidden_NE: Tensor, replies: ReplyDataset, penalty: float) -> tuple[Tensor, float]:
    """Weight (E,) and bias of least loss, by L-BFGS in float64."""
    x_NE = hidden_NE.double()
    mean_E, spread_E = x_NE.mean(0), x_NE.std(0, correction=0)
    spread_E = torch.where(spread_E > 1e-8 * spread_E.max(), spread_E, math.inf)
    x_NE = (x_NE - mean_E) / spread_E
    weight_E = torch.zeros(x_NE.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    loss_of_logits = loss_of(replies)
    optimizer = torch.optim.LBFGS(
        [weight_E, bias], max_iter=_MAX_ITERATIONS, tolerance_grad=1e-8, tolerance_change=1e-12,
        history_size=20, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of_logits(x_NE @ weight_E + bias) + penalty / 2 * weight_E.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    # Pairs say nothing of the bias: it stays 0, so that an average reply has the logit 0.
    own_E = weight_E.detach() / spread_E
    return own_E, float(bias.detach() - own_E @ mean_E)
