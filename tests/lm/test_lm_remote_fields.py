"""Fields that a server rejects, and a card's settings for the fields to send."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from remote_doubles import KEY, REQUEST, FakeServer, Wire, completion, good, remote

from archon.errors import LMError, SpecError, UsageError
from archon.lm.openai.client import RemoteLM
from archon.lm.openai.field_adaptation import Adaptation, rejected_field
from archon.lm.remote import open_remote
from archon.spec.model import OMITTED_FIELDS, OpenAICard
from archon.spec.validation import parse
from archon.types import Constraint, SamplingParams

CARD = {"name": "far", "backend": "openai", "base_urls": ["http://one.test/v1"], "model": "m"}
WORDINGS: list[dict[str, Any]] = [
    {"error": {"message": "Unsupported parameter: '{}'", "code": "unsupported_parameter"}},
    {"error": {"message": "Unsupported parameter: '{}' is not supported with this model.",
               "param": "{}", "type": "invalid_request_error"}},
    {"error": {"message": "Unrecognized request argument supplied: {}"}},
    {"error": {"message": "Unknown parameter: '{}'.", "code": "unknown_parameter"}},
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "{}"],
                 "msg": "Extra inputs are not permitted", "input": 3}]},
    {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "{}"],
                                                "msg": "Extra inputs are not permitted"}]}},
    {"object": "error", "message": "[{{'type': 'extra_forbidden', 'loc': ('body', '{}')}}]"},
    {"error": {"message": "1 validation error for Request body -> {} extra fields not permitted"}},
    {"error": {"message": "Invalid JSON payload. Unknown name \"{}\": Cannot find field."}},
    {"error": {"message": "Argument not supported on this model: {}"}},
    {"error": "property `{}` is not allowed here"},
    {"message": "extraneous key [{}] is not permitted"},
]  # fmt: skip


def worded(wording: object, field: str) -> Any:
    """The wording with the field's name inserted."""
    if isinstance(wording, dict):
        return {key: worded(value, field) for key, value in wording.items()}
    if isinstance(wording, list):
        return [worded(value, field) for value in wording]
    return wording.format(field) if isinstance(wording, str) else wording


class Rejecting(FakeServer):
    """Rejects requests that have one of the fields."""

    def __init__(self, *fields: str, wording: object = WORDINGS[0], status: int = 400) -> None:
        super().__init__()
        self.fields, self.wording, self.status = fields, wording, status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for field in self.fields:
            if field in json.loads(request.content):
                return httpx.Response(self.status, json=worded(self.wording, field))
        return good(request)


# -------------------------------------------------------------------- recognition of fields


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("field", [*OMITTED_FIELDS, "response_format", "max_completion_tokens"])
def test_the_rejected_field_is_recognized_in_many_wordings(wording: object, field: str) -> None:
    if field == "stop" and "'" not in str(wording) and "loc" not in str(wording):
        pytest.skip("a plain word of English")
    content = json.dumps(worded(wording, field)).encode()
    sent = {*OMITTED_FIELDS, "response_format", field}
    found = rejected_field(content, sent)
    assert found == field or (field == "stop" and found is None)


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens",
        "max_tokens must be at least 1, not allowed",
        "seed must be an integer",
        "The prompt is not allowed",
        "something else is not supported",
        "please stop: this is not supported",
    ],
)
def test_an_error_about_something_else_rejects_no_field(message: str) -> None:
    content = json.dumps({"error": {"message": message}}).encode()
    assert rejected_field(content, OMITTED_FIELDS) is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Only one completion choice is allowed", "n"),
        ("'n' : number must be at most 1", "n"),
        ("n > 1 is not supported", "n"),
        ("Unsupported param: n", "n"),
        ("currently only n = 1 is supported", "n"),
        ("This model does not support parameter stop", "stop"),
        ("Argument not supported on this model: stop", "stop"),
        ("This response_format type is unavailable now", "response_format"),
        ("'response_format.type' must be 'json_schema' or 'text'", "response_format"),
        ("This model does not support response format", "response_format"),
        ("logprobs is not enabled for this model", "logprobs"),
        ("Logprobs are not available", "logprobs"),
        ("`temperature` and `top_p` cannot both be specified", "temperature"),
        ("temperature is deprecated for this model", "temperature"),
        ("Invalid parameter: top_k", "top_k"),
        ("'max_tokens' is deprecated in favor of 'max_completion_tokens'", "max_tokens"),
        ("Allowed parameters: 'max_tokens', 'temperature'. Unknown parameter: 'seed'", "seed"),
        ("Unknown parameter: 'seed'. Allowed parameters: 'max_tokens', 'temperature'", "seed"),
        ("'seed' is unknown. Supported fields are: 'max_tokens', 'temperature'", "seed"),
        ("create() got an unexpected keyword argument 'seed'", "seed"),
    ],
)
def test_the_rejected_field_is_recognized_in_sentences(message: str, field: str) -> None:
    sent = [*OMITTED_FIELDS, "n", "logprobs", "response_format"]
    content = json.dumps({"error": {"message": message}}).encode()
    assert rejected_field(content, sent) == field


# --------------------------------------------------------------------------- adaptation


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("field", ["seed", "max_tokens"])
@pytest.mark.parametrize(
    ("status", "wording"),
    [
        (200, {"error": {"message": "Unsupported parameter: '{}'", "code": 400}}),
        (500, {"error": {"message": "create() got an unexpected keyword argument '{}'"}}),
    ],
)
async def test_a_rejection_with_an_unusual_status_is_handled(
    status: int, wording: object, field: str, streams: bool
) -> None:
    server = Rejecting(field, wording=wording, status=status)
    [sample] = await remote(server).generate(REQUEST, (lambda event: None) if streams else None)
    assert sample.text == "Hello"
    assert len(server.requests) == 2
    assert any(repr(field) in note for note in sample.notes)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("fields", [("seed",), ("max_tokens",), ("seed", "max_tokens")])
@pytest.mark.parametrize("more", [{}, {"server_sampling": True}])
async def test_a_server_without_seed_or_max_tokens_answers(
    fields: tuple[str, ...], wording: object, status: int, more: dict[str, Any]
) -> None:
    server = Rejecting(*fields, wording=wording, status=status)
    [sample] = await remote(server, **more).generate(REQUEST)
    assert sample.text == "Hello"
    sent = set(fields) - ({"max_tokens"} if more else set())
    assert len(sample.notes) == len(sent)
    assert all(any(repr(field) in note for note in sample.notes) for field in sent)


async def test_a_rejected_field_is_sent_once_and_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Rejecting("seed", "max_tokens")
    lm = remote(server, max_concurrency=1)
    await lm.generate(replace(REQUEST, n=4))
    assert len(server.requests) == 4 + 2
    assert server.bodies[-1]["max_completion_tokens"] == 512
    told = [record.getMessage() for record in caplog.records if record.name == "archon.lm"]
    assert len(told) == 2
    assert any('"omit": ["seed"]' in text for text in told)
    assert any('"max_tokens_field": "max_completion_tokens"' in text for text in told)


async def test_a_server_that_rejects_both_limits_gets_none() -> None:
    server = Rejecting("max_tokens", "max_completion_tokens")
    lm = remote(server)
    before = lm.draw_key(REQUEST)
    [sample] = await lm.generate(REQUEST)
    assert sample.notes == (
        "the server rejects 'max_tokens', so it is not sent: texts may be longer",
    )
    assert lm.draw_key(REQUEST) != before, "its texts are others"
    assert lm.draw_key(REQUEST) == remote(server, omit=["max_tokens"]).draw_key(REQUEST)


async def test_an_adaptation_that_does_not_help_is_not_kept() -> None:
    error = {"error": {"message": "Unsupported parameter: 'seed'"}}
    replies = [httpx.Response(400, json=error), httpx.Response(400, json={"error": "no luck"})]
    server = FakeServer(*replies)
    lm = remote(server)
    with pytest.raises(LMError, match="no luck"):
        await lm.generate(REQUEST)
    await lm.generate(REQUEST)
    assert "seed" in server.bodies[-1]


HINTS = [
    ("temperature", {}, {"temperature": 0.5}, '"omit" to ["temperature"].*"server_sampling"'),
    ("top_p", {}, {"top_p": 0.5}, '"omit" to ["top_p"]'),
    ("top_k", {}, {"top_k": 5}, '"omit" to ["top_k"]'),
    ("min_p", {}, {"min_p": 0.5}, '"omit" to ["min_p"]'),
    ("stop", {}, {"stop": ("x",)}, '"omit" to ["stop"]'),
    ("logprobs", {"logprobs": True}, {}, '"logprobs" to false'),
    ("n", {"native_n": True}, {}, '"native_n" to false'),
    ("response_format", {"constraint": "json_schema"}, {}, '"constraint" to null'),
    ("routing", {"body": {"routing": 1}}, {}, "remove 'routing' from the card's \"body\""),
]


@pytest.mark.parametrize(("field", "card", "sampling", "told"), HINTS)
async def test_the_rejection_of_a_field_that_matters_is_an_error_that_names_the_card_key(
    field: str, card: dict[str, Any], sampling: dict[str, Any], told: str
) -> None:
    server = Rejecting(field)
    request = replace(
        REQUEST,
        n=2,
        sampling=SamplingParams(**sampling),
        logprobs=field == "logprobs",
        constraint=Constraint(json_schema={}) if field == "response_format" else None,
    )
    pattern = told.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(LMError, match=pattern):
        await remote(server, **card).generate(request)


@pytest.mark.parametrize(
    ("status", "card", "told"),
    [
        (401, {}, '"api_key_env" to the name of the environment variable'),
        (401, {"api_key_env": "SOME_KEY"}, "the environment variable SOME_KEY"),
        (404, {}, '"base_urls"'),
    ],
)
async def test_a_refusal_names_the_card_key(status: int, card: dict[str, Any], told: str) -> None:
    server = FakeServer(httpx.Response(status, text="x" * 1000))
    with pytest.raises(LMError, match=told):
        await remote(server, **card).generate(REQUEST)


# ---------------------------------------------------------------------- settings of a card


async def test_a_card_can_omit_rename_and_add_fields() -> None:
    server = FakeServer()
    lm = remote(
        server,
        omit=["seed", "temperature", "stream_options"],
        max_tokens_field="max_completion_tokens",
        body={"provider": {"order": ["a"]}, "temperature": 1},
        headers={"X-Title": "sums"},
    )
    [sample] = await lm.generate(REQUEST, lambda event: None)
    [body] = server.bodies
    del body["messages"]
    assert body == {
        "model": "m",
        "max_completion_tokens": 512,
        "stream": True,
        "provider": {"order": ["a"]},
        "temperature": 1,
    }
    assert server.requests[0].headers["x-title"] == "sums"
    assert sample.notes == ()


@pytest.mark.parametrize("field", OMITTED_FIELDS)
async def test_every_field_can_be_omitted(field: str) -> None:
    reply = completion()
    reply["choices"][0]["logprobs"] = {"content": [{"token": "Hello", "logprob": -1}]}
    server = FakeServer(httpx.Response(200, json=reply))
    sampling = SamplingParams(
        top_p=0.5, top_k=5, min_p=0.1, stop=("x",), repetition_penalty=1.1, presence_penalty=0.1,
        frequency_penalty=0.1, typical_p=0.9, top_n_sigma=2.0, logit_bias=((7, 1.0),),
        top_logprobs=2,
    )  # fmt: skip
    await remote(server, omit=[field], logprobs=True).generate(
        replace(REQUEST, sampling=sampling), lambda event: None
    )
    assert set(OMITTED_FIELDS) - set(server.bodies[0]) == {field}


def key_of(**values: object) -> str | None:
    return remote(FakeServer(), **values).draw_key(REQUEST)


def test_the_key_depends_on_everything_in_a_card_that_changes_samples() -> None:
    same: list[dict[str, object]] = [
        {},
        {"omit": []},
        {"omit": ["seed", "stream_options"]},
        {"max_tokens_field": "max_completion_tokens"},
        {"trust_env": False},
        {"api_key_env": "SOME_KEY"},
        {"max_concurrency": 3},
    ]
    assert len({key_of(**values) for values in same}) == 1
    others: list[dict[str, object]] = [
        {},
        {"omit": ["temperature"]},
        {"omit": ["max_tokens"]},
        {"omit": ["stop", "max_tokens"]},
        {"headers": {"x-model": "a"}},
        {"headers": {"x-model": {"env": "A"}}},
        {"body": {"reasoning_effort": "low"}},
        {"body": {"reasoning_effort": "high"}},
        {"server_sampling": True},
    ]
    assert len({key_of(**values) for values in others}) == len(others)


def test_the_key_of_a_plain_card_is_unchanged() -> None:
    assert key_of() == "eb6a1adc2e49b1018b2a010ec882488c"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "contains a secret"),
        ({"headers": {"api-key": "x"}}, "contains a secret"),
        ({"headers": {"Cookie": "x"}}, "contains a secret"),
        ({"headers": {"X-Other": "sk-0123456789abcdef"}}, "contains a secret"),
        ({"headers": {"Host": "x"}}, "which Archon sets itself"),
        ({"headers": {"content-length": "3"}}, "which Archon sets itself"),
        ({"headers": {"a b": "x"}}, "invalid header name"),
        ({"headers": {"x": "a\nb"}}, "printable ASCII"),
        ({"headers": {"x": {"env": "sk-0123456789abcdef"}}}, r"env: must be the name of an env"),
        ({"headers": {"x": 3}}, "must be a string, not 3"),
        ({"headers": {"x": {"var": "A"}}}, "unknown key 'var'"),
        ({"body": {"messages": []}}, "'messages', which Archon sends itself"),
        ({"body": {"model": "x"}}, "'model', which Archon sends itself"),
        ({"body": {"n": 2}}, "'n', which Archon sends itself"),
        ({"body": {"stream": True}}, "'stream', which Archon sends itself"),
        ({"body": {"temperature": 1}}, "only if 'omit' lists 'temperature'"),
        ({"body": {"max_completion_tokens": 1}}, "only if 'omit' lists 'max_tokens'"),
        ({"body": {"x": float("nan")}}, "cannot be written as JSON"),
        ({"omit": ["messages"]}, "unknown value 'messages'"),
        ({"max_tokens_field": "max_new_tokens"}, "unknown value 'max_new_tokens'"),
    ],
)
def test_a_contradictory_card_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        parse(OpenAICard, {**CARD, **values})
    assert "0123456789abcdef" not in str(caught.value)


async def test_a_secret_header_comes_from_the_environment_and_appears_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = OpenAICard.model_validate({**CARD, "headers": {"api-key": {"env": "SOME_KEY"}}})
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UsageError, match="SOME_KEY"):
        open_remote(card)
    monkeypatch.setenv("SOME_KEY", KEY)
    await open_remote(card).aclose()
    lm = RemoteLM(card, secret_headers={"api-key": KEY})
    assert lm._transport._new_client().headers["api-key"] == KEY
    shown = lm._transport.redacted(LMError(f"bad key {KEY}"), "http://one.test", retryable=False)
    assert "secret" not in str(shown)
    assert "secret" not in repr(lm)


def test_an_adaptation_ends_when_no_field_is_left_to_omit() -> None:
    plain = Adaptation("max_tokens")
    assert plain.without("temperature") is None
    renamed = plain.without("max_tokens")
    assert renamed == Adaptation("max_completion_tokens")
    assert renamed is not None
    assert renamed.without("max_completion_tokens") == Adaptation(None)
    assert completion()["choices"]


async def test_a_parameter_that_a_provider_does_not_support_is_noted() -> None:
    server = FakeServer()
    card = OpenAICard.model_validate({**CARD, "provider": "groq"})
    lm = RemoteLM(card, http=Wire(server))
    (plain,) = await lm.generate(REQUEST)
    (cut,) = await lm.generate(replace(REQUEST, sampling=SamplingParams(top_k=5)))
    assert plain.notes == ()
    assert cut.notes == ("groq does not support 'top_k', so it is not sent",)
    assert not any("top_k" in body for body in server.bodies)
    assert lm.draw_key(REQUEST) != lm.draw_key(replace(REQUEST, sampling=SamplingParams(top_k=5)))
