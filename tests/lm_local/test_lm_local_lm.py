"""The engine as a language model, on a tiny file; what every LM promises is tested in contracts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_lm_doubles import QUESTION, STOP_ID, open_tiny
from tiny_models import TinyModel, tiny_vocabulary, write_gguf

from archon import api
from archon.engine.sampling.request import OnToken
from archon.errors import ContextLengthError, ModelError, UnsupportedError
from archon.lm.base import close
from archon.lm.local.chat import ChatPrompt
from archon.lm.local.detokenizer import Detokenizer
from archon.lm.local.lm import LocalLM
from archon.lm.local.tokenizer import LONG_TEXT
from archon.types import Constraint, Event, Hold, Message, Request, SamplingParams, TokenDelta


@pytest.fixture
async def lm(tiny_chat_file: Path) -> AsyncIterator[LocalLM]:
    lm = open_tiny(tiny_chat_file)
    yield lm
    await lm.aclose()


async def test_usage_counts_prompt_cache_and_tokens(lm: LocalLM) -> None:
    prompt_ids = lm.chat.encode(QUESTION.messages)
    completions = await lm.generate(replace(QUESTION, n=3))
    for completion in completions:
        usage = completion.usage
        assert completion.token_ids is not None
        assert usage.prompt_tokens == len(prompt_ids)
        assert usage.completion_tokens == usage.generated_tokens == len(completion.token_ids) == 20
        assert usage.calls == 1
    cached = [c.usage.cached_tokens for c in completions]
    assert cached == [0, len(prompt_ids), len(prompt_ids)]
    [again] = await lm.generate(QUESTION)
    assert again.usage.cached_tokens == (len(prompt_ids) - 1) // 16 * 16
    assert again.text == completions[0].text


async def test_its_status_is_the_engine_s(lm: LocalLM) -> None:
    request = Request((Message("user", "hello"),), sampling=SamplingParams(max_tokens=20))
    [completion] = await lm.generate(request)
    assert lm.status() == lm.worker.engine.status()
    assert lm.status().generated_tokens >= completion.usage.generated_tokens > 0


async def test_a_pinned_prompt_reaches_the_engine(lm: LocalLM) -> None:
    hold = Hold()
    long = Message("user", "a long question " * 10)
    await lm.generate(replace(QUESTION, messages=(long,), hold=hold))
    tree = lm.worker.engine.scheduler.memory.tree
    assert hold in tree._pinned
    hold.release()
    await lm.generate(QUESTION)
    assert hold not in tree._pinned


async def test_prompt_digests_depend_on_model_and_tokens(lm: LocalLM, tmp_path: Path) -> None:
    [one] = await lm.generate(QUESTION)
    [same] = await lm.generate(replace(QUESTION, seed=5))
    [longer] = await lm.generate(replace(QUESTION, messages=(Message("user", "the answer!"),)))
    assert one.prompts == same.prompts
    assert one.prompts.keys().isdisjoint(longer.prompts)
    write_gguf(tmp_path / "other.gguf", TinyModel("qwen2", seed=1))
    other = open_tiny(tmp_path / "other.gguf")
    [elsewhere] = await other.generate(QUESTION)
    await other.aclose()
    assert one.prompts.keys().isdisjoint(elsewhere.prompts)


async def test_the_text_is_the_decoded_tokens(lm: LocalLM) -> None:
    for completion in await lm.generate(replace(QUESTION, n=4)):
        assert completion.token_ids is not None
        assert completion.text == lm.tokenizer.decode(completion.token_ids)
        assert completion.finish_reason == "length"


async def test_the_request_s_sampling_takes_precedence_over_the_card_s(
    tiny_chat_file: Path,
) -> None:
    lm = open_tiny(tiny_chat_file, sampling={"temperature": 0, "max_tokens": 5})
    greedy = await lm.generate(replace(QUESTION, sampling=SamplingParams(), n=2))
    assert [c.usage.completion_tokens for c in greedy] == [5, 5]
    assert greedy[0].text == greedy[1].text
    [longer] = await lm.generate(replace(QUESTION, sampling=SamplingParams(max_tokens=9)))
    assert longer.usage.completion_tokens == 9
    assert longer.text.startswith(greedy[0].text)
    await lm.aclose()


async def test_integers_sample_like_equal_floats(lm: LocalLM) -> None:
    for whole, real in (
        (SamplingParams(1, max_tokens=20), SamplingParams(1.0, max_tokens=20)),
        (
            SamplingParams(1, top_p=1, min_p=0, max_tokens=20),
            SamplingParams(1.0, top_p=1.0, min_p=0.0, max_tokens=20),
        ),
    ):
        [one] = await lm.generate(replace(QUESTION, sampling=whole))
        [other] = await lm.generate(replace(QUESTION, sampling=real))
        assert one.text == other.text


async def test_a_temperature_near_zero_is_greedy(lm: LocalLM) -> None:
    [cold] = await lm.generate(replace(QUESTION, sampling=SamplingParams(1e-44, max_tokens=20)))
    [greedy] = await lm.generate(replace(QUESTION, sampling=SamplingParams(0, max_tokens=20)))
    assert cold.text == greedy.text


async def test_a_stop_string_ends_text_and_generation(lm: LocalLM) -> None:
    [whole] = await lm.generate(QUESTION)
    stop = whole.text[7:9]
    sampling = replace(QUESTION.sampling, stop=(stop,))
    events: list[Event] = []
    [stopped] = await lm.generate(replace(QUESTION, sampling=sampling), events.append)
    assert stopped.text == whole.text[: whole.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert stopped.usage.completion_tokens < 20
    assert "".join(e.text for e in events if isinstance(e, TokenDelta)) == stopped.text


async def test_deltas_arrive_in_the_loop_s_thread_before_the_result(lm: LocalLM) -> None:
    loop, deltas = asyncio.get_running_loop(), []

    def on_event(event: Event) -> None:
        assert asyncio.get_running_loop() is loop
        assert isinstance(event, TokenDelta)
        deltas.append(event)

    completions = await lm.generate(replace(QUESTION, n=3, first_draw=4), on_event)
    for completion in completions:
        assert "".join(d.text for d in deltas if d.draw == completion.draw) == completion.text
    assert len(deltas) > 3


def test_a_streaming_call_of_a_closed_loop_does_not_disturb_others(tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file, context=2000)

    async def leave() -> None:
        begun = asyncio.Event()
        sampling = SamplingParams(0.9, max_tokens=1500)
        request = replace(QUESTION, sampling=sampling)
        call = asyncio.create_task(lm.generate(request, lambda event: begun.set()))
        await begun.wait()
        call.cancel()

    async def ask() -> list[str]:
        return [c.text for c in await lm.generate(replace(QUESTION, n=2))]

    expected = asyncio.run(ask())
    for _ in range(5):
        asyncio.run(leave())
        assert asyncio.run(ask()) == expected
    asyncio.run(lm.aclose())


def test_a_delta_for_a_closed_loop_is_dropped(tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file)
    stream = Detokenizer(lm.tokenizer, ())

    async def make() -> OnToken:
        return lm._on_token([stream], 0, lambda event: None)

    on_token = asyncio.run(make())
    assert not on_token(0, lm.tokenizer.encode("x")[0])
    assert stream.text == "x"


async def test_unsupported_requests_are_refused(lm: LocalLM) -> None:
    with pytest.raises(UnsupportedError, match="regular expression"):
        await lm.generate(replace(QUESTION, constraint=Constraint(regex="(")))
    beams = SamplingParams(max_tokens=5, beams=2)
    with pytest.raises(UnsupportedError, match="beam search"):
        await lm.generate(replace(QUESTION, sampling=beams, constraint=Constraint(regex="a+")))
    with pytest.raises(UnsupportedError, match="at least 1"):
        await lm.generate(replace(QUESTION, n=0))
    long = (Message("user", "word " * 500),)
    with pytest.raises(ContextLengthError, match="context of 512 tokens"):
        await lm.generate(replace(QUESTION, messages=long))


async def test_an_unsatisfiable_schema_is_refused(lm: LocalLM) -> None:
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    for schema in (endless, {"$ref": "#"}):
        with pytest.raises(UnsupportedError, match="cannot be satisfied"):
            await lm.generate(replace(QUESTION, constraint=Constraint(json_schema=schema)))
    assert await lm.generate(QUESTION)


async def test_choices_count_as_choice_tokens_and_their_prompt_is_computed_once(
    lm: LocalLM,
) -> None:
    prompt_ids = lm.chat.encode(QUESTION.messages)
    choices = ("yes", "the answer", " is 12")
    completions = await lm.generate(replace(QUESTION, choices=choices, n=2))
    num_tokens = sum(len(lm.tokenizer.encode(choice)) for choice in choices)
    for completion in completions:
        usage = completion.usage
        assert (usage.choice_tokens, usage.completion_tokens, usage.calls) == (num_tokens, 0, 1)
        assert usage.prompt_tokens == len(prompt_ids)
        assert (completion.text, completion.finish_reason) == ("", "choices")
    assert [c.usage.cached_tokens for c in completions] == [0, len(prompt_ids)]
    assert completions[0].choice_logprobs == completions[1].choice_logprobs


async def test_a_choice_has_the_probability_of_the_sample_that_generates_it(lm: LocalLM) -> None:
    sampling = replace(QUESTION.sampling, max_tokens=6)
    draws = await lm.generate(replace(QUESTION, n=8, sampling=sampling, logprobs=True))
    written = [c for c in draws if lm.tokenizer.encode(c.text) == list(c.token_ids or ())]
    assert written
    texts = tuple(c.text for c in written)
    [scored] = await lm.generate(replace(QUESTION, choices=texts))
    for completion in written:
        assert completion.logprobs is not None
        assert scored.choice_logprobs is not None
        expected = pytest.approx(sum(completion.logprobs), rel=1e-4)
        assert scored.choice_logprobs[completion.text] == expected


async def test_forced_tokens_are_tokens_of_the_completion(lm: LocalLM) -> None:
    constraint = Constraint(json_schema={"const": {"the answer": [1, 2]}})
    [completion] = await lm.generate(replace(QUESTION, constraint=constraint, logprobs=True))
    assert completion.text == '{"the answer": [1, 2]}'
    assert completion.token_ids == tuple(lm.tokenizer.encode(completion.text))
    assert len(completion.logprobs or ()) == completion.usage.completion_tokens > 1


async def test_the_card_s_context_takes_precedence_over_the_file_s(tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file, context=30)
    with pytest.raises(ContextLengthError, match="context of 30 tokens"):
        await lm.generate(QUESTION)
    await lm.aclose()


async def test_a_base_model_gets_a_transcript(tmp_path: Path) -> None:
    write_gguf(tmp_path / "base.gguf", TinyModel("llama", chat_template=None))
    lm = open_tiny(tmp_path / "base.gguf")
    [completion] = await lm.generate(QUESTION)
    transcript = lm.tokenizer.encode("Question: the answer\n\nAnswer:")
    assert completion.usage.prompt_tokens == len(transcript)
    assert completion.text
    await lm.aclose()


async def test_a_turn_ends_at_the_model_s_end_of_turn(lm: LocalLM) -> None:
    assert STOP_ID in lm.tokenizer.stop_ids
    decoder = lm.worker.engine.decoder
    head = decoder.head.weight_OI  # type: ignore[attr-defined]
    head[STOP_ID, 0] = 2 * head[:, 0].max()  # now by far the likeliest token
    [completion] = await lm.generate(replace(QUESTION, logprobs=True))
    assert (completion.text, completion.finish_reason) == ("", "stop")
    assert completion.token_ids == completion.logprobs == ()
    assert completion.usage.completion_tokens == 0


@pytest.mark.parametrize("precision", ["bf16", "int8"])
async def test_every_precision_of_a_card_runs(precision: str, tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file, precision=precision)
    request = replace(QUESTION, n=3)
    texts = [c.text for c in await lm.generate(request)]
    assert len(set(texts)) > 1
    await lm.aclose()


def test_a_vocabulary_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    longer = {
        "tokenizer.ggml.tokens": [*vocabulary.tokens, "one more"],
        "tokenizer.ggml.token_type": [*vocabulary.types, 1],
    }
    write_gguf(tmp_path / "file.gguf", TinyModel("qwen2", metadata=longer))
    with pytest.raises(ModelError, match="289 tokens, but the model has only 288 embeddings"):
        open_tiny(tmp_path / "file.gguf")


def test_an_invalid_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.gguf").write_text("no model")
    with pytest.raises(ModelError, match="not a GGUF file"):
        open_tiny(tmp_path / "file.gguf")


async def test_judges_on_the_engine_always_rank_and_judge(tiny_chat_file: Path) -> None:
    card = {"name": "tiny", "backend": "local", "sources": [{"path": str(tiny_chat_file)}]}
    sampling = {"temperature": 1.0, "max_tokens": 40}
    asks = {"model": "solver", "sampling": sampling, "prompt": {"text": "{question}{candidates}"}}
    spec: dict[str, Any] = {
        "version": 1,
        "name": "judged",
        "models": {"solver": card | {"precision": "float32", "context": 2000}},
        "nodes": {
            "draft": {"type": "generator", **asks, "prompt": {"text": "{question}"}, "samples": 5},
            "best": {"type": "ranker", **asks, "inputs": ["draft"]},
            "check": {"type": "verifier", **asks, "inputs": ["best"]},
        },
        "output": "check",
    }
    architecture = api.load(spec)
    for seed in range(3):
        answer = await architecture.arun("the answer", seed=seed)
        for candidate in answer.candidates:
            assert candidate.annotations[0].reason == ""
            verdict = candidate.latest("verdict")
            assert verdict is not None
            assert verdict.value in ("pass", "fail")
    await close(api.lm(spec["models"]["solver"]))


async def test_a_long_prompt_is_encoded_outside_the_event_loop(
    lm: LocalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, threads = lm.chat.prompt, list[int]()

    def noted(*given: Any) -> ChatPrompt:
        threads.append(threading.get_ident())
        return prompt(*given)

    monkeypatch.setattr(lm.chat, "prompt", noted)
    long = Message("user", "the answer " * (LONG_TEXT // 11 + 1))
    with pytest.raises(ContextLengthError):
        await lm.generate(replace(QUESTION, messages=(long,)))
    assert threads
    assert threading.get_ident() not in threads


async def test_changes_to_a_system_message_are_noted_on_each_completion(
    tmp_path: Path,
) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m.content }}{% endfor %}<|im_end|>"
    )
    write_gguf(tmp_path / "model.gguf", TinyModel("qwen2", chat_template=template))
    lm = open_tiny(tmp_path / "model.gguf")
    messages = (Message("system", "the rule"), Message("user", "the answer"))
    completions = await lm.generate(replace(QUESTION, messages=messages, n=2))
    completions += await lm.generate(replace(QUESTION, messages=messages, choices=("a", "b")))
    merged = (Message("user", "the rule\n\nthe answer"),)
    assert lm.chat.encode(messages) == lm.chat.encode(merged)
    plain = await lm.generate(replace(QUESTION, messages=merged))
    await lm.aclose()
    notes = {completion.notes for completion in completions}
    assert notes == {
        (
            "the chat template rejects the system role (no system); "
            "the system text is prepended to the user's message instead",
        )
    }
    assert plain[0].notes == ()
    assert plain[0].text == completions[0].text
