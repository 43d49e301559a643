"""OpenAI's own client against a server process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion
from pydantic import BaseModel
from serve_process import KEY, Served, serving

QUESTION: Any = [{"role": "user", "content": "What is 17 * 23?"}]


class Judgement(BaseModel):
    right: bool
    sign: Literal["+", "-", "*"]


def ask(served: Served, model: str, **values: Any) -> ChatCompletion:
    with served.client() as client:
        reply = client.chat.completions.create(model=model, messages=QUESTION, **values)
    assert isinstance(reply, ChatCompletion)
    return reply


def pieces(chunks: list[Any], index: int = 0) -> list[str]:
    """Return the texts that are streamed for one choice."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return [choice.delta.content for choice in choices if choice.delta.content]


@pytest.fixture(params=["scripted", "tiny"])
def single(request: pytest.FixtureRequest) -> Served:
    """A server with an architecture of one node, over each kind of model."""
    served: Served = request.getfixturevalue(request.param)
    return served


@pytest.fixture(params=["scripted", "tiny"])
def plain(request: pytest.FixtureRequest) -> tuple[Served, str]:
    """A server and the name of one of its plain models."""
    return request.getfixturevalue(request.param), request.param


# ------------------------------------------------------------------------------ complete answers


def test_models_are_listed_in_the_order_of_the_command(scripted: Served) -> None:
    with scripted.client() as client:
        assert [m.id for m in client.models.list()] == ["single", "self-consistency", "scripted"]
        assert client.models.retrieve("single").owned_by == "archon"


def test_a_seed_decides_the_answer(single: Served) -> None:
    texts = [
        ask(single, "single", seed=seed, max_tokens=20).choices[0].message.content
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert all(texts)


def test_n_answers_are_different_samples_and_the_first_is_that_of_one(single: Served) -> None:
    several = ask(single, "single", n=3, seed=1, max_tokens=20)
    texts = [choice.message.content for choice in several.choices]
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len(set(texts)) > 1
    assert texts[0] == ask(single, "single", seed=1, max_tokens=20).choices[0].message.content


def test_usage_sums_the_nodes(scripted: Served) -> None:
    one = ask(scripted, "single", seed=1).usage
    many = ask(scripted, "self-consistency", seed=1, extra_body={"archon": {"trace": True}})
    assert one is not None
    assert many.usage is not None
    [choice] = many.choices
    trace = choice.archon["trace"]  # type: ignore[attr-defined]
    assert many.usage.prompt_tokens == one.prompt_tokens
    assert many.usage.completion_tokens == trace["usage"]["completion_tokens"]
    assert many.usage.completion_tokens > one.completion_tokens
    assert [node["node"] for node in trace["nodes"]]
    assert choice.archon["value"] is not None  # type: ignore[attr-defined]


def test_a_trace_is_sent_only_on_request(scripted: Served) -> None:
    assert not ask(scripted, "single").choices[0].model_extra


def test_limits_and_stop_strings_end_a_text(single: Served) -> None:
    short = ask(single, "single", max_completion_tokens=3, seed=1).choices[0]
    assert short.finish_reason == "length"
    text = ask(single, "single", max_tokens=20, seed=1).choices[0].message.content
    assert text is not None
    stop = text[5:7]
    stopped = ask(single, "single", max_tokens=20, seed=1, stop=[stop, "never"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (text.partition(stop)[0], "stop")


def test_temperature_0_is_one_text(single: Served) -> None:
    texts = {
        ask(single, "single", temperature=0, top_p=0.5, seed=seed, max_tokens=20)
        .choices[0]
        .message.content
        for seed in (1, 2)
    }
    assert len(texts) == 1


def test_log_probabilities_spell_the_text(plain: tuple[Served, str]) -> None:
    served, model = plain
    for name in (model, "single"):
        [choice] = ask(served, name, logprobs=True, max_tokens=20, seed=1).choices
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        spelt = b"".join(bytes(token.bytes or ()) for token in tokens)
        assert spelt.decode("utf-8", "replace") == choice.message.content
        assert tokens
        assert all(token.logprob <= 0 for token in tokens)


def test_a_schema_is_followed_and_parsed_by_the_client(plain: tuple[Served, str]) -> None:
    served, model = plain
    for name in (model, "single"):
        with served.client() as client:
            reply = client.chat.completions.parse(
                model=name, messages=QUESTION, response_format=Judgement, max_tokens=60, seed=3
            )
        assert isinstance(reply.choices[0].message.parsed, Judgement)


def test_any_json_object_is_a_response_format(scripted: Served) -> None:
    reply = ask(scripted, "scripted", response_format={"type": "json_object"})
    assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


def test_a_conversation_continues_with_the_clients_copy_of_an_answer(scripted: Served) -> None:
    with scripted.client() as client:
        first = client.chat.completions.create(model="single", messages=QUESTION, seed=1)
        messages = [*QUESTION, first.choices[0].message, {"role": "user", "content": "And + 1?"}]
        second = client.chat.completions.create(model="single", messages=messages, seed=1)
    assert second.choices[0].message.content


# ---------------------------------------------------------------------------------- streaming


def test_a_node_that_writes_is_streamed_token_by_token(single: Served) -> None:
    complete = ask(single, "single", seed=1, max_tokens=20)
    with single.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="single",
                messages=QUESTION,
                seed=1,
                max_tokens=20,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert len(pieces(chunks)) > 5
    assert "".join(pieces(chunks)) == complete.choices[0].message.content
    *texts, last = chunks
    assert texts[-1].choices[0].finish_reason == complete.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in texts)
    assert last.choices == []
    assert last.usage is not None
    assert complete.usage is not None
    assert last.usage.total_tokens == complete.usage.total_tokens


def test_a_node_that_selects_is_streamed_as_one_delta(scripted: Served) -> None:
    with scripted.client() as client:
        stream = client.chat.completions.create(
            model="self-consistency", messages=QUESTION, seed=1, stream=True
        )
        [text] = pieces(list(stream))
    assert text == ask(scripted, "self-consistency", seed=1).choices[0].message.content


def test_several_streamed_texts_join_up_each(single: Served) -> None:
    complete = ask(single, "single", seed=1, n=3, max_tokens=20)
    with single.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="single", messages=QUESTION, seed=1, n=3, max_tokens=20, stream=True
            )
        )
    joined = ["".join(pieces(chunks, index)) for index in range(3)]
    assert joined == [choice.message.content for choice in complete.choices]


def test_the_progress_of_the_nodes_is_reported_in_comments(scripted: Served) -> None:
    body = {"model": "self-consistency", "messages": QUESTION, "stream": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    reply = httpx.post(
        f"{scripted.models}/chat/completions", json=body, headers=headers, trust_env=False
    )
    comments = [json.loads(line[2:]) for line in reply.text.splitlines() if line.startswith(": ")]
    nodes = {comment["node"] for comment in comments}
    assert len(nodes) > 1
    for node in nodes:
        assert [c["event"] for c in comments if c["node"] == node] == ["started", "finished"]


def test_a_streamed_answer_ends_with_log_probabilities_and_trace(scripted: Served) -> None:
    with scripted.client() as client:
        chunks = list(
            client.chat.completions.create(
                model="single",
                messages=QUESTION,
                logprobs=True,
                stream=True,
                extra_body={"archon": {"trace": True}},
            )
        )
    last = chunks[-1].choices[0]
    assert last.logprobs is not None
    assert "".join(t.token for t in last.logprobs.content or ()) == "".join(pieces(chunks))
    assert last.archon["trace"]["architecture"] == "single"  # type: ignore[attr-defined]


async def test_concurrent_requests_of_the_async_client_get_the_same_answers(single: Served) -> None:
    async with single.async_client() as client:

        async def text(seed: int) -> str:
            stream = await client.chat.completions.create(
                model="single", messages=QUESTION, seed=seed, max_tokens=20, stream=True
            )
            return "".join(pieces([chunk async for chunk in stream]))

        together = await asyncio.gather(*map(text, range(16)))
        alone = [await text(seed) for seed in range(3)]
    assert together[:3] == alone
    assert len(set(together)) > 1


# ------------------------------------------------------------- what clients send without need

EVERY_PARAMETER: dict[str, Any] = {
    "audio": None,
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "logit_bias": {},
    "logprobs": False,
    "max_completion_tokens": 20,
    "metadata": {"trace": "1"},
    "modalities": ["text"],
    "moderation": None,
    "n": 1,
    "parallel_tool_calls": True,
    "prediction": None,
    "presence_penalty": 0.0,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "text"},
    "safety_identifier": "s",
    "seed": 1,
    "service_tier": "auto",
    "stop": ["Question:"],
    "store": True,
    "temperature": 0.7,
    "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "top_logprobs": None,
    "top_p": 1,
    "user": "u",
    "verbosity": "low",
    "extra_body": {"repetition_penalty": 1.0, "top_k": -1, "min_p": 0.0, "guided_json": None},
}


@pytest.mark.parametrize("model", ["single", "self-consistency", "scripted"])
def test_a_client_may_send_every_parameter(scripted: Served, model: str) -> None:
    messages: Any = [
        {"role": "developer", "content": "Be brief.", "name": "d"},
        {"role": "user", "content": [{"type": "text", "text": "What is 2 + 3?"}], "name": "bob"},
        {"role": "assistant", "content": None, "tool_calls": [], "refusal": None},
        *QUESTION,
    ]
    with scripted.client() as client:
        asked = client.chat.completions.with_raw_response.create(
            model=model, messages=messages, **EVERY_PARAMETER
        )
        stream = client.chat.completions.create(
            model=model,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True, "include_obfuscation": False},
            **EVERY_PARAMETER,
        )
        chunks = list(stream)
    ignored = set(asked.headers["x-archon-ignored"].split(", "))
    effort = set() if model == "scripted" else {"reasoning_effort"}  # an architecture has no switch
    assert ignored == {"store", "tools", "verbosity"} | effort
    text = asked.parse().choices[0].message.content
    assert text
    assert "".join(pieces(chunks)) == text


def test_an_earlier_answer_may_be_sent_back_as_it_came(scripted: Served) -> None:
    first = ask(scripted, "single", seed=1).choices[0].message
    messages: Any = [*QUESTION, first.model_dump(), *QUESTION]
    with scripted.client() as client:
        reply = client.chat.completions.create(model="single", messages=messages)
    assert reply.choices[0].message.content


@pytest.mark.parametrize("model", ["single", "self-consistency", "scripted"])
def test_a_request_as_lm_eval_sends_it_is_answered(scripted: Served, model: str) -> None:
    asked = {
        "messages": [{**QUESTION[0], "type": "text"}],
        "model": model,
        "max_tokens": 256,
        "temperature": 0.0,
        "stop": ["Question:", "</s>", "<|im_end|>"],
        "seed": 1234,
    }
    reply = httpx.post(
        f"{scripted.models}/chat/completions",
        json=asked,
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"]


def test_limits_and_stop_strings_reach_the_samples_that_are_voted_on(scripted: Served) -> None:
    text = ask(scripted, "self-consistency", seed=1).choices[0].message.content or ""
    short = ask(scripted, "self-consistency", seed=1, max_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 8 * 2
    stopped = ask(scripted, "self-consistency", seed=1, temperature=0, stop=text[5:7])
    assert text[5:7] not in (stopped.choices[0].message.content or "")


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("model", "values", "param"),
    [
        ("single", {"n": 129}, "n"),
        ("single", {"temperature": 2.5}, "temperature"),
        ("single", {"top_p": 1.5}, "top_p"),
        ("single", {"frequency_penalty": 3}, "frequency_penalty"),
        ("single", {"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ("single", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ("single", {"max_tokens": 1_000_000}, "n"),
        ("self-consistency", {"logprobs": True}, "logprobs"),
        ("self-consistency", {"response_format": {"type": "json_object"}}, "response_format"),
        ("scripted", {"extra_body": {"archon": {"trace": True}}}, "archon.trace"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_unsupported_field_is_a_bad_request(
    scripted: Served, model: str, values: dict[str, Any], param: str | None, stream: bool
) -> None:
    with scripted.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=QUESTION, stream=stream, **values)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert caught.value.code


def test_a_schema_that_cannot_be_followed_is_a_bad_request(tiny: Served) -> None:
    named = {"name": "s", "schema": {"type": "object", "patternProperties": {"(?=a)": {}}}}
    wanted: Any = {"type": "json_schema", "json_schema": named}
    with (
        tiny.client() as client,
        pytest.raises(openai.BadRequestError, match="is invalid or not supported"),
    ):
        client.chat.completions.create(model="tiny", messages=QUESTION, response_format=wanted)


def test_a_biased_token_that_does_not_exist_is_a_bad_request(tiny: Served) -> None:
    with tiny.client() as client, pytest.raises(openai.BadRequestError, match="vocabulary") as e:
        client.chat.completions.create(model="tiny", messages=QUESTION, logit_bias={"999999": 1})
    assert e.value.param == "logit_bias"


def test_a_prompt_that_does_not_fit_is_a_bad_request(tiny: Served) -> None:
    long: Any = [{"role": "user", "content": "the answer " * 500}]
    with tiny.client() as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=long, max_tokens=5)
    assert caught.value.code == "context_length_exceeded"


def test_an_unknown_model_is_not_found(scripted: Served) -> None:
    with scripted.client() as client:
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-4o", messages=QUESTION)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4o")


def test_every_answer_has_a_number(scripted: Served) -> None:
    with scripted.client() as client:
        one = client.chat.completions.create(model="single", messages=QUESTION)
        other = client.chat.completions.create(model="single", messages=QUESTION)
    assert one._request_id
    assert one._request_id != other._request_id


# ---------------------------------------------------------------------------- the real model


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real small model, and architectures over it."""
    arguments = ["single", "self-consistency", "smollm2-135m", "--model", "solver=smollm2-135m"]
    with serving(*arguments, log=tmp_path_factory.mktemp("real") / "log") as served:
        yield served


@pytest.mark.real
class TestRealModel:
    """A real small model with the same client."""

    def test_it_answers(self, real: Served) -> None:
        question: Any = [{"role": "user", "content": "What is the capital of France?"}]
        with real.client() as client:
            reply = client.chat.completions.create(
                model="smollm2-135m", messages=question, temperature=0, max_tokens=30
            )
        assert "France" in (reply.choices[0].message.content or "")

    def test_what_is_streamed_is_what_is_answered(self, real: Served) -> None:
        complete = ask(real, "single", seed=1, n=2, max_tokens=30, logprobs=True)
        with real.client() as client:
            chunks = list(
                client.chat.completions.create(
                    model="single", messages=QUESTION, seed=1, n=2, max_tokens=30, stream=True
                )
            )
        for index, choice in enumerate(complete.choices):
            assert "".join(pieces(chunks, index)) == choice.message.content
            assert len(pieces(chunks, index)) > 5
            assert choice.logprobs is not None

    def test_a_schema_is_followed(self, real: Served) -> None:
        with real.client() as client:
            reply = client.chat.completions.parse(
                model="single", messages=QUESTION, response_format=Judgement, max_tokens=60, seed=1
            )
        assert isinstance(reply.choices[0].message.parsed, Judgement)

    def test_errors_have_openai_s_shape(self, real: Served) -> None:
        with pytest.raises(openai.BadRequestError):
            ask(real, "self-consistency", logprobs=True)

    async def test_a_cancelled_call_ends_at_once(self, real: Served) -> None:
        async with real.async_client() as client:
            call = asyncio.create_task(
                client.chat.completions.create(
                    model="smollm2-135m", messages=QUESTION, n=8, max_tokens=1500
                )
            )
            await asyncio.to_thread(real.wait_for, "archon_requests_running", 1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await asyncio.to_thread(real.wait_for, "archon_requests_running", 0)
        hung_up = 'archon_requests_total{model="smollm2-135m",status="499"}'
        await asyncio.to_thread(real.wait_for, hung_up, 1)
