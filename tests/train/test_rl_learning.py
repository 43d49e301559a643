"""Tiny decoders with random weights learn a toy task, from chance to nearly always right."""

from __future__ import annotations

import pytest
import torch
from rl_doubles import CPU, KINDS, learn, toy_decoder, toy_replies, toy_spec

from archon.engine.engine import Engine
from archon.engine.loading import load_decoder
from archon.train.decoder import TrainedWeights
from archon.train.lora import add_adapter
from archon.train.rl.learner import Learner
from archon.train.rl.rollouts import AdaptedPolicy, FullPolicy


@pytest.mark.parametrize("training", ["grpo", "ppo"])
def test_full_training_learns_a_task_from_chance_level(training: str) -> None:
    model = toy_decoder()
    rewards = learn(model, toy_spec(training), FullPolicy(model, "float32", CPU))
    assert rewards[0] == pytest.approx(1 / KINDS, abs=0.1)
    assert sum(rewards[-3:]) / 3 > 0.9


def test_an_adapter_learns_the_task_on_frozen_weights() -> None:
    model = toy_decoder()
    source = TrainedWeights(toy_decoder())
    engine = Engine(load_decoder(source, "float32", CPU))
    add_adapter(model, ["q_proj", "v_proj", "up_proj", "down_proj", "lm_head"], 8, 16, 0, 0)
    before = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    rewards = learn(model, toy_spec("grpo"), AdaptedPolicy(model, engine, source))
    assert rewards[0] == pytest.approx(1 / KINDS, abs=0.1)
    assert sum(rewards[-3:]) / 3 > 0.9
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], was) for name, was in before.items())


def test_a_step_returns_its_metrics() -> None:
    model = toy_decoder()
    spec = toy_spec("ppo", steps=2, kl_coefficient=0.1)
    learner, policy = Learner(model, spec, CPU), FullPolicy(model, "float32", CPU)
    groups, reward_PG = toy_replies(policy, spec, 0)
    first = learner.learn(0, groups, reward_PG)
    assert first["kl"] == 0
    assert first["reward"] == pytest.approx(reward_PG.mean().item())
    assert first["groups_that_differ"] == 1
    assert first["engine_difference"] < 1e-5
    assert first["importance"] == pytest.approx(1, abs=1e-5)
    assert first["entropy"] == pytest.approx(torch.tensor(40.0).log().item(), abs=0.1)
    assert (first["tokens"], first["ended"]) == (4, 0)
    second = learner.learn(1, *toy_replies(policy, spec, 1))
    assert second["kl"] > 0


@pytest.mark.parametrize("kl_coefficient", [0, 0.1])
def test_equal_rewards_change_no_weight(kl_coefficient: float) -> None:
    model = toy_decoder()
    spec = toy_spec("grpo", steps=1, prompts=2, kl_coefficient=kl_coefficient)
    groups, reward_PG = toy_replies(FullPolicy(model, "float32", CPU), spec, 0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    learner = Learner(model, spec, CPU)
    assert learner.learn(0, groups, torch.full_like(reward_PG, 0.3))["loss"] == 0
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_the_learning_rate_follows_the_step_even_after_steps_without_updates() -> None:
    model = toy_decoder()
    spec = toy_spec("grpo", steps=3, prompts=2, warmup_steps=2, learning_rate=0.01)
    learner, policy = Learner(model, spec, CPU), FullPolicy(model, "float32", CPU)
    groups, reward_PG = toy_replies(policy, spec, 0)
    learner.learn(0, groups, torch.ones_like(reward_PG))  # no update
    assert learner.policy.num_steps == 0
    learner.learn(1, groups, reward_PG)
    assert learner.policy.num_steps == 4  # two epochs of two minibatches
    assert {group["lr"] for group in learner.policy._optimizer.param_groups} == {0.01}


def test_leaving_out_replies_without_advantage_changes_no_gradient() -> None:
    spec = toy_spec("grpo", steps=1, prompts=3, epochs=1, minibatches=1)
    made = []
    for divisor in (1, 2):
        model = toy_decoder().double()
        learner = Learner(model, spec, CPU)
        groups, reward_PG = toy_replies(FullPolicy(model, "float32", CPU), spec, 0)
        reward_PG[1] = 1
        if divisor == 2:  # a difference large enough to keep the replies, but too small to matter
            reward_PG[1, 0] += 1e-6
        learner.learn(0, groups, reward_PG.double())
        made.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(made[0], made[1], atol=1e-6, rtol=1e-4)
    assert made[0].abs().max() > 1e-4
