"""The contract of ``LM``, run over every implementation.

To test another one, add it to ``MODELS`` of ``lm_doubles``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lm_doubles import MODELS, Model, Places, remote, scripted

from archon.errors import NodeError, UnsupportedError
from archon.lm.base import CAPABILITIES, LM, close, most_prompt_tokens, prompts_of
from archon.lm.factory import OPENERS
from archon.types import (
    Completion,
    Constraint,
    Event,
    FreeText,
    Message,
    Request,
    SamplingParams,
    TokenDelta,
    Usage,
    total_usage,
)

QUESTION = (Message("user", "What is 12 + 7 - 3 * 4? Think step by step."),)
SAMPLED = Request(QUESTION, seed=1, sampling=SamplingParams(temperature=0.8, max_tokens=24))
GREEDY = replace(SAMPLED, sampling=SamplingParams(temperature=0, max_tokens=24))
NEEDS = {
    "choices": replace(SAMPLED, choices=("yes", "no")),
    "constraint": replace(SAMPLED, constraint=Constraint(regex="yes|no")),
    "logprobs": replace(SAMPLED, logprobs=True),
    "beams": replace(SAMPLED, sampling=SamplingParams(beams=2)),
}


@dataclass(frozen=True)
class ConstraintCase:
    """A constraint, and an independent check of a text."""

    constraint: Constraint
    is_satisfied: Callable[[str], object]


def is_move(text: str) -> bool:
    data = json.loads(text)
    return data.keys() == {"steps", "to"} and data["steps"] in (1, 2, 3) and data["to"] in "abc"


CONSTRAINTS = {
    "regex": ConstraintCase(
        Constraint(regex="[A-D]{3}-[0-9]{2}"), re.compile("[A-D]{3}-[0-9]{2}").fullmatch
    ),
    "json schema": ConstraintCase(
        Constraint(
            json_schema={
                "type": "object",
                "properties": {"steps": {"enum": [1, 2, 3]}, "to": {"enum": ["a", "b", "c"]}},
                "required": ["steps", "to"],
                "additionalProperties": False,
            }
        ),
        is_move,
    ),
    "order": ConstraintCase(
        Constraint(order_of=("[1]", "[2]", "[3]", "[4]")),
        lambda text: sorted(text.split(" > ")) == ["[1]", "[2]", "[3]", "[4]"],
    ),
}
VERDICT = Constraint(regex="correct|incorrect", after=FreeText("Verdict:", room=20))
TWO_CONSTRAINTS = Constraint(regex="a", order_of=("a", "b"))


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return MODELS[request.param]


@pytest.fixture(scope="session")
def places(
    server_address: str, tiny_chat_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Places:
    return Places(server_address, tiny_chat_file, tmp_path_factory.mktemp("models"))


@pytest.fixture
async def lm(model: Model, places: Places) -> AsyncIterator[LM]:
    lm = model.open(places)
    yield lm
    await close(lm)


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_every_backend_is_tested() -> None:
    assert OPENERS.keys() <= MODELS.keys()


class TestLM:
    async def test_is_an_lm_of_known_capabilities(self, lm: LM) -> None:
        assert isinstance(lm, LM)
        assert lm.capabilities <= set(CAPABILITIES)

    async def test_returns_n_completions_in_the_order_of_their_numbers(self, lm: LM) -> None:
        completions = await lm.generate(replace(SAMPLED, n=5, first_draw=2))
        assert [completion.draw for completion in completions] == [2, 3, 4, 5, 6]
        assert all(completion.text for completion in completions)

    async def test_reports_its_prompts_in_advance_if_it_can_within_the_upper_bound(
        self, lm: LM
    ) -> None:
        messages = (Message("system", "Be brief – and kind."), *SAMPLED.messages)
        told = await prompts_of(lm, messages)
        (completion,) = await lm.generate(replace(SAMPLED, messages=messages))
        assert told in (None, dict(completion.prompts))
        if told is not None:
            assert sum(told.values()) <= most_prompt_tokens(messages)

    async def test_refuses_a_request_for_no_completions(self, lm: LM) -> None:
        with pytest.raises(UnsupportedError):
            await lm.generate(replace(SAMPLED, n=0))

    async def test_first_draw_continues_where_an_earlier_request_stopped(self, lm: LM) -> None:
        whole = await lm.generate(replace(SAMPLED, n=4))
        first = await lm.generate(replace(SAMPLED, n=2))
        second = await lm.generate(replace(SAMPLED, n=2, first_draw=2))
        assert texts(whole) == texts(first + second)

    async def test_equal_requests_get_equal_texts(self, lm: LM) -> None:
        request = replace(SAMPLED, n=3)
        assert texts(await lm.generate(request)) == texts(await lm.generate(request))

    async def test_another_seed_yields_other_texts(self, lm: LM) -> None:
        request = replace(SAMPLED, n=6)
        other = replace(request, seed=2)
        assert texts(await lm.generate(request)) != texts(await lm.generate(other))

    async def test_samples_differ_from_each_other(self, lm: LM) -> None:
        assert len(set(texts(await lm.generate(replace(SAMPLED, n=8))))) > 1

    async def test_at_temperature_0_all_samples_of_all_seeds_are_equal(self, lm: LM) -> None:
        completions = await lm.generate(replace(GREEDY, n=3))
        completions += await lm.generate(replace(GREEDY, seed=9))
        assert len(set(texts(completions))) == 1

    async def test_max_tokens_truncates_the_text_with_finish_reason_length(
        self, lm: LM, model: Model
    ) -> None:
        [whole] = await lm.generate(GREEDY)
        [cut] = await lm.generate(replace(GREEDY, sampling=SamplingParams(0, max_tokens=3)))
        assert cut.finish_reason == "length"
        assert len(cut.text) < len(whole.text)
        if model.is_plain:  # another node's text would be another prompt of the one that answers
            assert cut.usage.completion_tokens == 3
            assert whole.text.startswith(cut.text)

    async def test_the_text_ends_before_a_stop_string(self, lm: LM, model: Model) -> None:
        [whole] = await lm.generate(GREEDY)
        middle = len(whole.text) // 2
        stop = whole.text[middle : middle + 3]
        sampling = replace(GREEDY.sampling, stop=("not in the text", stop))
        [stopped] = await lm.generate(replace(GREEDY, sampling=sampling))
        assert stopped.finish_reason == "stop"
        assert stop not in stopped.text
        if model.is_plain:
            assert stopped.text == whole.text[: whole.text.index(stop)]

    async def test_usage_counts_every_completion(self, lm: LM, model: Model) -> None:
        completions = await lm.generate(replace(SAMPLED, n=3))
        total = total_usage(completions)
        assert total.calls >= 3
        assert total.completion_tokens >= 3
        assert 0 <= total.generated_tokens <= total.completion_tokens
        assert 0 <= total.cached_tokens <= total.prompt_tokens
        if model.is_plain:
            assert total.calls == 3
            assert all(c.usage.completion_tokens <= 24 for c in completions)

    async def test_prompts_name_the_prompt_and_its_tokens(self, lm: LM, model: Model) -> None:
        completions = await lm.generate(replace(SAMPLED, n=2))
        other = await lm.generate(replace(SAMPLED, messages=(Message("user", "What is 1 + 1?"),)))
        assert completions[0].prompts.keys() & completions[1].prompts.keys()
        assert completions[0].prompts.keys().isdisjoint(other[0].prompts)
        assert all(n > 0 for completion in completions for n in completion.prompts.values())
        if model.is_plain:
            assert completions[0].prompts == completions[1].prompts
            [num_tokens] = completions[0].prompts.values()
            assert completions[0].usage.prompt_tokens == num_tokens

    async def test_beam_search_returns_the_best_first_with_their_scores(self, lm: LM) -> None:
        if "beams" not in lm.capabilities:
            pytest.skip("does not search")
        sampling = replace(SAMPLED.sampling, beams=3)
        completions = await lm.generate(replace(SAMPLED, n=3, sampling=sampling))
        scores = [completion.score for completion in completions]
        assert None not in scores
        assert scores == sorted(scores, key=lambda score: -(score or 0))
        [second] = await lm.generate(replace(SAMPLED, n=1, first_draw=1, sampling=sampling))
        assert second.text == completions[1].text

    async def test_there_is_one_logprob_per_token(self, lm: LM) -> None:
        if "logprobs" not in lm.capabilities:
            pytest.skip("has no log-probabilities")
        for completion in await lm.generate(replace(SAMPLED, n=2, logprobs=True)):
            assert completion.logprobs is not None
            if completion.trace is None:  # an architecture wrote other texts, too
                assert len(completion.logprobs) == completion.usage.completion_tokens
            assert all(logprob <= 0 for logprob in completion.logprobs)
            if completion.token_ids is not None:
                assert len(completion.token_ids) == len(completion.logprobs)
            if completion.tokens is not None:
                assert len(completion.tokens) == len(completion.logprobs)

    async def test_choices_are_scored_and_nothing_is_generated(self, lm: LM) -> None:
        if "choices" not in lm.capabilities:
            pytest.skip("scores no choices")
        [completion] = await lm.generate(NEEDS["choices"])
        assert completion.choice_logprobs is not None
        assert set(completion.choice_logprobs) == {"yes", "no"}
        assert all(logprob <= 0 for logprob in completion.choice_logprobs.values())
        assert completion.finish_reason == "choices"
        assert completion.usage.completion_tokens == 0
        assert completion.usage.choice_tokens >= 2

    async def test_a_constraint_is_satisfied(self, lm: LM) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        for completion in await lm.generate(replace(NEEDS["constraint"], n=4)):
            assert completion.text in ("yes", "no")

    async def test_choices_score_the_same_for_all_samples_and_seeds(self, lm: LM) -> None:
        if "choices" not in lm.capabilities:
            pytest.skip("scores no choices")
        scored = await lm.generate(replace(NEEDS["choices"], n=3, first_draw=2))
        scored += await lm.generate(replace(NEEDS["choices"], seed=9))
        assert [completion.draw for completion in scored] == [2, 3, 4, 0]
        for completion in scored[1:]:
            assert completion.choice_logprobs == pytest.approx(scored[0].choice_logprobs, rel=1e-4)

    @pytest.mark.parametrize("choices", [(), ("yes", "")])
    async def test_missing_or_empty_choices_are_refused(
        self, lm: LM, choices: tuple[str, ...]
    ) -> None:
        if "choices" not in lm.capabilities:
            pytest.skip("scores no choices")
        with pytest.raises(UnsupportedError, match="choices"):
            await lm.generate(replace(SAMPLED, choices=choices))

    @pytest.mark.parametrize("name", CONSTRAINTS)
    async def test_all_samples_satisfy_the_constraint(self, lm: LM, name: str) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        case = CONSTRAINTS[name]
        sampling = SamplingParams(0.8, max_tokens=100)
        completions = await lm.generate(
            replace(SAMPLED, n=4, constraint=case.constraint, sampling=sampling)
        )
        for completion in completions:
            assert case.is_satisfied(completion.text), completion.text
            assert completion.finish_reason == "stop"
        assert len(set(texts(completions))) > 1

    @pytest.mark.parametrize("max_tokens", [20, 24, 60])
    async def test_a_constraint_after_free_text_is_satisfied_for_any_max_tokens(
        self, lm: LM, max_tokens: int
    ) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        sampling = SamplingParams(0.8, max_tokens=max_tokens)
        request = replace(SAMPLED, n=4, sampling=sampling, constraint=VERDICT)
        completions = await lm.generate(request)
        for completion in completions:
            *_, last = completion.text.split("\n")
            assert last in ("Verdict: correct", "Verdict: incorrect")
            assert completion.finish_reason == "stop"
        if max_tokens == 60:
            assert any(completion.text.count("\n") for completion in completions)

    async def test_max_tokens_truncates_a_constrained_text(self, lm: LM) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        long = Constraint(regex="([ab] ){30}")
        sampling = SamplingParams(0.8, max_tokens=3)
        [cut] = await lm.generate(replace(SAMPLED, sampling=sampling, constraint=long))
        assert cut.finish_reason == "length"
        assert re.fullmatch("([ab] ){0,29}[ab]? ?", cut.text)

    async def test_a_stop_string_ends_a_constrained_text(self, lm: LM) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        sampling = SamplingParams(0.8, max_tokens=50, stop=("sto",))
        request = replace(SAMPLED, sampling=sampling, constraint=Constraint(regex="one stop two"))
        events: list[Event] = []
        [stopped] = await lm.generate(request, events.append)
        assert (stopped.text, stopped.finish_reason) == ("one ", "stop")
        deltas = [e.text for e in events if isinstance(e, TokenDelta) and not e.node]
        assert "".join(deltas) == "one "

    async def test_streaming_a_constrained_text_changes_nothing(self, lm: LM) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        request = replace(SAMPLED, n=3, constraint=VERDICT)
        events: list[Event] = []
        streamed = await lm.generate(request, events.append)
        assert texts(streamed) == texts(await lm.generate(request))
        for completion in streamed:
            own = [
                e.text
                for e in events
                if isinstance(e, TokenDelta) and e.draw == completion.draw and not e.node
            ]
            assert "".join(own) == completion.text

    @pytest.mark.parametrize("constraint", [Constraint(), Constraint(regex="("), TWO_CONSTRAINTS])
    async def test_an_ambiguous_or_invalid_constraint_is_refused(
        self, lm: LM, constraint: Constraint
    ) -> None:
        if "constraint" not in lm.capabilities:
            pytest.skip("follows no constraints")
        with pytest.raises((UnsupportedError, NodeError)):
            await lm.generate(replace(SAMPLED, constraint=constraint))

    @pytest.mark.parametrize("capability", NEEDS)
    async def test_a_missing_capability_is_refused(self, lm: LM, capability: str) -> None:
        if capability in lm.capabilities:
            pytest.skip("has it")
        with pytest.raises(UnsupportedError, match=capability):
            await lm.generate(NEEDS[capability])

    async def test_deltas_concatenate_to_the_text_of_each_sample(self, lm: LM) -> None:
        events: list[Event] = []
        completions = await lm.generate(replace(SAMPLED, n=3, first_draw=1), events.append)
        deltas = [event for event in events if isinstance(event, TokenDelta) and not event.node]
        for completion in completions:
            own = [delta.text for delta in deltas if delta.draw == completion.draw]
            assert "".join(own) == completion.text
        assert {delta.draw for delta in deltas} <= {1, 2, 3}

    async def test_streaming_changes_neither_texts_nor_usage(self, lm: LM) -> None:
        request = replace(SAMPLED, n=2)
        streamed = await lm.generate(request, lambda event: None)
        whole = await lm.generate(request)
        assert texts(streamed) == texts(whole)
        # Whether tokens are found in a cache depends on earlier requests.
        assert [replace(c.usage, cached_tokens=0) for c in streamed] == [
            replace(c.usage, cached_tokens=0) for c in whole
        ]

    async def test_concurrent_calls_do_not_mix(self, lm: LM) -> None:
        requests = [
            replace(SAMPLED, n=2, seed=seed, messages=(Message("user", f"What is {seed} + 1?"),))
            for seed in range(12)
        ]
        apart = [texts(await lm.generate(request)) for request in requests]
        together = await asyncio.gather(*(lm.generate(request) for request in requests))
        assert [texts(completions) for completions in together] == apart

    async def test_cancelling_leaves_nothing_behind(self, lm: LM) -> None:
        before = asyncio.all_tasks()
        call = asyncio.create_task(lm.generate(replace(SAMPLED, n=8)))
        for _ in range(3):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert asyncio.all_tasks() <= before
        assert len(await lm.generate(SAMPLED)) == 1

    async def test_unicode_is_preserved(self, lm: LM) -> None:
        message = Message("user", "Combien font 3 + 4 € ? 数学 🧮 \u2028 naïve — “quoted” \\ \x00")
        [completion] = await lm.generate(replace(SAMPLED, messages=(message,)))
        assert completion.text
        assert completion.usage != Usage()

    async def test_history_changes_the_prompt(self, lm: LM) -> None:
        history = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "!"))
        [alone] = await lm.generate(SAMPLED)
        [after] = await lm.generate(replace(SAMPLED, messages=history + QUESTION))
        assert alone.prompts.keys() != after.prompts.keys()
        assert after.usage.prompt_tokens > alone.usage.prompt_tokens

    def test_works_in_one_event_loop_after_another(self, model: Model, places: Places) -> None:
        lm = model.open(places)

        async def ask() -> list[str]:
            found = texts(await lm.generate(replace(SAMPLED, n=8)))
            if model.reopens:
                await close(lm)
            return found

        assert asyncio.run(ask()) == asyncio.run(ask())
        asyncio.run(close(lm))


async def test_a_served_model_answers_like_the_model_itself(places: Places) -> None:
    request = replace(GREEDY, messages=(Message("user", "数学 🧮 naïve: 30 \u00d7 4 \u00f7 5?"),))
    here, there = scripted(places), remote(places)
    [said] = await here.generate(request)
    [served] = await there.generate(request)
    await close(there)
    assert "30 \u00d7 4 \u00f7 5" in said.text
    assert served.text == said.text
