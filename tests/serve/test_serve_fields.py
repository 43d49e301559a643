"""Fields without effect, ignored fields, and rejected fields."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionStreamOptionsParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from archon import api
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve import fields
from archon.serve.app import OPERATIONS, create_app
from archon.serve.fields import (
    MESSAGE,
    PART,
    REQUEST,
    STREAM_OPTIONS,
    BadRequestError,
    Rule,
    Rules,
)
from archon.serve.limits import Limits
from archon.serve.openapi import document
from archon.serve.requests import (
    ChatMessage,
    ChatRequest,
    RequestObject,
    StreamOptions,
    TextPart,
    read_chat_request,
)
from archon.spec import catalog

NAMED = {"model": "self-consistency"}
ASK: dict[str, Any] = {"role": "user", "content": "What is 2 + 3?"}
PLACES: dict[str, tuple[Rules, type[RequestObject]]] = {
    "": (REQUEST, ChatRequest),
    "messages[].": (MESSAGE, ChatMessage),
    "messages[].content[].": (PART, TextPart),
    "stream_options.": (STREAM_OPTIONS, StreamOptions),
}
FIELDS = [(place, key, rule) for place, (rules, _) in PLACES.items() for key, rule in rules.items()]
SOMETHING = {"anything": [1, "x"]}
"""A value that is neutral for no field."""


def body(place: str = "", **values: object) -> dict[str, Any]:
    """A request with these fields in one of its objects."""
    made: dict[str, Any] = {"model": "m", "messages": [ASK]}
    match place:
        case "":
            made |= values
        case "messages[].":
            made["messages"] = [ASK | values]
        case "messages[].content[].":
            part = {"type": "text", "text": "What is 2 + 3?"} | values
            made["messages"] = [ASK | {"content": [part]}]
        case "stream_options.":
            made |= {"stream": True, "stream_options": values}
    return made


def read(data: dict[str, Any], *, is_strict: bool = False) -> ChatRequest:
    return read_chat_request(json.dumps(data).encode(), is_strict=is_strict)


def ignored(data: dict[str, Any]) -> list[str]:
    return read(data).ignored.names


def refusal(data: dict[str, Any], *, is_strict: bool = False) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        read(data, is_strict=is_strict)
    assert caught.value.status == 400
    return caught.value


# --------------------------------------------------------------------------------------- rules


def described(client_fields: set[str], place: str) -> set[str]:
    """Return the fields of a client for which there is neither a rule nor a model field."""
    rules, model = PLACES[place]
    return client_fields - rules.keys() - model.model_fields.keys()


def test_every_parameter_of_openai_s_client_is_known() -> None:
    streams = {"stream"}
    assert not described(set(CompletionCreateParamsBase.__annotations__) | streams, "")
    for message in (
        ChatCompletionUserMessageParam,
        ChatCompletionSystemMessageParam,
        ChatCompletionAssistantMessageParam,
    ):
        assert not described(set(message.__annotations__), "messages[].")
    part = set(ChatCompletionContentPartTextParam.__annotations__)
    assert not described(part, "messages[].content[].")
    assert not described(set(ChatCompletionStreamOptionsParam.__annotations__), "stream_options.")


@pytest.mark.parametrize(("place", "key", "rule"), FIELDS)
def test_a_field_with_a_neutral_value_is_accepted_and_not_reported(
    place: str, key: str, rule: Rule
) -> None:
    plain = read(body(place)).request()
    values = [None, *rule.neutral, *([SOMETHING, "x", 0] if rule.kind == "label" else [])]
    for value in values:
        data = body(place, **{key: value})
        assert ignored(data) == []
        asked = read(data, is_strict=True).request()
        assert (asked.messages, asked.sampling, asked.n) == (plain.messages, plain.sampling, 1)


@pytest.mark.parametrize(("place", "key", "rule"), [f for f in FIELDS if f[2].kind == "hint"])
def test_a_hint_is_reported_or_rejected_by_a_strict_server(
    place: str, key: str, rule: Rule
) -> None:
    data = body(place, **{key: SOMETHING})
    assert ignored(data) == [f"{place}{key}"]
    error = refusal(data, is_strict=True)
    assert error.param is not None
    assert error.param.endswith(key)
    assert "--strict" in error.message


@pytest.mark.parametrize(
    ("place", "key", "rule"), [f for f in FIELDS if f[2].kind == "unsupported"]
)
def test_a_field_that_would_change_the_answer_is_rejected_with_advice(
    place: str, key: str, rule: Rule
) -> None:
    error = refusal(body(place, **{key: SOMETHING}))
    assert error.code == "unsupported"
    assert error.param is not None
    assert error.param.split(".")[-1] == key
    assert rule.advice in error.message
    assert error.message.startswith(error.param)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"frequency_penalty": False}, "frequency_penalty"),
        ({"echo": 0}, "echo"),
        ({"n_probs": 0.5}, "n_probs"),
        ({"tools": [{"type": "function"}], "tool_choice": "auto"}, "tools.0.function"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"functions": [{}], "tool_choice": "none"}, "functions.0.name"),
        ({"max_tokens": 64.5}, "max_tokens"),
        ({"max_tokens": "64"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"n_predict": 5}, "n_predict"),
        ({"min_new_tokens": 1}, "min_new_tokens"),
        ({"min_new_tokens": False}, "min_new_tokens"),
        ({"reasoning_effort": "auto"}, "reasoning_effort"),
        ({"top_k": -2}, "top_k"),
    ],
)
def test_values_that_look_neutral_are_not(values: dict[str, Any], param: str) -> None:
    assert refusal(body(**values)).param == param


def test_tools_that_must_not_be_called_are_ignored_and_reported() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert ignored(body(tools=[tool], tool_choice="none")) == ["tools"]
    assert ignored(body(functions=[tool], function_call="none")) == ["functions"]
    data = body(tools=[tool], tool_choice="none")
    assert refusal(data, is_strict=True).param == "tools"


# ------------------------------------------------------------------------------ unknown fields


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_field_is_reported_or_rejected_by_a_strict_server(place: str) -> None:
    data = body(place, mood="sunny")
    assert ignored(data) == [f"{place}mood"]
    error = refusal(data, is_strict=True)
    assert error.code == "unknown_key"
    assert error.param is not None
    assert error.param.split(".")[-1] == "mood"


def misspelt() -> list[tuple[str, str]]:
    """Yield misspellings of each applied field: a letter less, a letter more, another case."""
    found = []
    for name in ChatRequest.model_fields:
        if len(name) < 3:
            continue
        head, *rest = name.split("_")
        wrong = {name[:-1], f"{name}s", name.replace("_", "-"), name.capitalize()}
        wrong.add(head + "".join(part.capitalize() for part in rest))
        if len(name) < 6:  # a letter more or less is another word
            wrong -= {name[:-1]}
        found += [(key, name) for key in sorted(wrong - REQUEST.keys() - {name})]
    return found


@pytest.mark.parametrize(("key", "name"), misspelt())
def test_a_misspelt_field_is_never_ignored(key: str, name: str) -> None:
    data = body() | {key: 1}
    error = refusal(data)
    assert (error.param, error.code) == (key, "unknown_key")
    assert f"did you mean {name!r}?" in error.message


def test_a_field_without_a_name_leaves_the_header_valid() -> None:
    assert ignored(body(**{"0": 1, "": 2})) == ["0", '""']


async def test_ignored_fields_are_named_in_a_header_and_counted() -> None:
    lm = ScriptedLM(in_turn(["5"]))
    transport = httpx.ASGITransport(create_app({"m": lm}))
    asked = body(verbosity="low", **{"a, b\r\nx-evil: ü": 1, "mood": None, "user": "u"})
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        for stream in (False, True):
            reply = await http.post("/v1/chat/completions", json=asked | {"stream": stream})
            assert reply.status_code == 200
            names = reply.headers["x-archon-ignored"].split(", ")
            assert names == ["verbosity", "a%2C%20b%0D%0Ax-evil%3A%20%C3%BC"]
            assert "x-evil" not in reply.headers
        reply = await http.post("/v1/chat/completions", json=body())
        assert "x-archon-ignored" not in reply.headers
        counted = (await http.get("/metrics")).text
    assert 'archon_ignored_fields_total{field="verbosity",model="m"} 2.0' in counted
    assert 'archon_ignored_fields_total{field="unknown",model="m"} 2.0' in counted
    assert "evil" not in counted


def test_of_many_unknown_fields_some_are_named_and_too_many_are_rejected() -> None:
    many = {f"unheard_of_{i}" + "x" * 1000: i for i in range(101)}
    error = refusal(body(**many))
    assert (error.code, len(error.message) <= 500) == ("unknown_key", True)
    many.popitem()
    names = ignored(body(**many))
    assert len(names) == 20
    assert all(len(name) <= 60 for name in names)


def test_a_field_of_many_messages_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    monkeypatch.setattr(fields, "_nearest", lambda key, names: looked_up.append(key))
    data = body() | {"messages": [ASK | {"mood": "sunny"}] * 1000}
    assert ignored(data) == ["messages[].mood"]
    assert looked_up == ["mood"]


async def test_a_strict_server_rejects_fields_that_others_ignore() -> None:
    app = create_app({"m": ScriptedLM(in_turn(["5"]))}, is_strict=True)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        reply = await http.post("/v1/chat/completions", json=body(mood="sunny"))
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "mood"
        reply = await http.post("/v1/chat/completions", json=body(user="u", tools=[], n=1.0))
        assert reply.status_code == 200
        schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["ChatRequest"]["additionalProperties"] is False
    assert schemas["ChatRequest"]["properties"]["verbosity"]["enum"] == [None]


def test_the_openapi_document_lists_every_known_field() -> None:
    schemas = document(list(OPERATIONS.values()), Limits(), has_key=False)["components"]["schemas"]
    for rules, model in PLACES.values():
        schema = schemas[model.__name__]
        assert schema["properties"].keys() >= rules.keys() | model.model_fields.keys()
        assert schema["additionalProperties"] is True
    assert schemas["ChatRequest"]["properties"]["plugins"]["enum"] == [None, []]


# ----------------------------------------------------------------------- values that are applied


INTEGERS = ["n", "seed", "top_k", "max_tokens", "max_completion_tokens", "top_logprobs"]


def test_these_fields_are_integers() -> None:
    schema = ChatRequest.model_json_schema()["properties"]
    found = [
        k for k, v in schema.items() if {"integer"} & {t.get("type") for t in v.get("anyOf", [])}
    ]
    assert found == INTEGERS


@pytest.mark.parametrize("name", INTEGERS)
def test_a_float_without_a_fraction_is_the_integer(name: str) -> None:
    value = getattr(read(body(**{"logprobs": True, name: 3.0})), name)
    assert value == 3
    assert isinstance(value, int)


@pytest.mark.parametrize("name", ChatRequest.model_fields)
def test_null_equals_an_omitted_field(name: str) -> None:
    data = body()
    if name in data:
        assert "Field required" in refusal(data | {name: None}).message
    else:
        assert read(data | {name: None}) == read(data)


def test_a_top_k_of_minus_1_keeps_every_token() -> None:
    assert read(body(top_k=-1)).request().sampling.top_k == 0


NOTHING: list[dict[str, Any]] = [
    {"max_tokens": -1},
    {"max_tokens": -1.0},
    {"max_completion_tokens": -1},
    {"max_tokens": -1, "max_completion_tokens": -1},
    {"n_predict": -1},
    {"num_predict": -1},
    {"min_new_tokens": 0},
    {"stop": ""},
    {"stop": []},
    {"reasoning_effort": "default"},
    {"reasoning_format": "auto"},
    {"reasoning_format": "none"},
]


@pytest.mark.parametrize("values", NOTHING, ids=str)
def test_a_neutral_value_equals_an_omitted_field(values: dict[str, Any]) -> None:
    plain, asked = read(body()).request(), read(body(**values), is_strict=True)
    assert asked.ignored.names == []
    assert (asked.request().sampling, asked.request().thinking) == (plain.sampling, plain.thinking)


def test_both_bounds_may_be_given_if_they_are_equal() -> None:
    both = {"max_tokens": 7, "max_completion_tokens": 7.0}
    assert read(body(**both)).request().sampling.max_tokens == 7
    one = {"max_tokens": -1, "max_completion_tokens": 7}
    assert read(body(**one)).request().sampling.max_tokens == 7


def test_another_format_of_reasoning_is_reported() -> None:
    assert ignored(body(reasoning_format="raw")) == ["reasoning_format"]


@pytest.mark.parametrize(
    "values",
    [*NOTHING, {"top_k": 0}, {"top_k": -1}, {"min_p": 0}, {"top_k": -1, "min_p": 0.0}],
    ids=str,
)
async def test_an_architecture_accepts_neutral_values(
    shipped: dict[str, Any], values: dict[str, Any]
) -> None:
    transport = httpx.ASGITransport(create_app(shipped, is_strict=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        plain, asked = [
            await http.post("/v1/chat/completions", json=body(**more) | {"seed": 3} | NAMED)
            for more in ({}, values)
        ]
    assert asked.status_code == 200, asked.text
    assert "x-archon-ignored" not in asked.headers
    assert asked.json()["choices"] == plain.json()["choices"]


@pytest.mark.parametrize("content", [{"content": None}, {}, {"content": ""}])
def test_an_assistant_without_content_has_an_empty_text(content: dict[str, Any]) -> None:
    data = body() | {"messages": [ASK, {"role": "assistant", "tool_calls": [], **content}, ASK]}
    assert [m.content for m in read(data).request().messages] == [
        ASK["content"],
        "",
        ASK["content"],
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffHi",
        "\ufeff\ufeffHi",
        [{"type": "text", "text": "\ufeffH"}, {"type": "text", "text": "i"}],
    ],
)
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_byte_order_mark_before_a_message_is_dropped(role: str, content: object) -> None:
    data = body() | {"messages": [{"role": role, "content": content}, ASK]}
    assert read(data).request().messages[0].content == "Hi"


def test_a_developer_message_becomes_a_system_message() -> None:
    data = body() | {"messages": [{"role": "developer", "content": "Be brief."}, ASK]}
    assert read(data).request().messages[0].role == "system"


# ------------------------------------------------------------- every architecture, as clients ask

LM_EVAL = {
    "messages": [{**ASK, "type": "text"}],
    "max_tokens": 256,
    "temperature": 0.0,
    "stop": ["Question:", "</s>", "<|im_end|>"],
    "seed": 1234,
}
"""As lm-eval's local-chat-completions sends it."""
USUAL = {
    **LM_EVAL,
    "messages": [{"role": "developer", "content": "Be brief."}, ASK | {"name": "bob"}],
    "max_tokens": None,
    "max_completion_tokens": 6.0,
    "stop": "?",
    "temperature": 1,
    "top_p": 1,
    "n": 2,
    "logit_bias": {},
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "tools": [],
    "user": "u",
}
REWARD = {"name": "judge", "backend": "scripted", "reward": True}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """Every shipped architecture on scripted models."""
    lms = {}
    for name in catalog.names("architecture"):
        spec = api.load(name).spec
        models: dict[str, Any] = dict.fromkeys(spec.models, "scripted")
        if any(getattr(node, "method", "") == "reward" for node in spec.nodes.values()):
            models["judge"] = REWARD
        lms[name] = api.lm(api.load(name, models=models))
    return lms


@pytest.mark.parametrize("name", catalog.names("architecture"))
@pytest.mark.parametrize("asked", [LM_EVAL, USUAL], ids=["lm-eval", "usual"])
async def test_every_shipped_architecture_answers_usual_requests(
    shipped: dict[str, Any], name: str, asked: dict[str, Any]
) -> None:
    transport = httpx.ASGITransport(create_app(shipped))
    asked = asked | {"model": name}
    streaming = asked | {"stream": True, "stream_options": {"include_usage": True}}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        reply = await http.post("/v1/chat/completions", json=asked)
        assert reply.status_code == 200, reply.text
        assert "x-archon-ignored" not in reply.headers
        streamed = await http.post("/v1/chat/completions", json=streaming)
    complete = reply.json()
    assert len(complete["choices"]) == asked.get("n", 1)
    stops = asked["stop"] if isinstance(asked["stop"], list) else [asked["stop"]]
    for choice in complete["choices"]:
        assert choice["message"]["content"]
        assert choice["finish_reason"] in ("stop", "length")
        assert not any(stop in choice["message"]["content"] for stop in stops)
    chunks = [
        json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")
    ]
    assert chunks[-1]["usage"] == complete["usage"]
    texts = dict.fromkeys(range(asked.get("n", 1)), "")
    for chunk in chunks[:-1]:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert list(texts.values()) == [c["message"]["content"] for c in complete["choices"]]


async def test_sampling_that_an_architecture_ignores_is_reported() -> None:
    spec = api.load("self-consistency").spec.model_dump()
    spec["serve"] = {"request_sampling": "ignore"}
    lm = api.lm(api.load(spec, models={"solver": "scripted"}))
    asked = LM_EVAL | {"model": "m"}
    for is_strict in (False, True):
        app = create_app({"m": lm}, is_strict=is_strict)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            reply = await http.post("/v1/chat/completions", json=asked)
        if is_strict:
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "temperature")
        else:
            assert reply.headers["x-archon-ignored"] == "temperature, max_tokens, stop"
