"""Take steps of PPO (Schulman et al. 2017, arXiv 1707.06347) or GRPO (Shao et al. 2024, arXiv
2402.03300), from replies and their rewards.

The learner recomputes the log-probabilities of the replies in the trainer's precision. They differ
from the log-probabilities of the engine that sampled the replies, especially if the engine runs in
int8. The loss of each token is therefore weighted by the ratio of the two probabilities
(``policy_loss.importance_weights``).

Shape suffixes: P prompts of a step, G replies to each, T tokens of a reply, N tokens of several
replies, E width of the hidden states.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, TypeVar

import torch
from torch import Tensor

from archon.errors import UsageError
from archon.spec.training import GRPOSpec, PPOSpec
from archon.train.decoder import TrainableDecoder
from archon.train.logprobs import LogprobComputer, ReplyLogprobs
from archon.train.optimization import LossPart, Optimization, schedule_of
from archon.train.packing import PackedBatch
from archon.train.rl.advantages import generalised_advantages, group_advantages, whitened
from archon.train.rl.policy_loss import (
    importance_weights,
    kl_estimates,
    policy_losses,
    value_losses,
)
from archon.train.rl.rollouts import Rollout
from archon.train.rl.value_head import ValueHead

_CRITIC = "critic/"


@dataclass(frozen=True, slots=True)
class Experience:
    """Training data for the policy from one reply of T tokens."""

    rollout: Rollout
    old_T: Tensor
    """Log-probabilities under the weights at the beginning of the step."""
    weight_T: Tensor
    """Importance weights."""
    advantage_T: Tensor
    reference_T: Tensor | None
    """Log-probabilities under the weights at the beginning of training; None if ``kl_coefficient``
    is 0."""


@dataclass(frozen=True, slots=True)
class _ValueTarget:
    """Training data for the value head from one reply of T tokens."""

    hidden_TE: Tensor
    value_T: Tensor
    """Values at the beginning of the step."""
    return_T: Tensor


class Learner:
    """Trains a decoder on rewards; each step makes its better replies likelier.

    Parameters
    ----------
    model
        The decoder, whose parameters that require gradients are trained. Their initial values are
        the reference for the divergence that ``kl_coefficient`` penalises.
    """

    def __init__(
        self, model: TrainableDecoder, spec: GRPOSpec | PPOSpec, device: torch.device
    ) -> None:
        self.model, self.spec = model.to(device), spec
        model.checkpoints = spec.checkpoint_layers
        self._updates_once = spec.epochs == spec.minibatches == 1
        self.policy = Optimization(model, schedule_of(spec))
        self.critic: Optimization | None = None
        if isinstance(spec, PPOSpec):
            self.value_head = ValueHead(model.config.width, spec.seed).to(device)
            self.critic = Optimization(self.value_head, schedule_of(spec, spec.value_learning_rate))
        self.computer = LogprobComputer(
            model, spec, device, spec.temperature, keeps_hidden=self.critic is not None
        )
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._trained = trained if spec.kl_coefficient else {}
        self._reference = {name: p.detach().clone() for name, p in self._trained.items()}

    def learn(
        self, step: int, groups: Sequence[Sequence[Rollout]], reward_PG: Tensor
    ) -> dict[str, float]:
        """Take one step; return its metrics by name.

        Parameters
        ----------
        groups
            G replies to each of P prompts.
        reward_PG
            Reward of each reply.

        Raises
        ------
        UsageError
            A metric is not finite.
        """
        spec = self.spec
        self.model.eval()
        rollouts = [rollout for group in groups for rollout in group]
        old, reference = self.computer.compute(rollouts), {}
        if self._reference:
            with self._reference_weights():
                reference = self.computer.compute(rollouts)
        advantages, targets = self._advantages(rollouts, reward_PG, old, reference)
        old_N = torch.cat([old[rollout].logprob_T for rollout in rollouts])
        engine_N = torch.tensor([p for rollout in rollouts for p in rollout.logprobs]).to(old_N)
        weight_N = importance_weights(old_N, engine_N, spec.importance_cap)
        weights = weight_N.split([len(rollout.logprobs) for rollout in rollouts])
        experiences = [
            Experience(
                rollout=r,
                old_T=old[r].logprob_T,
                weight_T=weight_T,
                advantage_T=advantages[r],
                reference_T=reference[r].logprob_T if reference else None,
            )
            for r, weight_T in zip(rollouts, weights, strict=True)
        ]
        metrics = _metrics(experiences, reward_PG, old)
        metrics["engine_difference"] = (old_N - engine_N).abs().mean().item()
        # A reply whose advantages are 0 has no gradient, except that of the divergence from a
        # reference. If all replies are like this, the policy is not updated, since AdamW would turn
        # a gradient of mere rounding errors into a full step.
        useful = [e for e in experiences if bool(e.advantage_T.any())]
        if useful and self._reference:
            useful = experiences
        metrics |= self._update(step, useful, sum(len(e.old_T) for e in experiences), targets)
        if not all(map(math.isfinite, metrics.values())):
            raise UsageError(
                f"a metric of step {step + 1} is infinite or NaN, so training cannot continue; "
                "choose a smaller learning_rate"
            )
        return metrics

    # ------------------------------------------------------------------------------- resuming

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the trained parameters with their moments, and the loss of each update."""
        tensors, curves = self.policy.state(), {"policy": self.policy.curve}
        if self.critic is not None:
            tensors |= {_CRITIC + name: t for name, t in self.critic.state().items()}
            curves["critic"] = self.critic.curve
        return tensors, curves

    def restore(self, tensors: Mapping[str, Tensor], curves: Mapping[str, Any]) -> None:
        """Resume from a saved state."""
        self.policy.restore(tensors, curves["policy"])
        if self.critic is not None:
            own = {n.removeprefix(_CRITIC): t for n, t in tensors.items() if n.startswith(_CRITIC)}
            self.critic.restore(own, curves["critic"])

    # ----------------------------------------------------------------------------- advantages

    @contextmanager
    def _reference_weights(self) -> Iterator[None]:
        """In the block, use the weights from the start of training, not the trained weights."""
        current = {name: parameter.data for name, parameter in self._trained.items()}
        for name, parameter in self._trained.items():
            parameter.data = self._reference[name]
        try:
            yield
        finally:
            for name, parameter in self._trained.items():
                parameter.data = current[name]

    def _advantages(
        self,
        rollouts: Sequence[Rollout],
        reward_PG: Tensor,
        old: Mapping[Rollout, ReplyLogprobs],
        reference: Mapping[Rollout, ReplyLogprobs],
    ) -> tuple[dict[Rollout, Tensor], list[_ValueTarget]]:
        """Return the advantages of each reply's tokens, and training data for the value head.

        For GRPO, which uses no value head, the training data is empty.
        """
        spec, advantages = self.spec, {}
        if not isinstance(spec, PPOSpec):
            values = group_advantages(reward_PG, spec.divide_by_deviation).flatten().tolist()
            for rollout, value in zip(rollouts, values, strict=True):
                advantages[rollout] = torch.full_like(old[rollout].logprob_T, value)
            return advantages, []
        targets = []
        for rollout, reward in zip(rollouts, reward_PG.flatten().tolist(), strict=True):
            logprob_T, hidden_TE = old[rollout].logprob_T, old[rollout].hidden_TE
            # Each token is penalised for its divergence from the reference (Ziegler et al. 2019,
            # arXiv 1909.08593).
            reward_T = torch.zeros_like(logprob_T)
            if reference:
                reward_T -= spec.kl_coefficient * (logprob_T - reference[rollout].logprob_T)
            reward_T[-1] += reward
            with torch.no_grad():
                value_T = self.value_head(hidden_TE)
            advantages[rollout], return_T = generalised_advantages(
                reward_T, value_T, spec.gamma, spec.gae_lambda
            )
            targets.append(_ValueTarget(hidden_TE, value_T, return_T))
        white = whitened(torch.cat(list(advantages.values())))
        parts = white.split([len(advantage) for advantage in advantages.values()])
        return dict(zip(advantages, parts, strict=True)), targets

    # -------------------------------------------------------------------------------- updates

    def _update(
        self, step: int, useful: list[Experience], num_tokens: int, targets: list[_ValueTarget]
    ) -> dict[str, float]:
        """Make all updates of one step; return the mean losses by name.

        Parameters
        ----------
        useful
            Training data from the replies that have a gradient.
        num_tokens
            Number of tokens in all replies of the step.
        targets
            Training data for the value head.
        """
        spec, losses, critic_losses = self.spec, [], []
        for epoch in range(spec.epochs):
            random = Random(f"minibatches/{spec.seed}/{step}/{epoch}")
            losses += [
                self.policy.step(self._parts(minibatch, num_tokens), step)
                for minibatch in _minibatches(useful, spec.minibatches, random)
            ]
            for minibatch in _minibatches(targets, spec.minibatches, random):
                assert self.critic is not None
                loss = partial(self._value_loss, minibatch)
                critic_losses.append(self.critic.step([loss], step))
        metrics = {"loss": sum(losses) / max(len(losses), 1)}
        if critic_losses:
            metrics["value_loss"] = sum(critic_losses) / len(critic_losses)
        return metrics

    def _parts(self, experiences: list[Experience], num_tokens: int) -> list[LossPart]:
        """Return the parts of one update's loss; every token of the step has the same weight."""
        experience_of = {e.rollout: e for e in experiences}
        tokens_per_update = num_tokens / self.spec.minibatches
        return [
            partial(
                self.policy_loss, [experience_of[r] for r in rollouts], batch, tokens_per_update
            )
            for rollouts, batch in self.computer.batches(list(experience_of))
        ]

    def policy_loss(
        self, experiences: Sequence[Experience], batch: PackedBatch, num_tokens: float
    ) -> Tensor:
        """Return the policy's loss on a batch, a scalar.

        It is the sum over the batch's N tokens, divided by ``num_tokens``. GRPO adds
        ``kl_coefficient`` · KL(policy ‖ reference) (``kl_estimates``); for PPO the divergence is
        part of the rewards.

        Parameters
        ----------
        experiences
            Training data for each reply in the batch, in the same order.
        """
        new_N = self.computer.logprobs(batch)
        # If a step has only one update, the weights are still the old ones, so the ratio is exactly
        # 1. The stored log-probabilities were computed with the replies in other rows, so they
        # differ by rounding.
        old_N = new_N.detach() if self._updates_once else torch.cat([e.old_T for e in experiences])
        weight_N = torch.cat([e.weight_T for e in experiences])
        advantage_N = torch.cat([e.advantage_T for e in experiences])
        losses_N = policy_losses(new_N, old_N, advantage_N, self.spec.clip, weight_N)
        references = [e.reference_T for e in experiences if e.reference_T is not None]
        if references and not isinstance(self.spec, PPOSpec):
            # The estimate is for tokens sampled by the policy. The engine's distribution differs
            # slightly, which the weights correct.
            kl_N = kl_estimates(new_N, torch.cat(references))
            losses_N = losses_N + self.spec.kl_coefficient * weight_N * kl_N
        return losses_N.sum() / num_tokens

    def _value_loss(self, targets: Sequence[_ValueTarget]) -> Tensor:
        assert isinstance(self.spec, PPOSpec)
        value_N = self.value_head(torch.cat([target.hidden_TE for target in targets]))
        old_N = torch.cat([target.value_T for target in targets])
        return_N = torch.cat([target.return_T for target in targets])
        return value_losses(value_N, old_N, return_N, self.spec.value_clip).mean()


_T = TypeVar("_T")


def _minibatches(items: list[_T], count: int, random: Random) -> Iterator[list[_T]]:
    """Split items at random into at most ``count`` non-empty minibatches of nearly equal size."""
    order = random.sample(items, len(items))
    return (order[k::count] for k in range(min(count, len(order))))


def _metrics(
    experiences: Sequence[Experience], reward_PG: Tensor, old: Mapping[Rollout, ReplyLogprobs]
) -> dict[str, float]:
    """Return metrics of a step's replies, by name."""
    rollouts = [e.rollout for e in experiences]
    differs = (reward_PG != reward_PG[:, :1]).any(1)
    metrics = {
        "reward": reward_PG.mean(),
        "groups_that_differ": differs.float().mean(),
        "entropy": torch.cat([old[rollout].entropy_T for rollout in rollouts]).mean(),
        "importance": torch.cat([e.weight_T for e in experiences]).mean(),
        "tokens": torch.tensor([float(len(r.reply_ids)) for r in rollouts]).mean(),
        "ended": torch.tensor([float(r.is_ended) for r in rollouts]).mean(),
    }
    references = [e.reference_T for e in experiences if e.reference_T is not None]
    if references:
        old_N = torch.cat([e.old_T for e in experiences])
        weight_N = torch.cat([e.weight_T for e in experiences])
        metrics["kl"] = (weight_N * kl_estimates(old_N, torch.cat(references))).mean()
    return {name: value.item() for name, value in metrics.items()}
