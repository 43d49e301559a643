"""Learner: one step of PPO, or of its group variant, from replies and their rewards.

The likelihoods that a step starts from are computed again here, in the trainer's own precision.
They differ from those of the engine that sampled, above all under int8. So each token's share of
the gradient is weighted by how much likelier the trainer finds it than the engine did
(``policy_loss.importance_weights``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from torch import Tensor

from archon.errors import UsageError
from archon.spec.training import GRPOSpec, PPOSpec
from archon.train.decoder import TrainableDecoder
from archon.train.logprobs import LogprobReader, ReplyLogprobs
from archon.train.optimization import Optimization, schedule_of
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
    """What the policy learns from one reply of T tokens."""

    rollout: Rollout
    old_T: Tensor
    """Log-probabilities under the weights at the beginning of the step."""
    weight_T: Tensor
    advantage_T: Tensor
    reference_T: Tensor | None


@dataclass(frozen=True, slots=True)
class _ValueTarget:
    """What the value head learns from one reply."""

    hidden_TE: Tensor
    value_T: Tensor
    return_T: Tensor


class Learner:
    """A decoder whose better replies become likelier.

    Parameters
    ----------
    model
        Of its parameters those that ask for gradients are trained. As they are now, they are the
        reference that ``kl_coefficient`` holds it to.
    """

    def __init__(
        self, model: TrainableDecoder, spec: GRPOSpec | PPOSpec, device: torch.device
    ) -> None:
        self.model, self.spec = model.to(device), spec
        model.checkpoints = spec.checkpoint_layers
        self._updates_once = spec.epochs == spec.minibatches == 1

        # Of steps of learning: some of their updates, or all, may have nothing to learn from.
        self.policy = Optimization(model, schedule_of(spec))
        self.critic: Optimization | None = None
        if isinstance(spec, PPOSpec):
            self.value_head = ValueHead(model.config.width, spec.seed).to(device)
            self.critic = Optimization(self.value_head, schedule_of(spec, spec.value_learning_rate))
        self.reader = LogprobReader(model, spec, device, spec.temperature, self.critic is not None)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._trained = trained if spec.kl_coefficient else {}
        self._reference = {name: p.detach().clone() for name, p in self._trained.items()}

    def learn(
        self, step: int, groups: Sequence[Sequence[Rollout]], reward_PG: Tensor
    ) -> dict[str, float]:
        """Take one step; returns its figures by name.

        Parameters
        ----------
        groups
            G replies to each of P prompts.
        reward_PG
            Of each.

        Raises
        ------
        UsageError
            A figure is not finite.
        """
        spec = self.spec
        self.model.eval()
        rollouts = [rollout for group in groups for rollout in group]
        old, reference = self.reader.read(rollouts), None
        if self._reference:
            with self._as_at_the_beginning():
                reference = self.reader.read(rollouts)
        advantages, targets = self._judge(rollouts, reward_PG, old, reference)
        old_N = torch.cat([old[rollout].logprob_T for rollout in rollouts])
        engine_N = torch.tensor([p for rollout in rollouts for p in rollout.logprobs]).to(old_N)
        weight_N = importance_weights(old_N, engine_N, spec.importance_cap)
        weights = weight_N.split([len(rollout.logprobs) for rollout in rollouts])
        experiences = [
            Experience(
                rollout,
                old[rollout].logprob_T,
                weight_T,
                advantages[rollout],
                None if reference is None else reference[rollout].logprob_T,
            )
            for rollout, weight_T in zip(rollouts, weights, strict=True)
        ]
        figures = _figures(experiences, reward_PG, old)
        figures["engine_difference"] = (old_N - engine_N).abs().mean().item()
        # What is as good as expected has no gradient but that of the reference. Where nothing else
        # is left, the step is not taken: AdamW would make a full step of a gradient that is noise.
        taught = [e for e in experiences if bool(e.advantage_T.any())]
        if taught and self._reference:
            taught = experiences
        figures |= self._update(step, taught, sum(len(e.old_T) for e in experiences), targets)
        if not all(map(math.isfinite, figures.values())):
            raise UsageError(
                f"what step {step + 1} computed is no number; a smaller learning_rate helps"
            )
        return figures

    # ------------------------------------------------------------------------------- resuming

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What is trained and how far it is: tensors, and plain data."""
        tensors, counts = self.policy.state(), {"policy": self.policy.curve}
        if self.critic is not None:
            tensors |= {_CRITIC + name: t for name, t in self.critic.state().items()}
            counts["critic"] = self.critic.curve
        return tensors, counts

    def restore(self, tensors: Mapping[str, Tensor], counts: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.policy.restore(tensors, counts["policy"])
        if self.critic is not None:
            own = {n.removeprefix(_CRITIC): t for n, t in tensors.items() if n.startswith(_CRITIC)}
            self.critic.restore(own, counts["critic"])

    # -------------------------------------------------------------------------------- judging

    @contextmanager
    def _as_at_the_beginning(self) -> Iterator[None]:
        now = {name: parameter.data for name, parameter in self._trained.items()}
        for name, parameter in self._trained.items():
            parameter.data = self._reference[name]
        try:
            yield
        finally:
            for name, parameter in self._trained.items():
                parameter.data = now[name]

    def _judge(
        self,
        rollouts: Sequence[Rollout],
        reward_PG: Tensor,
        old: Mapping[Rollout, ReplyLogprobs],
        reference: Mapping[Rollout, ReplyLogprobs] | None,
    ) -> tuple[dict[Rollout, Tensor], list[_ValueTarget]]:
        """The advantage of every token, and what the value head is to learn."""
        spec, advantages = self.spec, {}
        if not isinstance(spec, PPOSpec):
            values = group_advantages(reward_PG, spec.divide_by_deviation).flatten().tolist()
            for rollout, value in zip(rollouts, values, strict=True):
                advantages[rollout] = torch.full_like(old[rollout].logprob_T, value)
            return advantages, []
        targets = []
        for rollout, reward in zip(rollouts, reward_PG.flatten().tolist(), strict=True):
            reading = old[rollout]
            # Leaving the reference costs reward, token by token (Ziegler et al. 2019,
            # arXiv 1909.08593).
            reward_T = torch.zeros_like(reading.logprob_T)
            if reference is not None:
                away_T = reading.logprob_T - reference[rollout].logprob_T
                reward_T -= spec.kl_coefficient * away_T
            reward_T[-1] += reward
            with torch.no_grad():
                value_T = self.value_head(reading.hidden_TE)
            advantages[rollout], return_T = generalised_advantages(
                reward_T, value_T, spec.gamma, spec.gae_lambda
            )
            targets.append(_ValueTarget(reading.hidden_TE, value_T, return_T))
        white = whitened(torch.cat(list(advantages.values())))
        parts = white.split([len(advantage) for advantage in advantages.values()])
        return dict(zip(advantages, parts, strict=True)), targets

    # ------------------------------------------------------------------------------- learning

    def _update(
        self, step: int, taught: list[Experience], num_tokens: int, targets: list[_ValueTarget]
    ) -> dict[str, float]:
        """All gradient steps of one step of learning; returns the mean losses."""
        spec, losses, value_loss = self.spec, [], []
        for epoch in range(spec.epochs):
            random = Random(f"minibatches/{spec.seed}/{step}/{epoch}")
            order = random.sample(taught, len(taught))
            for k in range(spec.minibatches):
                some = order[k :: spec.minibatches]
                if some:
                    losses.append(self.policy.step(self._parts(some, num_tokens), step))
            order_of_targets = random.sample(targets, len(targets))
            for k in range(spec.minibatches):
                part = order_of_targets[k :: spec.minibatches]
                if part and self.critic is not None:
                    value_loss.append(self.critic.step([partial(self._value_loss, part)], step))
        figures = {"loss": sum(losses) / max(len(losses), 1)}
        return figures | ({"value_loss": sum(value_loss) / len(value_loss)} if value_loss else {})

    def _parts(self, some: list[Experience], num_tokens: int) -> list[partial[Tensor]]:
        """What computes the shares of one update's loss: every token of a step counts alike."""
        experience_of = {e.rollout: e for e in some}
        share = num_tokens / self.spec.minibatches
        return [
            partial(self.policy_loss, [experience_of[r] for r in rollouts], batch, share)
            for rollouts, batch in self.reader.batches(list(experience_of))
        ]

    def policy_loss(
        self, some: Sequence[Experience], batch: PackedBatch, num_tokens: float
    ) -> Tensor:
        """A batch's share of the loss: a scalar.

        Parameters
        ----------
        some
            What is learnt from each text of the batch, in their order.
        num_tokens
            What the sum over tokens is divided by.
        """
        new_N = self.reader.logprobs(batch)
        # Before the only update the weights are the old ones, but replies lie in other rows than
        # when they were read, and round otherwise.
        old_N = new_N.detach() if self._updates_once else torch.cat([e.old_T for e in some])
        weight_N = torch.cat([e.weight_T for e in some])
        advantage_N = torch.cat([e.advantage_T for e in some])
        losses_N = policy_losses(new_N, old_N, advantage_N, self.spec.clip, weight_N)
        references = [e.reference_T for e in some if e.reference_T is not None]
        if references and not isinstance(self.spec, PPOSpec):
            # Its mean is to be over the policy's own tokens, and the engine drew these.
            away_N = kl_estimates(new_N, torch.cat(references))
            losses_N = losses_N + self.spec.kl_coefficient * weight_N * away_N
        return losses_N.sum() / num_tokens

    def _value_loss(self, targets: Sequence[_ValueTarget]) -> Tensor:
        assert isinstance(self.spec, PPOSpec)
        value_N = self.value_head(torch.cat([target.hidden_TE for target in targets]))
        old_N = torch.cat([target.value_T for target in targets])
        return_N = torch.cat([target.return_T for target in targets])
        return value_losses(value_N, old_N, return_N, self.spec.value_clip).mean()


def _figures(
    experiences: Sequence[Experience], reward_PG: Tensor, old: Mapping[Rollout, ReplyLogprobs]
) -> dict[str, float]:
    """What a step's replies were like."""
    rollouts = [e.rollout for e in experiences]
    differs = (reward_PG != reward_PG[:, :1]).any(1)
    figures = {
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
        figures["kl"] = (weight_N * kl_estimates(old_N, torch.cat(references))).mean()
    return {name: value.item() for name, value in figures.items()}
