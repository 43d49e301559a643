"""A toy task for reinforcement learning, and tiny decoders that learn it."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from train_doubles import tiny_config

from archon.spec.training import GRPOSpec, PPOSpec
from archon.train.decoder import TrainableDecoder, initialise
from archon.train.rl.learner import Learner
from archon.train.rl.rollouts import Policy, Rollout, sample_rollouts

CPU = torch.device("cpu")
LENGTH, KINDS = 4, 4


def toy_decoder(seed: int = 0, **changes: Any) -> TrainableDecoder:
    shape = {"width": 32, "ffn_width": 64, "head_width": 8} | changes
    model = TrainableDecoder(tiny_config(**shape), tied=True)
    initialise(model, seed)
    return model


def toy_spec(training: str, **changes: Any) -> GRPOSpec | PPOSpec:
    fields: dict[str, Any] = {
        "training": training, "name": "toy", "model": "none", "data": {"path": "none.jsonl"},
        "steps": 26, "learning_rate": 0.01, "prompts": 8, "group": 8, "max_tokens": LENGTH,
        "epochs": 2, "minibatches": 2, "rows": 64, "context": 64,
        "kl_coefficient": 0,
    }  # fmt: skip
    changes.setdefault("warmup_steps", min(3, changes.get("steps", 3)))
    own = {"value_learning_rate": 0.01} if training == "ppo" else {}
    kind = GRPOSpec if training == "grpo" else PPOSpec
    return kind(**fields | own | changes)


def toy_prompts(count: int, seed: int) -> list[tuple[int, ...]]:
    random = Random(seed)
    return [(39, random.randrange(KINDS)) for _ in range(count)]


def toy_reward(rollout: Rollout) -> float:
    """Return the share of a reply's tokens that are of the kind that its prompt asks for."""
    wanted = rollout.token_ids[rollout.num_given - 1]
    return sum(token % KINDS == wanted for token in rollout.reply_ids) / LENGTH


def toy_replies(
    policy: Policy, spec: GRPOSpec | PPOSpec, step: int
) -> tuple[list[list[Rollout]], torch.Tensor]:
    groups = sample_rollouts(
        policy, toy_prompts(spec.prompts, step), spec.group, temperature=spec.temperature,
        max_tokens=spec.max_tokens, stop_ids=frozenset(), seed=step,
    )  # fmt: skip
    return groups, torch.tensor([[toy_reward(rollout) for rollout in group] for group in groups])


def learn(model: TrainableDecoder, spec: GRPOSpec | PPOSpec, policy: Policy) -> list[float]:
    """Take all steps of a spec; return the mean reward of each."""
    learner = Learner(model, spec, CPU)
    return [
        learner.learn(step, *toy_replies(policy, spec, step))["reward"]
        for step in range(spec.steps)
    ]
