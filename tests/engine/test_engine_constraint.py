"""Constraints in the engine: masks, forced tokens, endings; and scored choices."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from constraint_doubles import END, Script, ScriptMatcher, V, mask_of
from engine_doubles import (
    CPU,
    GREEDY,
    SAMPLED,
    RecordingEngine,
    logits_of,
    make_request,
    num_free,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
    tokens_of,
)
from model_doubles import MODELS, VOCABULARY_SIZE, weights_of
from tiny_models import write_gguf
from torch import Tensor
from transformers_reference import reference_logits, reference_model

from archon.engine.engine import Engine
from archon.engine.loading import load_decoder
from archon.engine.perplexity import window_logits
from archon.engine.sampling.constraint import mask_logits
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule, sample, uniform
from archon.engine.scheduling.choices import score_request, total_logprob
from archon.engine.scheduling.sequence import Prompt
from archon.engine.worker import EngineWorker
from archon.errors import EngineError

RULES = (
    GREEDY,
    SamplingRule(temperature=1.0),
    SamplingRule(temperature=0.8, top_k=5),
    SamplingRule(temperature=1.2, top_p=0.9),
    SamplingRule(temperature=1.0, min_p=0.05),
)


class Broken(ScriptMatcher):
    def allowed(self) -> Tensor | None:
        raise EngineError("too complex")


@pytest.fixture
def engine() -> RecordingEngine:
    return tiny_engine()


def test_the_mask_is_read_bit_by_bit() -> None:
    allowed = [*random.Random(0).sample(range(V), 40), 0, 31, 32, 63, V - 1]
    logits_V = torch.randn(V)
    untouched_V = logits_V.clone()
    left_V = mask_logits(logits_V, mask_of(allowed))
    assert set(left_V.isfinite().nonzero().flatten().tolist()) == set(allowed)
    assert torch.equal(left_V[allowed], logits_V[allowed])
    assert torch.equal(logits_V, untouched_V)


def test_embeddings_beyond_the_tokens_are_masked() -> None:
    padded_V = torch.randn(V + 100)
    left_V = mask_logits(padded_V, mask_of([0, V - 1]))
    assert left_V.isfinite().nonzero().flatten().tolist() == [0, V - 1]


@pytest.mark.parametrize("rule", RULES)
def test_a_masked_sample_is_a_sample_of_the_allowed_tokens(
    engine: RecordingEngine, rule: SamplingRule
) -> None:
    allowed = sorted(random.Random(1).sample(range(V), 30))
    request = make_request(
        prompt_of(20), draws=tuple(range(20)), rule=rule, max_tokens=1,
        constraint=Script([set(allowed)]),
    )  # fmt: skip
    [generations] = run_all(engine, request)
    [(logits_V,), *_] = logits_of(engine, request)[0][:1]
    few_BV = list(logits_V[allowed].expand(20, -1))
    # The engine derives the noise from the samples' keys, which it sets at ``add``.
    noise = [uniform(s.sample_key, 0) for s in engine.add(request).waiting]
    expected = sample(few_BV, [rule] * 20, noise if rule.temperature else [0.0] * 20)
    assert [allowed.index(g.token_ids[0]) for g in generations] == expected


def test_sequences_that_start_one_by_one_read_the_prompt_s_logits() -> None:
    even = Script([{*range(0, V, 2)}])
    request = make_request(prompt_of(20), draws=(0, 1, 2), max_tokens=1, constraint=even)
    [alone] = run_all(tiny_engine(), request)
    engine = tiny_engine(max_sequences=1)
    [one_by_one] = run_all(engine, request)
    assert tokens_of(one_by_one) == tokens_of(alone)
    assert all(row.isfinite().all() for rows in engine.logits.values() for row in rows)


def test_constraints_do_not_change_unconstrained_samples(engine: RecordingEngine) -> None:
    plain = make_request(prompt_of(30), draws=(0, 1), max_tokens=8)
    [alone] = run_all(engine, plain)
    script = Script([{1, 2, 3}, [4, 5, 6], {8, 9}, [10] * 20])
    constrained = make_request(prompt_of(40, 1), draws=(0, 1, 2), max_tokens=30, constraint=script)
    [batched, scripted] = run_all(engine, plain, constrained)
    assert tokens_of(batched) == tokens_of(alone)
    assert all(g.token_ids[1:4] == (4, 5, 6) and g.token_ids[0] in (1, 2, 3) for g in scripted)


def test_forced_tokens_need_one_step_and_are_not_sampled(engine: RecordingEngine) -> None:
    script = Script([[1, 2, 3, 4, 5, 6], {8, 9}, [10, 11, 12]])
    request = make_request(prompt_of(20), max_tokens=30, constraint=script)
    prompt = engine.add(request)
    steps = 0
    while engine.has_work:
        [*generations] = engine.step().get(prompt, [])
        steps += 1
    [generation] = generations
    assert generation.token_ids[:6] == (1, 2, 3, 4, 5, 6)
    assert generation.token_ids[7:] == (10, 11, 12)
    assert (generation.finish_reason, generation.ended_by) == ("stop", None)
    assert len(engine.logits[prompt, 0]) == 1  # drawn once
    assert steps == 2  # the prompt; the forced tokens together


def test_forced_tokens_are_read_like_prompt_tokens(
    engine: RecordingEngine,
) -> None:
    forced = list(prompt_of(37, 5))
    script = Script([forced, {*range(V)}, forced[:3], {*range(V)}])
    request = make_request(prompt_of(20), max_tokens=80, constraint=script)
    [[generation]] = run_all(engine, request)
    [[behind, later]] = engine.logits.values()
    text = [*prompt_of(20), *generation.token_ids]
    decoder = engine.decoder
    expected = window_logits(decoder, decoder.new_cache(16), text)  # type: ignore[arg-type]
    assert torch.allclose(behind, expected[20 + 37 - 1], atol=1e-4)
    assert torch.allclose(later, expected[-2], atol=1e-4)


@pytest.mark.parametrize(
    "script",
    [
        Script([[1, 2, 3], {8, 9}, [10, 11, 12]]),
        Script([{8, 9}, [10] * 18]),
        Script([[5]]),
        Script([None, [1, 2, 3], {4, 5}], ends_free_text=True),
    ],
)
def test_log_probabilities_of_forced_tokens_are_the_model_s(
    engine: RecordingEngine, script: Script
) -> None:
    request = make_request(
        prompt_of(20), draws=(0, 1), max_tokens=25, constraint=script, logprobs=True,
        stop_ids=frozenset({END}),
    )  # fmt: skip
    [generations] = run_all(engine, request)
    decoder = engine.decoder
    for generation in generations:
        text = [*prompt_of(20), *generation.token_ids]
        logits = window_logits(decoder, decoder.new_cache(16), text)  # type: ignore[arg-type]
        expected = logits.log_softmax(-1)[range(19, len(text) - 1), generation.token_ids]
        assert generation.logprobs == pytest.approx(expected.tolist(), abs=1e-3)
    plain = replace(request, logprobs=False)
    assert tokens_of(run_all(engine, plain)[0]) == tokens_of(generations)


def test_an_end_that_the_constraint_rejects_is_dropped(
    engine: RecordingEngine,
) -> None:
    script = Script([None, [1, 2], {4, 5}], ends_free_text=True)
    request = make_request(
        prompt_of(20), draws=tuple(range(12)), rule=SamplingRule(temperature=3.0), max_tokens=400,
        stop_ids=frozenset({END}), constraint=script, logprobs=True,
    )  # fmt: skip
    [generations] = run_all(tiny_engine(num_blocks=1000), request)
    ended = [g for g in generations if g.finish_reason == "stop"]
    assert ended
    for generation in ended:
        assert END not in generation.token_ids
        assert generation.token_ids[-3:-1] == (1, 2)
        assert generation.token_ids[-1] in (4, 5)
        assert len(generation.logprobs or ()) == len(generation.token_ids)


def test_an_end_that_the_constraint_allows_ends_the_text(engine: RecordingEngine) -> None:
    request = make_request(
        prompt_of(20), stop_ids=frozenset({END}), constraint=Script([{3}, {END}, {5}])
    )
    [[generation]] = run_all(engine, request)
    assert (generation.token_ids, generation.finish_reason) == ((3,), "stop")
    assert generation.ended_by == END


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("max_tokens", [1, 2, 3, 5])
def test_max_tokens_also_cuts_forced_tokens(
    engine: RecordingEngine, max_tokens: int, logprobs: bool
) -> None:
    script = Script([[1, 2], {8}, [10, 11, 12]])
    request = make_request(
        prompt_of(20), max_tokens=max_tokens, constraint=script, logprobs=logprobs
    )
    [[generation]] = run_all(engine, request)
    assert generation.token_ids == (1, 2, 8, 10, 11, 12)[:max_tokens]
    assert generation.finish_reason == "length"
    assert len(generation.logprobs or ()) == (max_tokens if logprobs else 0)


def test_a_stop_string_can_end_forced_tokens(engine: RecordingEngine) -> None:
    seen: list[int] = []

    def on_token(index: int, token: int) -> bool:
        seen.append(token)
        return token == 2

    request = make_request(prompt_of(20), constraint=Script([[1, 2, 3]]), on_token=on_token)
    [[generation]] = run_all(engine, request)
    assert seen == [1, 2]
    assert (generation.token_ids, generation.finish_reason) == ((1, 2), "stop")


def test_an_empty_constraint_ends_only_its_own_sample(
    engine: RecordingEngine,
) -> None:
    class Mixed(Script):
        def matcher(self, index: int, max_tokens: int) -> ScriptMatcher:
            return ScriptMatcher([] if index else [{5}, {6}], False)

    [generations] = run_all(
        engine, make_request(prompt_of(20), draws=(0, 1, 2), constraint=Mixed([]))
    )
    assert tokens_of(generations) == [(5, 6), (), ()]


def test_noise_depends_on_the_key_of_a_constraint_only(engine: RecordingEngine) -> None:
    def ask(key: str | None, max_tokens: int = 12) -> list[tuple[int, ...]]:
        form = None if key is None else Script([{*range(V)}] * 12, key)
        request = make_request(prompt_of(20), draws=(0, 1), rule=SAMPLED, constraint=form)
        return tokens_of(run_all(engine, request)[0])

    assert ask("a") == ask("a")
    assert len({str(ask(key)) for key in ("a", "b", None)}) == 3


async def test_an_unsatisfiable_constraint_fails_only_its_own_request() -> None:
    class Failing(Script):
        def matcher(self, index: int, max_tokens: int) -> ScriptMatcher:
            steps = list(self.steps)
            return Broken(steps, False) if index == 1 else ScriptMatcher(steps, False)

    engine = tiny_engine()
    worker = EngineWorker(engine)
    free = num_free(engine)
    failing = make_request(
        prompt_of(20), draws=(0, 1, 2), constraint=Failing([[1, 2], {3}, {4}, {5}])
    )
    plain = make_request(prompt_of(33, 1), draws=(0, 1))
    refused, fine = await asyncio.gather(
        worker.generate(failing), worker.generate(plain), return_exceptions=True
    )
    assert isinstance(refused, EngineError)
    assert "too complex" in str(refused)
    assert isinstance(fine, list)
    assert len(fine) == 2
    assert tokens_of(await worker.generate(plain)) == tokens_of(fine)
    worker.close()
    assert num_free(engine) == free


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_small_cache_changes_neither_constrained_samples_nor_logprobs(
    seed: int, logprobs: bool
) -> None:
    rng = random.Random(seed)
    decoder = tiny_decoder(num_layers=1)

    def steps() -> list[list[int] | set[int] | None]:
        forced = [list(prompt_of(rng.randint(1, 30), rng.randrange(99))) for _ in range(3)]
        return [step for tokens in forced for step in (tokens, {*range(V)}, {3, 4, 5})]

    requests: list[GenerationRequest] = []
    for i in range(8):
        fields = {"draws": tuple(range(rng.randint(1, 4))), "logprobs": logprobs}
        form = None if i % 3 == 2 else Script(steps(), str(i))
        max_tokens = rng.randint(20, 100)
        prompt = prompt_of(rng.randint(1, 60), rng.randrange(3))
        requests.append(make_request(prompt, max_tokens=max_tokens, constraint=form, **fields))
    requests.append(score_request(prompt_of(30), [prompt_of(n, n) for n in (1, 2, 30, 70)]))
    alone = [run_all(tiny_engine(decoder), request)[0] for request in requests]
    engine = tiny_engine(decoder, num_blocks=12, max_step_tokens=40)
    prompts = [engine.add(request) for request in requests]
    done: dict[Prompt, list[Generation]] = {}
    num_preempted = 0
    while engine.has_work:
        done |= engine.step()
        num_preempted += len(engine.scheduler.preempted)
    assert num_preempted > 0
    for found, expected in zip((done[prompt] for prompt in prompts), alone, strict=True):
        assert tokens_of(found) == tokens_of(expected)
        for one, other in zip(found, expected, strict=True):
            assert (one.logprobs is None) is (other.logprobs is None)
            assert one.logprobs is None or one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
    assert num_free(engine) == 12


def test_a_beam_search_rejects_a_constraint(engine: RecordingEngine) -> None:
    with pytest.raises(EngineError, match="beam search"):
        engine.add(make_request(prompt_of(20), beams=2, constraint=Script([[1]])))


def test_cancelling_a_constrained_request_frees_its_blocks(engine: RecordingEngine) -> None:
    free = num_free(engine)
    prompt = engine.add(
        make_request(prompt_of(20), draws=(0, 1), constraint=Script([[1, 2], {3}, {4}]))
    )
    engine.step()
    engine.cancel(prompt)
    assert num_free(engine) == free
    assert not engine.has_work


# ------------------------------------------------------------------------------------- choices


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_choices_have_the_log_probabilities_of_transformers(name: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", MODELS[name])
    engine = Engine(load_decoder(weights_of(tmp_path / "model.gguf"), "float32", CPU))
    reference = reference_model(tmp_path / "model.gguf")
    prompt = prompt_of(50, vocab_size=VOCABULARY_SIZE)
    lengths = (1, 2, 5, 1, 40)
    choices = [prompt_of(n, seed, VOCABULARY_SIZE) for seed, n in enumerate(lengths, 1)]
    [scored] = run_all(engine, score_request(prompt, choices))
    for choice, generation in zip(choices, scored, strict=True):
        logits = reference_logits(reference, [*prompt, *choice])
        expected = logits.log_softmax(-1)[range(49, 49 + len(choice)), list(choice)].sum()
        assert total_logprob(generation) == pytest.approx(float(expected), rel=1e-4)
        assert generation.token_ids == choice


def test_single_tokens_are_scored_by_the_prompt_s_logits(engine: RecordingEngine) -> None:
    prompt = engine.add(score_request(prompt_of(20), [(token,) for token in range(V)]))
    scored = engine.step()
    while engine.has_work:
        scored |= engine.step()
    assert sum(total_logprob(g) for g in scored[prompt]) < 0
    probabilities = torch.tensor([total_logprob(g) for g in scored[prompt]]).exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
    assert engine.logits == {}


@pytest.mark.parametrize("max_step_tokens", [64, 1024])
def test_scores_of_choices_do_not_depend_on_batch_or_cache(max_step_tokens: int) -> None:
    decoder = tiny_decoder()
    request = score_request(prompt_of(100), [prompt_of(n, n) for n in (1, 3, 20, 60)])
    [alone] = run_all(tiny_engine(decoder), request)
    engine = tiny_engine(decoder, max_sequences=3, max_step_tokens=max_step_tokens)
    companions = [make_request(prompt_of(n, n), draws=(0, 1)) for n in (17, 90)]
    [batched, *_] = run_all(engine, request, *companions)
    [cached] = run_all(engine, request)
    assert cached[0].cached_tokens == 96
    for found in (batched, cached):
        assert list(map(total_logprob, found)) == pytest.approx(
            list(map(total_logprob, alone)), rel=1e-4
        )
