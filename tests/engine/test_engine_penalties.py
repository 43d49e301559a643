"""Penalties and biases: the formulas of transformers and OpenAI, alike in torch and the kernels."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from engine_doubles import (
    CPU,
    INSTRUCTIONS,
    make_request,
    native_kernels,
    prompt_of,
    run_all,
    tiny_config,
    tiny_decoder,
    tiny_engine,
    use_instructions,
)
from transformers import generation

from archon.engine.engine import Engine
from archon.engine.kernels.native import native_sample
from archon.engine.loading import load_decoder
from archon.engine.model.weights import RandomWeights
from archon.engine.sampling import sampler
from archon.engine.sampling.penalties import TokenHistory, penalized
from archon.engine.sampling.request import GenerationRequest, sample_key
from archon.engine.sampling.sampler import SamplingRule
from archon.errors import EngineError

PROMPT, TEXT = [3, 7, 7, 1, 30], [4, 7, 4, 4, 22]
RULES = {
    "typical": SamplingRule(1.0, typical_p=0.6),
    "typical of top-k": SamplingRule(0.8, top_k=14, typical_p=0.5),
    "top-n-sigma": SamplingRule(1.2, top_n_sigma=1.2),
    "repetition": SamplingRule(1.0, repetition_penalty=1.6),
    "reward of repetition": SamplingRule(1.0, repetition_penalty=0.7),
    "presence": SamplingRule(1.0, presence_penalty=1.1),
    "frequency": SamplingRule(1.0, frequency_penalty=0.6),
    "negative frequency": SamplingRule(1.0, frequency_penalty=-0.4),
    "bias": SamplingRule(1.0, logit_bias=((0, 3.0), (7, -2.0), (39, 1.5))),
    "ban": SamplingRule(1.0, logit_bias=((4, -100.0), (5, -100.0))),
    "all": SamplingRule(0.8, 0, 1.0, 0.0, 1.3, 0.5, 0.25, logit_bias=((4, 2.0), (30, -1.0))),
    "all, truncated": SamplingRule(
        1.3, 20, 0.95, 0.01, 1.3, 0.5, -0.25, 0.9, 2.0, logit_bias=((4, 2.0), (30, -1.0))
    ),
}
each_rule = pytest.mark.parametrize("name", RULES)
each_penalty = pytest.mark.parametrize("name", list(RULES)[3:])
Sample = Callable[..., list[int]]


@pytest.fixture(params=["torch", *INSTRUCTIONS])
def sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sample:
    if request.param not in INSTRUCTIONS:
        return sampler.sample
    use_instructions(request.param, monkeypatch)
    return partial(native_sample, native_kernels())


def history() -> TokenHistory:
    made = TokenHistory(PROMPT)
    for token in TEXT:
        made.add(token)
    return made


def some_logits(rows: int = 1, size: int = 40) -> torch.Tensor:
    return 2 * torch.randn(rows, size, generator=torch.Generator().manual_seed(3))


def reference(logits_V: torch.Tensor, rule: SamplingRule) -> np.ndarray:
    """Return the logits after bias and penalties: transformers' processors, then OpenAI's sums."""
    ids = torch.tensor([PROMPT + TEXT])
    scores = logits_V[None].double()
    if rule.logit_bias:
        biases = {(token,): bias for token, bias in rule.logit_bias}
        scores = generation.SequenceBiasLogitsProcessor(biases)(ids, scores)
    if rule.repetition_penalty != 1:
        processor = generation.RepetitionPenaltyLogitsProcessor(rule.repetition_penalty)
        scores = processor(ids, scores)
    changed = scores[0].numpy()
    for token, count in Counter(TEXT).items():
        changed[token] -= rule.presence_penalty + count * rule.frequency_penalty
    return changed


def truncated(logits: np.ndarray, rule: SamplingRule) -> np.ndarray:
    """Return the probabilities of transformers' warpers, after top-n-sigma."""
    ids, scores = torch.zeros(1, 0), torch.tensor(logits)[None] / rule.temperature
    if rule.top_n_sigma:
        bound = scores.max() - rule.top_n_sigma * scores.std(correction=0)
        scores = scores.masked_fill(scores < bound, -torch.inf)
    warpers = []
    if rule.top_k:
        warpers.append(generation.TopKLogitsWarper(rule.top_k))
    if rule.top_p < 1:
        warpers.append(generation.TopPLogitsWarper(rule.top_p))
    if rule.min_p:
        warpers.append(generation.MinPLogitsWarper(rule.min_p))
    if rule.typical_p < 1:
        warpers.append(generation.TypicalLogitsWarper(rule.typical_p))
    for warper in warpers:
        scores = warper(ids, scores)
    return scores.softmax(-1)[0].numpy()


@each_penalty
def test_logits_change_as_in_transformers_and_openai(name: str) -> None:
    logits, rule = some_logits(3), RULES[name]
    before = logits.clone()
    changed = penalized(logits, [SamplingRule(1.0), rule, rule], [None, history(), None])
    assert torch.equal(logits, before)
    assert torch.equal(changed[0], logits[0])
    np.testing.assert_allclose(changed[1], reference(logits[1], rule), rtol=1e-5, atol=1e-5)


@each_rule
def test_shares_of_tokens_are_those_of_transformers(sample: Sample, name: str) -> None:
    """A grid of noise gives each token its probability, up to the grid's width."""
    [logits], rule, count = some_logits(), RULES[name], 1000
    noise = [(i + 0.5) / count for i in range(count)]
    tokens = sample([logits] * count, [rule] * count, noise, [history()] * count)
    shares = np.bincount(tokens, minlength=40) / count
    expected = truncated(reference(logits, rule), rule)
    assert np.abs(shares - expected).max() < 2 / count
    plain = SamplingRule(rule.temperature)
    assert np.abs(shares - truncated(logits.double().numpy(), plain)).max() > 8 / count


@each_penalty
def test_greedy_decoding_sees_them(sample: Sample, name: str) -> None:
    logits, rule = some_logits(20), replace(RULES[name], temperature=0.0)
    tokens = sample(list(logits), [rule] * 20, [0.0] * 20, [history()] * 20)
    assert tokens == [int(reference(row, rule).argmax()) for row in logits]


def test_rows_keep_their_own_rule_and_history(sample: Sample) -> None:
    rules = [SamplingRule(0.9), *RULES.values(), SamplingRule()]
    histories = [None, *(history() for _ in RULES), None]
    logits = list(some_logits(len(rules)))
    noise = [i / len(rules) for i in range(len(rules))]
    together = sample(logits, rules, noise, histories)
    for row, rule in enumerate(rules):
        assert sample(logits[row : row + 1], [rule], [noise[row]], [histories[row]]) == [
            together[row]
        ]


def test_shared_logits_are_not_changed(sample: Sample) -> None:
    """The samples of a prompt read the same memory at the same time."""
    [logits], rule = some_logits(), RULES["all, truncated"]
    before = logits.clone()
    noise = [i / 64 for i in range(64)]
    sample([logits] * 64, [rule] * 64, noise, [history()] * 64)
    assert torch.equal(logits, before)


def test_a_sigma_does_not_count_forbidden_tokens(sample: Sample) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -2.0] + [-torch.inf] * 40)  # σ = √2
    noise = [i / 100 for i in range(100)]
    rule = SamplingRule(1.0, top_n_sigma=1.0)
    assert {*sample([logits] * 100, [rule] * 100, noise)} == {0, 1}


def test_the_engine_counts_prompt_and_sample() -> None:
    """Greedy texts equal those of a loop that applies the penalties by itself."""
    decoder = tiny_decoder()
    rule = SamplingRule(0.0, repetition_penalty=1.4, presence_penalty=0.3, frequency_penalty=0.2)
    prompt = prompt_of(40)
    [[found]] = run_all(tiny_engine(decoder), make_request(prompt, rule=rule, max_tokens=30))
    engine, text = tiny_engine(decoder), []
    for _ in range(30):
        request = make_request((*prompt, *text), max_tokens=1)
        handle = engine.add(request)
        while engine.has_work:
            engine.step()
        [logits] = engine.logits[handle, 0]
        counted = TokenHistory(prompt)
        for token in text:
            counted.add(token)
        text.append(int(penalized(logits[None], [rule], [counted]).argmax()))
    assert found.token_ids == tuple(text)
    [[plain]] = run_all(
        tiny_engine(decoder), make_request(prompt, rule=SamplingRule(), max_tokens=30)
    )
    assert plain.token_ids != found.token_ids


def penalized_requests(rng: random.Random) -> list[GenerationRequest]:
    rules = [*RULES.values(), SamplingRule(0.0, repetition_penalty=1.5)]
    return [
        make_request(
            prompt_of(rng.choice([0, 20, 70]), seed=rng.randrange(2)) + prompt_of(20, seed=i),
            draws=tuple(range(rng.randint(1, 4))),
            rule=rule,
            max_tokens=rng.randint(10, 40),
            logprobs=True,
            top_logprobs=rng.choice([0, 1, 5]),
        )
        for i, rule in enumerate(rules)
    ]


def test_samples_do_not_depend_on_batch_cache_or_preemption() -> None:
    native_kernels()
    config = tiny_config(width=64, ffn_width=64, head_width=16)
    decoder = load_decoder(RandomWeights(config), "int8", CPU)
    rng = random.Random(1)
    requests = penalized_requests(rng)
    pressed = tiny_engine(decoder, num_blocks=11, max_step_tokens=100)
    num_preempted = 0
    prompts = [pressed.add(request) for request in rng.sample(requests, len(requests))]
    done = {}
    while pressed.has_work:
        done |= pressed.step()
        num_preempted += len(pressed.scheduler.preempted)
    assert num_preempted > 0
    for prompt in prompts:
        [alone] = run_all(tiny_engine(decoder), prompt.request)
        for ours, theirs in zip(done[prompt], alone, strict=True):
            assert ours.token_ids == theirs.token_ids
            assert ours.logprobs == theirs.logprobs
            assert ours.top_logprobs == theirs.top_logprobs


def test_likeliest_tokens_are_those_of_the_model() -> None:
    """They come before penalties, in descending order, and include a greedily sampled token."""
    engine = tiny_engine()
    request = make_request(
        prompt_of(20), draws=(0, 1), rule=SamplingRule(1.0, logit_bias=((3, -100.0),)),
        logprobs=True, top_logprobs=4,
    )  # fmt: skip
    [found] = run_all(engine, request)
    for (_, index), logits in engine.logits.items():
        likeliest = found[index].top_logprobs
        assert likeliest is not None
        expected = torch.stack(logits).log_softmax(-1).topk(4)
        ids = [[token for token, _ in row] for row in likeliest]
        assert ids == expected.indices.tolist()
        values = [[logprob for _, logprob in row] for row in likeliest]
        assert torch.allclose(torch.tensor(values), expected.values, atol=1e-5)
    [[without]] = run_all(engine, replace(request, draws=(0,), top_logprobs=0))
    assert without.top_logprobs is None
    assert without.token_ids == found[0].token_ids


def test_a_sample_key_has_new_parameters_only_if_they_have_an_effect() -> None:
    request = make_request((1, 2, 3), rule=SamplingRule(0.7, top_k=5))
    old = "SamplingRule(temperature=0.7, top_k=5, top_p=1.0, min_p=0.0)"
    assert request.rule.key == old
    rules = [replace(request.rule, **{name: value}) for name, value in {
        "repetition_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.1,
        "typical_p": 0.9, "top_n_sigma": 1.0, "logit_bias": ((1, 1.0),),
    }.items()]  # fmt: skip
    keys = {sample_key(replace(request, rule=rule), 0, "m") for rule in [request.rule, *rules]}
    assert len(keys) == 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rule": SamplingRule(logit_bias=((304, 1.0),))}, "not in the vocabulary of 304"),
        ({"rule": SamplingRule(repetition_penalty=1.1), "beams": 2}, "beam search"),
        ({"rule": SamplingRule(logit_bias=((3, 1.0),)), "beams": 2}, "beam search"),
        ({"top_logprobs": 2, "logprobs": True, "beams": 2}, "beam search"),
    ],
)
def test_the_engine_refuses_what_it_cannot_apply(changes: dict[str, object], reason: str) -> None:
    engine: Engine = tiny_engine()
    with pytest.raises(EngineError, match=reason):
        engine.add(make_request((1, 2, 3), **changes))
