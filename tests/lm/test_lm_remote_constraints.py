"""Settings of a server's card: constraints, plain completions, sampling, log-probabilities."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, completion, delta, remote, sse

from archon.errors import LMError, SpecError, UnsupportedError
from archon.lm.factory import capabilities
from archon.lm.openai.response import NO_TOP_LOGPROBS
from archon.spec.model import OpenAICard
from archon.spec.validation import parse
from archon.types import (
    Constraint,
    Event,
    FreeText,
    Message,
    SamplingParams,
    TokenDelta,
    TokenLogprob,
)

SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}}
FORM = Constraint(json_schema=SCHEMA)
JSON = '{"answer": 3}'


def said(text: str, reason: str = "stop") -> FakeServer:
    return FakeServer(*[httpx.Response(200, json=completion(text, reason))] * 3)


# --------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (
            "json_schema",
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ("json_object", {"response_format": {"type": "json_object", "schema": SCHEMA}}),
        ("structured_outputs", {"structured_outputs": {"json": SCHEMA}}),
    ],
)
async def test_a_schema_is_sent_as_the_card_says(words: str, sent: dict[str, Any]) -> None:
    server = said(JSON)
    [reply] = await remote(server, constraint=words).generate(replace(REQUEST, constraint=FORM))
    assert reply.text == JSON
    assert server.bodies[0].items() >= sent.items()


async def test_only_vllm_servers_get_regular_expressions() -> None:
    request = replace(REQUEST, constraint=Constraint(regex="[ab]"))
    server = said("a")
    await remote(server, constraint="structured_outputs").generate(request)
    assert server.bodies[0]["structured_outputs"] == {"regex": "[ab]"}
    for words in (None, "json_schema", "json_object"):
        with pytest.raises(UnsupportedError, match="'constraint'"):
            await remote(said("a"), constraint=words).generate(request)


@pytest.mark.parametrize(
    "form",
    [
        Constraint(order_of=("[1]", "[2]")),
        Constraint(order_of=tuple("abcdef"), after=FreeText("Ranking:", room=20)),
        Constraint(json_schema=SCHEMA, after=FreeText("Answer:", room=20)),
    ],
)
async def test_an_unsupported_constraint_is_refused(form: Constraint) -> None:
    lm = remote(said("a"), constraint="structured_outputs")
    with pytest.raises(UnsupportedError, match="'constraint'"):
        await lm.generate(replace(REQUEST, constraint=form))


async def test_a_reply_that_ignores_the_schema_is_an_error() -> None:
    lm = remote(said("The answer is 3."), constraint="json_schema")
    with pytest.raises(LMError, match="did not apply the schema"):
        await lm.generate(replace(REQUEST, constraint=FORM))
    [cut] = await remote(said('{"ans', "length"), constraint="json_schema").generate(
        replace(REQUEST, constraint=FORM)
    )
    assert cut.finish_reason == "length"


@pytest.mark.parametrize("words", ["json_schema", "json_object", "structured_outputs"])
@pytest.mark.parametrize("streams", [False, True])
async def test_reasoning_before_a_constrained_text_is_separated(words: str, streams: bool) -> None:
    thought = "<think>{3}?</think>\n"
    whole = thought + JSON
    pieces = [delta(whole[k : k + 4]) for k in range(0, len(whole), 4)]
    server = FakeServer(sse(*pieces, delta("", "stop"))) if streams else said(whole)
    events: list[Event] = []
    request = replace(REQUEST, constraint=FORM)
    [reply] = await remote(server, constraint=words).generate(request, events.append)
    assert (reply.text, reply.reasoning) == (JSON, thought)
    heard = {
        kind: "".join(
            e.text for e in events if isinstance(e, TokenDelta) and e.is_reasoning == kind
        )
        for kind in (False, True)
    }
    assert heard == {False: JSON, True: thought}


async def test_a_marker_inside_json_is_ordinary_text() -> None:
    text = '{"answer": "</think>"}'
    for server in (said(text), FakeServer(sse(delta(text[:12]), delta(text[12:], "stop")))):
        events: list[Event] = []
        lm = remote(server, constraint="json_schema")
        [reply] = await lm.generate(replace(REQUEST, constraint=FORM), events.append)
        assert (reply.text, reply.reasoning) == (text, "")
        assert not any(e.is_reasoning for e in events if isinstance(e, TokenDelta))


async def test_reasoning_that_uses_all_tokens_is_truncated() -> None:
    for reason in ("length", "stop"):
        lm = remote(said("<think>3?", reason), constraint="json_schema")
        [reply] = await lm.generate(replace(REQUEST, constraint=FORM))
        assert (reply.text, reply.reasoning, reply.is_reasoning_cut_off) == ("", "<think>3?", True)


async def test_reasoning_before_a_judge_s_object_is_separated() -> None:
    form = Constraint(regex="yes|no", after=FreeText("Verdict:", 20))
    text = '<think>3?</think>{"argument": "It is 3.", "verdict": "yes"}'
    events: list[Event] = []
    lm = remote(said(text), constraint="json_schema")
    [reply] = await lm.generate(replace(REQUEST, constraint=form), events.append)
    assert (reply.text, reply.reasoning) == ("It is 3.\nVerdict: yes", "<think>3?</think>")
    assert events == [
        TokenDelta(0, "<think>3?</think>", is_reasoning=True),
        TokenDelta(0, "It is 3.\nVerdict: yes"),
    ]


def test_the_promises_of_a_card_are_known_before_it_is_opened() -> None:
    def promised(**values: object) -> frozenset[str]:
        card = {"name": "far", "backend": "openai", "base_urls": ["http://x/v1"], "model": "m"}
        return capabilities(OpenAICard.model_validate(card | values))

    plain = frozenset({"chat", "stream", "thinking", "tools"})
    assert promised() == plain
    assert promised(constraint="json_object") == plain | {"schema", "closing"}
    assert promised(constraint="structured_outputs", logprobs=True) == plain | {
        "schema",
        "regex",
        "closing",
        "logprobs",
    }


def test_plain_completions_have_no_response_format() -> None:
    card = {"version": 1, "name": "far", "backend": "openai", "base_urls": ["http://x/v1"]}
    values = {"model": "m", "endpoint": "completions", "constraint": "json_schema"}
    with pytest.raises(SpecError, match="uses the response_format field"):
        parse(OpenAICard, card | values, "card.json")


# -------------------------------------------------------------------------- plain completions


def plain(text: str, logprobs: object = None, **more: object) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}
    return {"choices": [choice | more], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


async def test_a_base_model_gets_a_transcript_to_continue() -> None:
    server = FakeServer(httpx.Response(200, json=plain(" 4")))
    request = replace(REQUEST, messages=(Message("system", "Add."), Message("user", "2 + 2?")))
    [reply] = await remote(server, endpoint="completions").generate(request)
    assert (reply.text, reply.usage.completion_tokens) == (" 4", 2)
    assert str(server.requests[0].url) == "http://one.test/v1/completions"
    assert server.bodies[0]["prompt"] == "Add.\n\nQuestion: 2 + 2?\n\nAnswer:"
    assert "messages" not in server.bodies[0]


async def test_a_plain_completion_is_streamed() -> None:
    def chunk(text: str, reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"index": 0, "text": text, "finish_reason": reason}]}

    events: list[Event] = []
    server = FakeServer(sse(chunk(" 4"), chunk("2"), chunk("", "stop"), "[DONE]"))
    [reply] = await remote(server, endpoint="completions").generate(REQUEST, events.append)
    assert reply.text == " 42"
    assert events == [TokenDelta(0, " 4"), TokenDelta(0, "2")]


@pytest.mark.parametrize("body", [completion("Hello"), plain(7), plain("x", finish_reason="what")])
async def test_a_reply_of_the_other_endpoint_is_an_error(body: dict[str, Any]) -> None:
    server = FakeServer(httpx.Response(200, json=body))
    with pytest.raises(LMError, match=r"no text|finish_reason"):
        await remote(server, endpoint="completions").generate(REQUEST)


async def test_the_endpoints_have_different_keys() -> None:
    lms = [remote(FakeServer()), remote(FakeServer(), endpoint="completions")]
    lms.append(remote(FakeServer(), server_sampling=True))
    assert len({lm.draw_key(REQUEST) for lm in lms}) == 3


# -------------------------------------------------------------------------- log-probabilities


async def test_log_probabilities_of_a_plain_completion_are_two_lists() -> None:
    lists = {"tokens": [" ", "4"], "token_logprobs": [-0.5, -1], "top_logprobs": None}
    server = FakeServer(httpx.Response(200, json=plain(" 4", lists)))
    lm = remote(server, endpoint="completions", logprobs=True)
    [reply] = await lm.generate(replace(REQUEST, logprobs=True))
    assert (reply.logprobs, reply.tokens) == ((-0.5, -1.0), (b" ", b"4"))
    assert server.bodies[0]["logprobs"] == 0


async def test_the_tokens_of_a_chat_come_with_their_bytes() -> None:
    body = completion("né")
    body["choices"][0]["logprobs"] = {
        "content": [
            {"token": "n", "logprob": -0.5, "bytes": None},
            {"token": "\ufffd", "logprob": -1, "bytes": [0xC3]},
            {"token": "\ufffd", "logprob": -1, "bytes": [0xA9]},
        ]
    }
    server = FakeServer(httpx.Response(200, json=body))
    [reply] = await remote(server, logprobs=True).generate(replace(REQUEST, logprobs=True))
    assert reply.tokens is not None
    assert b"".join(reply.tokens).decode() == "né"


async def test_the_likeliest_tokens_of_a_chat_come_with_their_bytes() -> None:
    body = completion("x")
    likely = [
        {"token": "y", "logprob": -2, "bytes": [0x79]},
        {"token": "x", "logprob": -0.5, "bytes": None},
    ]
    content = [{"token": "x", "logprob": -0.5, "top_logprobs": likely}]
    body["choices"][0]["logprobs"] = {"content": content}
    server = FakeServer(httpx.Response(200, json=body))
    request = replace(REQUEST, sampling=SamplingParams(top_logprobs=2))
    [reply] = await remote(server, logprobs=True).generate(request)
    found = (TokenLogprob(-0.5, token=b"x"), TokenLogprob(-2.0, token=b"y"))
    assert (reply.logprobs, reply.top_logprobs) == ((-0.5,), (found,))
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 2)


async def test_the_likeliest_tokens_of_a_plain_completion_are_objects() -> None:
    lists = {
        "tokens": [" ", "4"],
        "token_logprobs": [-0.5, -1],
        "top_logprobs": [{"4": -3, " ": -0.5}, None],
    }
    server = FakeServer(httpx.Response(200, json=plain(" 4", lists)))
    lm = remote(server, endpoint="completions", logprobs=True)
    [reply] = await lm.generate(replace(REQUEST, sampling=SamplingParams(top_logprobs=2)))
    likely = (TokenLogprob(-0.5, token=b" "), TokenLogprob(-3.0, token=b"4"))
    assert reply.top_logprobs == (likely, ())
    assert server.bodies[0]["logprobs"] == 2
    assert "top_logprobs" not in server.bodies[0]


@pytest.mark.parametrize("likely", [None, [], 7, [{"token": "x"}], [{"token": "x", "logprob": 1}]])
async def test_likeliest_tokens_that_are_missing_or_unreadable_are_noted(likely: object) -> None:
    body = completion("x")
    content = [{"token": "x", "logprob": -0.5, "top_logprobs": likely}]
    body["choices"][0]["logprobs"] = {"content": content}
    server = FakeServer(httpx.Response(200, json=body), httpx.Response(200, json=body))
    lm = remote(server, logprobs=True)
    [reply] = await lm.generate(replace(REQUEST, sampling=SamplingParams(top_logprobs=2)))
    assert (reply.logprobs, reply.top_logprobs) == ((-0.5,), ((),))
    assert NO_TOP_LOGPROBS in reply.notes
    [reply] = await lm.generate(replace(REQUEST, logprobs=True))
    assert reply.top_logprobs is None
    assert NO_TOP_LOGPROBS not in reply.notes


async def test_a_number_instead_of_a_token_s_bytes_allocates_no_memory() -> None:
    body = completion("x")
    body["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -1, "bytes": 2**62}]}
    lm = remote(FakeServer(httpx.Response(200, json=body)), logprobs=True)
    [reply] = await lm.generate(replace(REQUEST, logprobs=True))
    assert reply.tokens == (b"x",)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": "x", "logprob": 10**400}]},
        {"content": [{"token": 7, "logprob": -1}]},
        {"content": [{"token": "x", "logprob": -1, "bytes": [999]}]},
        {"content": "what"},
        {"tokens": ["a"], "token_logprobs": [-1, -2]},
        {"tokens": None, "token_logprobs": [-1, -2]},
        {"tokens": ["a"], "token_logprobs": [None]},
    ],
)
async def test_invalid_log_probabilities_are_an_error(logprobs: dict[str, Any]) -> None:
    body = completion("x")
    body["choices"][0]["logprobs"] = logprobs
    lm = remote(FakeServer(httpx.Response(200, json=body)), logprobs=True)
    with pytest.raises(LMError, match="log-probabilities have an unknown format"):
        await lm.generate(replace(REQUEST, logprobs=True))


# --------------------------------------------------------------------------------- sampling


async def test_with_server_sampling_no_sampling_parameters_are_sent() -> None:
    server = FakeServer()
    sampling = SamplingParams(temperature=0.2, top_p=0.5, max_tokens=9, stop=("END",))
    await remote(server, server_sampling=True).generate(replace(REQUEST, sampling=sampling))
    assert server.bodies[0].keys() == {"model", "messages", "seed"}


@pytest.mark.parametrize("streams", [False, True])
async def test_a_text_far_beyond_max_tokens_is_an_error(streams: bool) -> None:
    request = replace(REQUEST, sampling=SamplingParams(max_tokens=2))
    text = "x" * 2001
    reply = sse(delta(text), delta("", "stop")) if streams else said(text).replies[0]
    with pytest.raises(LMError, match="longer than max_tokens allows"):
        await remote(FakeServer(reply)).generate(request, (lambda event: None) if streams else None)
    [whole] = await remote(said(text[:2000])).generate(request)
    assert len(whole.text) == 2000
