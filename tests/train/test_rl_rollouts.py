"""Rollouts: the engine samples from the current weights, with the trainer's probabilities."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from rl_doubles import CPU, toy_decoder, toy_prompts, toy_spec
from tiny_folders import write_folder
from tiny_models import TinyModel

from archon.engine.engine import Engine
from archon.engine.loading import load_decoder, open_model
from archon.engine.model.weights import LayerWeights, weights_of
from archon.errors import EngineError
from archon.train.decoder import TrainableDecoder, TrainedWeights, decoder_of
from archon.train.lora import LoRALinear, adapter_of, add_adapter, resume_adapter
from archon.train.rl.learner import Learner
from archon.train.rl.rollouts import AdaptedPolicy, FullPolicy, Policy, Rollout, sample_rollouts

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


def drawn(policy: Policy, temperature: float = 0.7, seed: int = 0) -> list[list[Rollout]]:
    return sample_rollouts(
        policy, toy_prompts(3, 1), 6, temperature=temperature, max_tokens=12,
        stop_ids=frozenset({7, 8}), seed=seed,
    )  # fmt: skip


def disturb(model: TrainableDecoder, seed: int) -> None:
    """Change the trained parameters, as a training step would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def difference(model: TrainableDecoder, groups: list[list[Rollout]]) -> float:
    """Return the largest difference between log-probabilities of the engine and of the trainer.

    The trainer computes in float64, since weights that are changed so much amplify rounding errors.
    """
    exact = copy.deepcopy(model).double().eval()
    learner = Learner(exact, toy_spec("grpo", temperature=0.7), CPU)
    rollouts = [rollout for group in groups for rollout in group]
    readings = learner.computer.compute(rollouts)
    return max(
        (readings[r].logprob_T - torch.tensor(r.logprobs)).abs().max().item() for r in rollouts
    )


def adapted() -> tuple[TrainableDecoder, Engine, AdaptedPolicy]:
    model, source = toy_decoder(), TrainedWeights(toy_decoder())
    engine = Engine(load_decoder(source, "float32", CPU))
    add_adapter(model, ALL, 3, 6, 0, 0)
    return model, engine, AdaptedPolicy(model, engine, source)


def test_log_probabilities_of_the_engine_equal_those_of_the_trainer() -> None:
    model = toy_decoder()
    policy = FullPolicy(model, "float32", CPU)
    for seed in (1, 2):
        disturb(model, seed)
        groups = drawn(policy)
        assert difference(model, groups) < 1e-4
        assert len({r.token_ids for group in groups for r in group}) > 6


def test_the_engine_gets_the_current_adapter_at_every_step() -> None:
    model, engine, policy = adapted()
    texts = []
    for seed in (1, 2, 3):
        disturb(model, seed)
        groups = drawn(policy)
        assert difference(model, groups) < 1e-4
        assert list(engine.decoder.adapters) == ["policy"]
        texts.append([r.token_ids for group in groups for r in group])
    assert texts[0] != texts[1] != texts[2]


def test_an_adapter_can_be_replaced_after_a_failed_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, engine, policy = adapted()
    step, steps = engine.step, []

    def failing() -> Any:
        steps.append(1)
        if len(steps) == 4:
            raise EngineError("no memory")
        return step()

    with monkeypatch.context() as patched:
        patched.setattr(engine, "step", failing)
        with pytest.raises(EngineError, match="no memory"):
            drawn(policy)
    assert not engine.has_work
    disturb(model, 1)
    assert difference(model, drawn(policy)) < 1e-4


def test_rotating_several_adapters_reads_each_layer_once() -> None:
    read: list[int] = []

    class Counted(TrainedWeights):
        def layer(self, index: int) -> LayerWeights:
            read.append(index)
            return super().layer(index)

    model, source = toy_decoder(), Counted(toy_decoder())
    engine = Engine(load_decoder(source, "int8", CPU, native=False))
    add_adapter(model, ALL, 3, 6, 0, 0)
    policy = AdaptedPolicy(model, engine, source)
    read.clear()
    texts = []
    for seed in (1, 2, 3):
        disturb(model, seed)
        texts.append([r.token_ids for group in drawn(policy) for r in group])
    assert read == [0, 1]
    assert texts[0] != texts[1] != texts[2]


def test_an_end_token_is_sampled_like_any_other_and_ends_the_reply() -> None:
    rollouts = [r for group in drawn(FullPolicy(toy_decoder(), "float32", CPU)) for r in group]
    assert {r.is_ended for r in rollouts} == {True, False}
    for rollout in rollouts:
        assert len(rollout.logprobs) == len(rollout.reply_ids)
        ends = [token in (7, 8) for token in rollout.reply_ids]
        assert not any(ends[:-1])
        assert ends[-1] == rollout.is_ended
        assert rollout.is_ended or len(rollout.reply_ids) == 12


def test_samples_depend_on_the_seed_and_differ_for_repeated_prompts() -> None:
    policy = FullPolicy(toy_decoder(), "float32", CPU)
    first, again, other = (
        [r.token_ids for group in drawn(policy, seed=seed) for r in group] for seed in (0, 0, 1)
    )
    assert first == again != other
    twice = sample_rollouts(
        policy, [(39, 1), (39, 1)], 4, temperature=1, max_tokens=8, stop_ids=frozenset(), seed=0
    )
    assert [r.token_ids for r in twice[0]] != [r.token_ids for r in twice[1]]


def test_log_probabilities_equal_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = write_folder(tmp_path, TinyModel("qwen2"))
    model = decoder_of(weights_of(open_model(folder)))
    groups = sample_rollouts(
        FullPolicy(model, "float32", CPU), [(5, 6, 70), (80, 90)], 2, temperature=0.7,
        max_tokens=9, stop_ids=frozenset(), seed=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    assert difference(model, groups) < 1e-3
    for rollout in (r for group in groups for r in group):
        with torch.no_grad():
            logits_TV = theirs(torch.tensor([rollout.token_ids])).logits[0] / 0.7
        at_T = torch.tensor(rollout.reply_ids)
        expected = logits_TV.log_softmax(-1)[rollout.num_given - 1 : -1].gather(1, at_T[:, None])
        found = torch.tensor(rollout.logprobs)
        torch.testing.assert_close(found, expected[:, 0], atol=1e-3, rtol=1e-3)


def test_a_trained_adapter_can_be_resumed() -> None:
    model, _, _ = adapted()
    disturb(model, 1)
    other = toy_decoder()
    resume_adapter(other, adapter_of(model))
    names = [n for n, p in other.named_parameters() if p.requires_grad]
    assert names == [n for n, p in model.named_parameters() if p.requires_grad]
    for (_, ours), (_, theirs) in zip(
        other.named_parameters(), model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    scales = {m.scale for m in other.modules() if isinstance(m, LoRALinear)}
    assert scales == {2}
