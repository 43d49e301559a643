"""Advantages and losses compared with plain sums, and gradients with finite differences."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import torch
from rl_doubles import CPU, toy_decoder, toy_spec
from train_doubles import slope

from archon.train import logprobs
from archon.train.lora import add_adapter
from archon.train.mixed_precision import autocast, round_frozen
from archon.train.packing import IGNORED, make_batch
from archon.train.rl.advantages import generalised_advantages, group_advantages, whitened
from archon.train.rl.learner import Experience, Learner
from archon.train.rl.policy_loss import (
    importance_weights,
    kl_estimates,
    policy_losses,
    value_losses,
)
from archon.train.rl.rollouts import Rollout
from archon.train.rl.value_head import ValueHead


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("gamma", "lam"), [(1, 0.95), (0.9, 0.5), (0.99, 1), (0.9, 0)])
def test_generalised_advantages_equal_their_defining_sum(gamma: float, lam: float) -> None:
    T = 9
    reward_T, value_T = normal(T), normal(T, seed=1)
    next_T = torch.cat([value_T[1:], torch.zeros(1, dtype=torch.float64)])
    delta_T = reward_T + gamma * next_T - value_T
    expected = [sum((gamma * lam) ** k * delta_T[t + k] for k in range(T - t)) for t in range(T)]
    advantage_T, return_T = generalised_advantages(reward_T, value_T, gamma, lam)
    torch.testing.assert_close(advantage_T, torch.stack(expected))
    torch.testing.assert_close(return_T, advantage_T + value_T)
    if lam == 1:  # returns depend on the rewards alone
        expected = [sum(gamma**k * reward_T[t + k] for k in range(T - t)) for t in range(T)]
        torch.testing.assert_close(return_T, torch.stack(expected))


def test_group_advantages_are_centred_and_optionally_scaled() -> None:
    reward_PG = normal(5, 8)
    plain = reward_PG.numpy()
    centred = plain - plain.mean(1, keepdims=True)
    np.testing.assert_allclose(group_advantages(reward_PG).numpy(), centred)
    by_deviation = centred / (plain.std(1, ddof=1, keepdims=True) + 1e-4)
    np.testing.assert_allclose(group_advantages(reward_PG, True).numpy(), by_deviation)
    alike_PG = torch.full((2, 3), 0.1)  # whose mean is not 0.1 to the bit
    for divide in (False, True):
        assert not group_advantages(alike_PG, divide).any()


def test_whitened_advantages_have_mean_0_and_deviation_1() -> None:
    white_N = whitened(3 + 7 * normal(50))
    assert white_N.mean().item() == pytest.approx(0, abs=1e-9)
    assert white_N.std().item() == pytest.approx(1, abs=1e-6)
    assert whitened(torch.tensor([0.5])).tolist() == [0.5]
    assert not whitened(torch.full((11,), 0.1)).any()


def test_the_clipped_surrogate_equals_its_formula() -> None:
    new_N, old_N, advantage_N, weight_N = (normal(40, seed=seed) for seed in range(4))
    found = policy_losses(new_N, old_N, advantage_N, 0.2, weight_N.abs())
    for new, old, advantage, weight, loss in zip(
        *(t.tolist() for t in (new_N, old_N, advantage_N, weight_N.abs(), found)), strict=True
    ):
        ratio = math.exp(new - old)
        clipped = min(max(ratio, 0.8), 1.2)
        assert loss == pytest.approx(-weight * min(ratio * advantage, clipped * advantage))


def test_a_token_beyond_the_clipping_range_has_no_gradient() -> None:
    new_N = torch.tensor([1.0, 1.0, -1.0, -1.0], requires_grad=True)
    policy_losses(new_N, torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.2).sum().backward()
    assert new_N.grad is not None
    assert (new_N.grad != 0).tolist() == [False, True, True, False]


def test_kl_estimates_are_unbiased_and_never_negative() -> None:
    new_V, reference_V = normal(30).log_softmax(0), normal(30, seed=1).log_softmax(0)
    estimates_V = kl_estimates(new_V, reference_V)
    assert (estimates_V >= 0).all()
    expected = (new_V.exp() * (new_V - reference_V)).sum()
    torch.testing.assert_close((new_V.exp() * estimates_V).sum(), expected)
    assert not kl_estimates(new_V, new_V).any()


def test_a_very_unlikely_token_has_a_finite_kl_estimate() -> None:
    new_N = torch.tensor([-400.0, -1.0], requires_grad=True)
    estimates_N = kl_estimates(new_N, torch.tensor([-1.0, -2.0]))
    estimates_N.sum().backward()
    assert estimates_N.isfinite().all()
    assert estimates_N[0] > 1e8
    assert new_N.grad is not None
    assert new_N.grad.tolist() == pytest.approx([0, 1 - math.exp(-1)])


def test_the_value_loss_is_clipped() -> None:
    values = torch.tensor([0.0, 0.1, 0.5, 2.0])
    losses = value_losses(values, torch.zeros(4), torch.tensor([1.0, 1.0, 1.0, 1.0]), 0.2)
    assert losses.tolist() == pytest.approx([0.5, 0.405, 0.32, 0.5])


def test_importance_weights_are_ratios_up_to_the_cap() -> None:
    old_N = torch.tensor([0.5, 0.2, 0.9]).log()
    weights = importance_weights(old_N, torch.tensor([0.5, 0.4, 0.3]).log(), 2)
    assert weights.tolist() == pytest.approx([1, 0.5, 2])


def rollouts(count: int) -> list[Rollout]:
    random = Random(0)
    made = []
    for index in range(count):
        ids = tuple(random.randrange(40) for _ in range(4 + index))
        made.append(Rollout(ids, 2, (-3.0,) * (len(ids) - 2), False))
    return made


def experiences_of(some: list[Rollout], **fields: float) -> list[Experience]:
    """Return experiences with the same numbers for every token."""
    values = {"old_T": -3.0, "weight_T": 1.0, "advantage_T": 1.0, "reference_T": -2.5} | fields
    return [
        Experience(r, **{n: torch.full((len(r.reply_ids),), v) for n, v in values.items()})
        for r in some
    ]


def test_the_kl_term_uses_the_importance_weights() -> None:
    learner = Learner(toy_decoder(), toy_spec("grpo", kl_coefficient=0.5), CPU)
    some = rollouts(3)
    batch = make_batch([some], 64)
    once, twice = (
        learner.policy_loss(experiences_of(some, advantage_T=0, weight_T=w), batch, 7).item()
        for w in (1, 2)
    )
    assert once > 0
    assert twice == pytest.approx(2 * once)


def test_the_ratios_of_a_single_update_are_exactly_one() -> None:
    some = rollouts(3)
    batch = make_batch([some], 64)
    num_tokens = sum(len(r.reply_ids) for r in some)
    for epochs, is_one in ((1, True), (2, False)):
        spec = toy_spec("grpo", kl_coefficient=0, epochs=epochs, minibatches=1)
        learner = Learner(toy_decoder(), spec, CPU)
        loss = learner.policy_loss(experiences_of(some, old_T=-3.0), batch, num_tokens)
        assert (loss.item() == pytest.approx(-1, abs=1e-6)) == is_one
        loss.backward()
        assert any(p.grad is not None and p.grad.any() for p in learner.model.parameters())


def test_the_head_of_a_bf16_model_is_computed_in_float32() -> None:
    model = toy_decoder()
    with torch.no_grad():
        model.lm_head.weight *= 60
        model.model.norm.weight *= 5
    add_adapter(model, ["q_proj"], 2, 2, 0, 0)
    round_frozen(model, "bf16", CPU)
    learner = Learner(model, toy_spec("grpo", dtype="bf16"), CPU)
    some = rollouts(3)
    batch = make_batch([some], 64)
    with torch.no_grad(), autocast("bf16", CPU):
        hidden_BTE = model(batch.token_BT, batch.position_BT, batch.text_BT)
    asked_BT = batch.target_BT != IGNORED
    logits_NV = hidden_BTE[asked_BT].double() @ model.lm_head.weight.double().t()
    assert logits_NV.abs().max() > 20  # there, neighbouring bf16 numbers differ by 1/8
    expected_NV = logits_NV.log_softmax(-1)
    expected_N = expected_NV.gather(1, batch.target_BT[asked_BT][:, None])[:, 0].float()
    torch.testing.assert_close(learner.computer.logprobs(batch), expected_N, atol=1e-4, rtol=1e-5)
    found = learner.computer.compute(some)
    read_N = torch.cat([found[r].logprob_T for r in some])
    torch.testing.assert_close(read_N, expected_N, atol=1e-4, rtol=1e-5)


def test_only_a_chunk_of_logits_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(toy_decoder(), toy_spec("grpo", temperature=0.7), CPU)
    some = rollouts(4)
    batch, weight = make_batch([some], 64), learner.model.lm_head.weight
    made = []
    for chunk in (256, 3):
        monkeypatch.setattr(logprobs, "_CHUNK", chunk)
        shapes: list[torch.Size] = []

        def keep(tensor: torch.Tensor, shapes: list[torch.Size] = shapes) -> torch.Tensor:
            shapes.append(tensor.shape)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logprob_N = learner.computer.logprobs(batch)
        assert shapes
        assert all(shape[-1:] != (len(weight),) for shape in shapes)
        [gradient] = torch.autograd.grad(logprob_N.sum(), [weight])
        read = learner.computer.compute(some)
        entropy_N = torch.cat([read[r].entropy_T for r in some])
        made.append((logprob_N.detach(), gradient, entropy_N))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_of_the_policy_equal_finite_differences() -> None:
    model = toy_decoder(num_layers=1, width=8, ffn_width=8, head_width=2).double()
    spec = toy_spec("grpo", kl_coefficient=0.3, temperature=0.8)
    learner = Learner(model, spec, CPU)
    experiences = []
    for seed, rollout in enumerate(rollouts(3)):
        T = len(rollout.reply_ids)
        old_T = -math.log(40) + 0.3 * normal(T, seed=seed)
        weight_T, reference_T = normal(T, seed=seed + 10).abs(), old_T + normal(T, seed=seed + 20)
        experiences.append(
            Experience(rollout, old_T, weight_T, normal(T, seed=seed + 30), reference_T)
        )
    batch = make_batch([[e.rollout for e in experiences]], 64)

    def loss() -> torch.Tensor:
        return learner.policy_loss(experiences, batch, 7)

    loss().backward()
    for index, (name, parameter) in enumerate(model.named_parameters()):
        assert parameter.grad is not None, name
        direction = normal(*parameter.shape, seed=index)
        expected = (parameter.grad * direction).sum()
        found = slope(loss, parameter, direction, 1e-6)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_gradients_of_the_value_head_equal_finite_differences() -> None:
    head = ValueHead(6).double()
    with torch.no_grad():
        for index, parameter in enumerate(head.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=index))
    hidden_NE, return_N = normal(9, 6, seed=8), normal(9, seed=9)
    old_N = head(hidden_NE).detach() + 0.1

    def loss() -> torch.Tensor:
        return value_losses(head(hidden_NE), old_N, return_N, 0.2).mean()

    loss().backward()
    for index, parameter in enumerate(head.parameters()):
        assert parameter.grad is not None
        direction = normal(*parameter.shape, seed=index + 20)
        expected = (parameter.grad * direction).sum()
        found = slope(loss, parameter, direction, 1e-6)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_a_new_value_head_predicts_0() -> None:
    assert not ValueHead(5)(normal(3, 5).float()).any()
