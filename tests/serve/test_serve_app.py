"""Chat completions that succeed, models that are listed, and the status of each error."""

from __future__ import annotations

import httpx
import pytest
from openai.types.chat import ChatCompletion
from serve_doubles import Failing, client, post

from archon import types
from archon.errors import (
    ArchonError,
    BudgetError,
    ContextLengthError,
    LMError,
    NodeError,
    UnsupportedError,
)
from archon.lm.scripted.lm import ScriptedLM
from archon.serve.responses import choice_logprobs, usage
from archon.types import Completion, Request, Usage


async def test_a_completion_has_openai_s_shape(http: httpx.AsyncClient) -> None:
    reply = (await post(http)).json()
    assert reply.pop("id").startswith("chatcmpl-")
    assert isinstance(reply.pop("created"), int)
    assert reply == {
        "object": "chat.completion",
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 2,
            "total_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


async def test_the_fields_of_a_request_reach_the_model(
    http: httpx.AsyncClient, lm: ScriptedLM
) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    await post(
        http,
        messages=[{"role": "developer", "content": "Be kind"}, {"role": "user", "content": parts}],
        n=2,
        seed=5,
        temperature=0.3,
        top_p=0.9,
        top_k=7,
        min_p=0.1,
        max_completion_tokens=9,
        stop="END",
        logprobs=True,
        user="somebody",
        frequency_penalty=0,
        presence_penalty=-0.5,
        logit_bias={"50": 1, "7": -100, "8": 0},
        repetition_penalty=1.1,
        top_logprobs=2,
        response_format={"type": "text"},
    )
    [request] = lm.requests
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "Be kind"),
        ("user", "ab"),
    ]
    assert (request.n, request.seed, request.first_draw, request.logprobs) == (2, 5, 0, True)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.3, 0.9, 7)
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (0, -0.5)
    assert (sampling.repetition_penalty, sampling.top_logprobs) == (1.1, 2)
    assert sampling.logit_bias == ((7, -100.0), (50, 1.0))
    assert (sampling.min_p, sampling.max_tokens, sampling.stop) == (0.1, 9, ("END",))


async def test_omitted_and_null_fields_are_left_to_the_model(
    http: httpx.AsyncClient, lm: ScriptedLM
) -> None:
    await post(http, temperature=None, stop=None, n=None, seed=None)
    await post(http)
    first, second = lm.requests
    assert first.sampling == second.sampling == Request(()).sampling
    assert first.seed != second.seed


async def test_several_texts_count_their_prompt_once(http: httpx.AsyncClient) -> None:
    reply = (await post(http, n=3)).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert reply["usage"]["prompt_tokens"] == 2
    assert reply["usage"]["completion_tokens"] == 2 + 4 + 2


def test_a_prompt_computed_for_the_first_of_several_texts_does_not_count_as_cached() -> None:
    cached = (16, 38, 38)
    completions = [
        Completion("", draw, "stop", Usage(prompt_tokens=38, cached_tokens=n, calls=1), {"p": 38})
        for draw, n in enumerate(cached)
    ]
    assert usage(completions).prompt_tokens == 38
    assert usage(completions).prompt_tokens_details.cached_tokens == 16


async def test_every_token_has_a_log_probability(http: httpx.AsyncClient) -> None:
    [choice] = (await post(http, logprobs=True)).json()["choices"]
    tokens = choice["logprobs"]["content"]
    assert len(tokens) == 2
    assert all(token["logprob"] < 0 for token in tokens)
    assert [token["token"] for token in tokens] == ["Hello", " there"]
    assert bytes(tokens[1]["bytes"]) == b" there"


async def test_a_token_can_come_with_the_likeliest_ones(http: httpx.AsyncClient) -> None:
    reply = await post(http, logprobs=True, top_logprobs=3)
    [choice] = reply.json()["choices"]
    for token in choice["logprobs"]["content"]:
        likely = token["top_logprobs"]
        assert likely[0] == {name: token[name] for name in ("token", "logprob", "bytes")}
        assert len(likely) == 3
    ChatCompletion.model_validate(reply.json())


def test_a_likely_token_without_text_has_its_id() -> None:
    likely = (types.TokenLogprob(-1.0, 7, b""), types.TokenLogprob(-2.0, token=b"a"))
    completion = Completion(
        "a", 0, "stop", Usage(), {}, (1,), (-2.0,), tokens=(b"a",), top_logprobs=(likely,)
    )
    shown = choice_logprobs(completion)
    assert shown is not None
    assert [one.token for one in shown.content[0].top_logprobs] == ["token_id:7", "a"]


async def test_models_are_listed_and_found_by_name(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["stub", "org/other"]
    assert (await http.get("/v1/models/org/other")).json()["object"] == "model"
    assert (await http.get("/v1/models/none")).status_code == 404
    assert (await http.get("/health")).json() == {"status": "ok"}


# ------------------------------------------------------------------------------- failures


def caused(error: Exception) -> NodeError:
    failure = NodeError("draft", error)
    failure.__cause__ = error
    return failure


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnsupportedError("no stop strings"), 400),
        (ContextLengthError("too long"), 400),
        (BudgetError("used up"), 422),
        (LMError("secret"), 502),
        (LMError("secret", retryable=True), 503),
        (ArchonError("secret"), 500),
        (RuntimeError("secret"), 500),
        (caused(LMError("secret", retryable=True)), 503),
        (caused(ContextLengthError("too long")), 400),
    ],
)
async def test_each_error_has_its_status_and_reveals_no_secrets(
    error: Exception, status: int
) -> None:
    async with client(Failing(error)) as http:
        response = await post(http)
    assert response.status_code == status
    assert "secret" not in response.text
    assert response.json()["error"]["message"]


async def test_a_busy_model_sends_retry_after() -> None:
    error = LMError("busy", retryable=True, retry_after_seconds=6.6)
    async with client(Failing(error)) as http:
        assert (await post(http)).headers["retry-after"] == "7"
