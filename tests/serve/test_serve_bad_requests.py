"""Rejected requests, and errors that name the field at fault."""

from __future__ import annotations

import json
import tracemalloc

import httpx
import pytest
from serve_doubles import HELLO, client, post

from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.app import create_app
from archon.serve.fields import BadRequestError
from archon.serve.limits import LARGEST_BODY_BYTES, Limits
from archon.serve.requests import read_chat_request

JSON = {"Content-Type": "application/json"}
TEXT = {"type": "text", "text": "What is this?"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FORMAT = "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"seed": 2**70}, "seed"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": "a" * 1001}, "stop"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"stop": 5}, "stop"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"logit_bias": {"042": 1}}, None),
        ({"logit_bias": {"42": 101}}, "logit_bias.42"),
        ({"repeat_penalty": 1.1}, "repeat_penalty"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"archon": {"trace": True}}, "archon.trace"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [TEXT, IMAGE]}]}, "messages.0.content.1.type"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"frequency_penalty": "0.5"}, "frequency_penalty"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, FORMAT),
        ({"architecture": {"nodes": {}}}, "architecture"),
    ],
)
async def test_an_unsupported_field_is_rejected_by_name(
    http: httpx.AsyncClient, lm: ScriptedLM, values: dict[str, object], param: str | None
) -> None:
    response = await post(http, **values)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param
    assert lm.requests == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"model": "stub", "model": "stub"}',
        b'{"seed": NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_a_body_of_invalid_json_is_rejected(http: httpx.AsyncClient, content: bytes) -> None:
    response = await http.post("/v1/chat/completions", content=content, headers=JSON)
    assert response.status_code == 400
    assert len(response.json()["error"]["message"]) < 500


async def test_an_error_covers_every_type_that_a_value_may_have(
    http: httpx.AsyncClient,
) -> None:
    reply = await post(http, messages=[{"role": "user", "content": 5}])
    assert "valid string" in reply.json()["error"]["message"]
    assert "valid list" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [{}] * 100_000},
        {"messages": [{"role": "user", "content": [{}] * 100_000}]},
    ],
)
def test_of_many_errors_the_first_is_reported(values: dict[str, object]) -> None:
    content = json.dumps({**HELLO, **values}).encode()
    tracemalloc.start()
    try:
        with pytest.raises(BadRequestError, match="Field required"):
            read_chat_request(content)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


async def test_a_body_that_is_too_large_is_rejected(http: httpx.AsyncClient) -> None:
    content = b" " * (Limits().max_body_bytes + 1)
    response = await http.post("/v1/chat/completions", content=content, headers=JSON)
    assert response.status_code == 413
    assert "--max-body-bytes" in response.json()["error"]["message"]


async def test_a_body_may_be_as_large_as_the_servers_limit() -> None:
    long = json.dumps({**HELLO, "user": "u" * (Limits().max_body_bytes + 1)}).encode()
    app = create_app({"stub": ScriptedLM(in_turn(["a"]))}, limits=Limits(LARGEST_BODY_BYTES))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        response = await http.post("/v1/chat/completions", content=long, headers=JSON)
    assert response.status_code == 200


async def test_a_body_that_any_web_page_can_send_is_rejected(http: httpx.AsyncClient) -> None:
    content = json.dumps(HELLO)
    response = await http.post("/v1/chat/completions", content=content)
    assert response.status_code == 415


async def test_an_unknown_model_is_not_found(http: httpx.AsyncClient) -> None:
    for response in (await post(http, model="../double"), await http.get("/v1/models/stbu")):
        assert response.status_code == 404
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "'stub', 'org/other'" in error["message"], "those that are served"


async def test_other_pages_have_errors_of_the_same_shape(http: httpx.AsyncClient) -> None:
    for response in (
        await http.get("/v1/completions"),
        await http.get("/v1/chat/completions"),
        await http.post("/v1/chat/completions/", json=HELLO),
        await http.get("/health/"),
    ):
        assert response.status_code in (404, 405)
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert response.request.url.path in error["message"]


async def test_a_request_for_a_missing_capability_is_rejected() -> None:
    async with client(ScriptedLM(in_turn(["a"]), capabilities=frozenset({"chat"}))) as http:
        response = await post(http, logprobs=True)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "logprobs"
