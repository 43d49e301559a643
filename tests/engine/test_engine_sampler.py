from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from engine_doubles import INSTRUCTIONS, make_request, native_kernels, use_instructions
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from archon.engine.kernels.native import native_sample
from archon.engine.sampling import sampler
from archon.engine.sampling.request import sample_key
from archon.engine.sampling.sampler import SamplingRule, largest, token_logprobs, uniform

RULES = {
    "temperature": SamplingRule(1.0),
    "low temperature": SamplingRule(0.6),
    "high temperature": SamplingRule(1.7),
    "top-k": SamplingRule(1.0, top_k=7),
    "top-k of everything": SamplingRule(1.0, top_k=5000),
    "top-p": SamplingRule(1.0, top_p=0.8),
    "min-p": SamplingRule(1.0, min_p=0.1),
    "top-k and top-p": SamplingRule(0.9, top_k=12, top_p=0.7),
    "top-k and min-p": SamplingRule(0.9, top_k=12, min_p=0.3),
    "top-p and min-p": SamplingRule(1.3, top_p=0.9, min_p=0.05),
    "all": SamplingRule(1.2, top_k=15, top_p=0.9, min_p=0.04),
    "typical of top-p and min-p": SamplingRule(1.3, top_p=0.9, min_p=0.05, typical_p=0.8),
    "top-n-sigma and top-p": SamplingRule(0.9, top_p=0.8, top_n_sigma=1.0),
    "top-n-sigma and typical": SamplingRule(0.9, typical_p=0.7, top_n_sigma=1.5),
    "only the best by top-k": SamplingRule(1.0, top_k=1),
    "only the best by top-p": SamplingRule(1.0, top_p=1e-6),
    "only the best by min-p": SamplingRule(1.0, min_p=1.0),
}


def normal(*shape: int, seed: int = 0, size: float = 2.0) -> torch.Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def typical(probs: torch.Tensor, p: float) -> torch.Tensor:
    """Keep tokens by the distance of their information from the entropy, one after another."""
    distances = (-probs.log() - torch.special.entr(probs).sum()).abs().tolist()
    mass, kept = 0.0, torch.zeros_like(probs)
    for index in sorted(range(len(probs)), key=distances.__getitem__):
        if mass < p:
            kept[index] = probs[index]
            mass += float(probs[index])
    return kept


def exact_probabilities(logits_V: torch.Tensor, rule: SamplingRule) -> torch.Tensor:
    """Apply the rules one after another to the sorted vocabulary, in float64."""
    logits, order = (logits_V.double() / rule.temperature).sort(descending=True, stable=True)
    if rule.top_n_sigma:
        sigma = logits_V.double().std(correction=0) / rule.temperature
        logits = logits.masked_fill(logits < logits[0] - rule.top_n_sigma * sigma, -torch.inf)
    if rule.top_k:
        logits = logits[: rule.top_k]
    probs = logits.softmax(0)
    before = torch.cat([torch.zeros(1).double(), probs.cumsum(0)[:-1]])
    keep = (before < rule.top_p) & (probs >= rule.min_p * probs[0])
    probs = torch.where(keep, probs, 0)
    if rule.typical_p < 1:
        probs = typical(probs / probs.sum(), rule.typical_p)
    exact = torch.zeros(len(logits_V), dtype=torch.float64)
    exact[order[: len(probs)]] = probs / probs.sum()
    return exact


Sample = Callable[[torch.Tensor, Sequence[SamplingRule], Sequence[float]], torch.Tensor]


@pytest.fixture(params=["torch", *INSTRUCTIONS])
def sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """The samplers, as functions of the rows of a matrix."""
    draw: Callable[..., list[int]] = sampler.sample
    if request.param in INSTRUCTIONS:
        use_instructions(request.param, monkeypatch)
        draw = partial(native_sample, native_kernels())

    def sample_rows(
        logits_BV: torch.Tensor, rules: Sequence[SamplingRule], noise: Sequence[float]
    ) -> torch.Tensor:
        return torch.tensor(draw(list(logits_BV), rules, noise))

    return sample_rows


def draws(sample: Sample, logits_V: torch.Tensor, rule: SamplingRule, count: int) -> torch.Tensor:
    return sample(logits_V.expand(count, -1), [rule] * count, noise_of(rule, count))


@cache
def noise_of(rule: SamplingRule, count: int) -> list[float]:
    """Return the noise of the first samples of a request."""
    request = make_request((1, 2, 3), rule=rule)
    return [uniform(sample_key(request, draw, "model"), 0) for draw in range(count)]


@pytest.mark.parametrize("vocab_size", [50, 2000])
@pytest.mark.parametrize("name", RULES)
def test_tokens_are_sampled_with_their_exact_probabilities(
    sample: Sample, name: str, vocab_size: int
) -> None:
    logits, rule = normal(vocab_size, seed=vocab_size), RULES[name]
    exact = exact_probabilities(logits, rule)
    num_draws = 4000
    counts = torch.bincount(draws(sample, logits, rule, num_draws), minlength=vocab_size)
    assert counts[exact == 0].sum() == 0
    likely = exact * num_draws >= 5
    observed = [*counts[likely].tolist(), counts[~likely].sum().item()]
    expected = [*(exact[likely] * num_draws).tolist(), (exact[~likely].sum() * num_draws).item()]
    if expected[-1] < 1e-9:
        observed, expected = observed[:-1], expected[:-1]
    if len(expected) > 1:
        assert chisquare(observed, expected, sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("rule", [SamplingRule(1.0, top_p=0.95), SamplingRule(1.0, min_p=0.5)])
def test_a_nucleus_larger_than_the_first_candidates_is_found(
    sample: Sample, rule: SamplingRule
) -> None:
    logits = normal(3000, size=0.05)
    exact = exact_probabilities(logits, rule)
    assert (exact > 0).sum() > 256
    found = draws(sample, logits, rule, 3000)
    assert (exact[found] > 0).all()
    # The least likely token that is kept must be as reachable as the exact layout makes it.
    order = exact.argsort(descending=True, stable=True)
    edges = exact[order].cumsum(0)
    noise = torch.linspace(0.001, 0.999, 500).double()
    places = order.argsort()[sample(logits.expand(500, -1), [rule] * 500, noise.tolist())]
    assert (edges[places] >= noise - 1e-5).all()
    assert (edges[places] - exact[order][places] <= noise + 1e-5).all()


def test_rows_that_need_all_tokens_do_not_change_the_others(sample: Sample) -> None:
    logits = torch.stack([normal(3000, size=0.05), normal(3000, size=4), normal(3000, size=0.01)])
    rule, noise = SamplingRule(1.0, top_p=0.9), [0.3, 0.6, 0.9]
    together = sample(logits, [rule] * 3, noise)
    alone = [sample(logits[i : i + 1], [rule], noise[i : i + 1])[0] for i in range(3)]
    assert together.tolist() == [int(token) for token in alone]


def test_each_row_is_sampled_by_its_own_rule(sample: Sample) -> None:
    rules = [*RULES.values(), SamplingRule()]
    logits, noise = normal(len(rules), 500), [i / len(rules) for i in range(len(rules))]
    together = sample(logits, rules, noise)
    for i, rule in enumerate(rules):
        assert together[i] == sample(logits[i : i + 1], [rule], noise[i : i + 1])[0]


def test_greedy_selects_the_first_of_equal_logits(sample: Sample) -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 3.0], [5.0, 5.0, 5.0, 5.0], [-9.0, -8.0, -7.0, -6.0]])
    assert sample(logits, [SamplingRule()] * 3, [0.0, 0.5, 0.9]).tolist() == [1, 0, 3]


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-30])
@pytest.mark.parametrize("limits", [{}, {"top_k": 5}, {"top_p": 0.9}, {"min_p": 0.1}])
def test_a_temperature_near_zero_is_greedy(
    sample: Sample, temperature: float, limits: dict[str, float]
) -> None:
    logits = normal(3, 500, size=30)
    rule = replace(SamplingRule(temperature), **limits)
    assert torch.equal(sample(logits, [rule] * 3, [0.0, 0.5, 0.999]), logits.argmax(-1))


@pytest.mark.parametrize("vocab_size", [1, 31, 32, 33, 64, 1000, 2000])
@pytest.mark.parametrize("name", RULES)
def test_extreme_noise_samples_kept_tokens(sample: Sample, name: str, vocab_size: int) -> None:
    logits, rule = normal(4, vocab_size, seed=1), RULES[name]
    logits[3, : vocab_size // 2] = -1e9  # no weight at all at the beginning
    exact = [exact_probabilities(row, rule) for row in logits]
    for noise in (0.0, 2.0**-53, 1 - 2.0**-53):
        tokens = sample(logits, [rule] * 4, [noise] * 4)
        assert all(exact[row][token] > 0 for row, token in enumerate(tokens))


@pytest.mark.parametrize("name", RULES)
def test_larger_noise_never_samples_an_earlier_token(sample: Sample, name: str) -> None:
    """Growing noise passes each kept token once, in one order."""
    logits, rule = normal(300), RULES[name]
    noise = [i / 500 for i in range(500)]
    tokens = sample(logits.expand(500, -1), [rule] * 500, noise).tolist()
    changes = [b for a, b in itertools.pairwise(tokens) if a != b]
    assert len(set(changes)) == len(changes)
    assert tokens[0] not in changes


@given(
    vocab_size=st.integers(1, 400), k=st.integers(1, 60), seed=st.integers(0, 5), ties=st.booleans()
)
def test_largest_finds_the_values_that_topk_finds(
    vocab_size: int, k: int, seed: int, ties: bool
) -> None:
    k = min(k, vocab_size)
    logits = normal(3, vocab_size, seed=seed)
    if ties:
        logits = logits.round()
    values, ids = largest(logits, k)
    assert torch.equal(values, logits.topk(k).values)
    assert torch.equal(logits.gather(1, ids), values)
    assert all(len(set(row)) == k for row in ids.tolist())


def test_logprobs_ignore_the_sampling_rule() -> None:
    logits = normal(5, 200, size=6)
    tokens = torch.tensor([0, 199, 7, 100, 3])
    expected = logits.double().log_softmax(-1)[range(5), tokens]
    assert token_logprobs(logits, tokens).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


# ------------------------------------------------------------------------------------- keys


def test_noise_is_uniform_over_samples_and_positions() -> None:
    request = make_request((1, 2, 3))
    keys = [sample_key(request, draw, "model") for draw in range(2000)]
    for numbers in (
        [uniform(key, 0) for key in keys],
        [uniform(keys[0], position) for position in range(2000)],
    ):
        assert all(0 <= u < 1 for u in numbers)
        counts = torch.histc(torch.tensor(numbers), bins=20, min=0, max=1).tolist()
        assert chisquare(counts).pvalue > 1e-3


def test_samples_are_independent() -> None:
    request = make_request((1, 2, 3))
    numbers = [
        [uniform(sample_key(request, draw, "m"), position) for position in range(1000)]
        for draw in (0, 1, 2)
    ]
    correlation = torch.corrcoef(torch.tensor(numbers)) - torch.eye(3)
    assert correlation.abs().max() < 0.1


def test_a_sample_key_depends_on_exactly_what_a_sample_depends_on() -> None:
    request = make_request((1, 2, 3), rule=SamplingRule(0.7, top_k=5))
    key = sample_key(request, 0, "model")
    others = [
        sample_key(request, 1, "model"),
        sample_key(request, 0, "other"),
        sample_key(replace(request, seed=1), 0, "model"),
        sample_key(replace(request, prompt_ids=(1, 2, 4)), 0, "model"),
        sample_key(replace(request, prompt_ids=(1, 2)), 0, "model"),
        sample_key(replace(request, rule=SamplingRule(0.7, top_k=6)), 0, "model"),
        sample_key(replace(request, rule=SamplingRule(0.7, top_k=5, top_p=0.5)), 0, "model"),
    ]
    assert len({key, *others}) == len(others) + 1
    same = replace(request, max_tokens=99, draws=(5, 6), stop_ids=frozenset({3}), logprobs=True)
    assert sample_key(same, 0, "model") == key
