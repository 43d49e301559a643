"""Spans of questions, nodes, calls and served requests."""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx
import pytest
from otel_doubles import FakeTracer, SpanKind, fake_opentelemetry
from starlette.testclient import TestClient

import archon
from archon.errors import LMError, NodeError
from archon.graph.lm import ArchitectureLM
from archon.lm.openai.client import RemoteLM
from archon.lm.reasoning import generate_answers
from archon.serve.app import create_app
from archon.spec.model import OpenAICard
from archon.tracing import provider
from archon.tracing.attributes import of_model
from archon.tracing.spans import call_span, question_span, trace_headers
from archon.types import Message, Question, Request

QUESTION = "What is 17 * 23?"


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> FakeTracer:
    monkeypatch.delenv(provider.CAPTURE_CONTENT, raising=False)
    return fake_opentelemetry(monkeypatch)


def vote(**options: Any) -> archon.Architecture:
    return archon.load("self-consistency", models="scripted", **options)


def test_a_question_has_nodes_and_calls(tracer: FakeTracer) -> None:
    answer = vote().run(QUESTION)
    question, draft, call, final = tracer.spans
    assert [span.name for span in tracer.spans] == [
        "invoke_workflow self-consistency", "generator draft", "chat scripted", "vote answer",
    ]  # fmt: skip
    assert [span.parent for span in tracer.spans] == [None, question, draft, question]
    assert all(span.kind is SpanKind.INTERNAL and span.has_ended for span in tracer.spans)
    assert question.attributes["gen_ai.agent.name"] == "self-consistency"
    assert question.attributes["archon.cost_tokens"] == answer.cost_tokens
    assert draft.attributes["archon.node.candidates"] == 8
    assert final.attributes["archon.node.inputs"] == 8
    values = call.attributes
    assert values["gen_ai.operation.name"] == "chat"
    assert values["gen_ai.request.choice.count"] == 8
    assert values["gen_ai.request.temperature"] == 0.8
    assert values["gen_ai.response.finish_reasons"] == ("stop",) * 8
    assert values["gen_ai.usage.input_tokens"] == answer.usage.prompt_tokens
    assert values["gen_ai.usage.output_tokens"] == answer.usage.completion_tokens
    assert not any("17" in str(v) for span in tracer.spans for v in span.attributes.values())


def test_content_is_recorded_on_request(
    tracer: FakeTracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(provider.CAPTURE_CONTENT, "true")
    answer = vote().run(QUESTION)
    question, _, call, _ = tracer.spans
    assert json.loads(question.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": QUESTION}]}
    ]
    (final,) = json.loads(question.attributes["gen_ai.output.messages"])
    assert final["parts"] == [{"type": "text", "content": answer.text}]
    assert len(json.loads(call.attributes["gen_ai.output.messages"])) == 8
    assert QUESTION in call.attributes["gen_ai.input.messages"]


@pytest.mark.parametrize("captures", [True, False])
def test_errors_have_a_type_and_no_message(
    tracer: FakeTracer, monkeypatch: pytest.MonkeyPatch, captures: bool
) -> None:
    monkeypatch.setenv(provider.CAPTURE_CONTENT, str(captures))

    class Broken:
        capabilities = frozenset({"chat"})

        async def generate(self, request: Request, on_event: Any = None) -> Any:
            raise LMError("secret prompt")

    architecture = archon.load("self-consistency", models={"solver": Broken()})
    with pytest.raises(NodeError):
        architecture.run(QUESTION)
    assert [span.name for span in tracer.spans][2] == "chat Broken"
    for span in tracer.spans[:3]:
        assert span.attributes["error.type"] == "LMError"
        assert span.status is not None
        assert ("secret prompt" in str(span.status[1])) == captures


def test_a_nested_architecture_has_no_call_of_its_own(tracer: FakeTracer) -> None:
    request = Request((Message("user", QUESTION),))
    with call_span(ArchitectureLM(vote()), request) as span:
        assert span is None


@pytest.mark.parametrize(
    ("keys", "provider_name", "address", "port"),
    [
        ({"base_urls": ["http://gpu:9000/v1"]}, "openai", "gpu", 9000),
        ({"base_urls": ["https://host/v1"]}, "openai", "host", 443),
        ({"provider": "mistral"}, "mistral_ai", "api.mistral.ai", 443),
        ({"base_urls": ["http://a/v1", "http://b/v1"]}, "openai", None, None),
    ],
)
def test_servers(
    keys: dict[str, Any], provider_name: str, address: str | None, port: int | None
) -> None:
    class Server:
        card = OpenAICard.model_validate(
            {"version": 1, "name": "card", "backend": "openai", "model": "m", **keys}
        )

    name, found = of_model(Server())
    assert (name, found["gen_ai.provider.name"]) == ("m", provider_name)
    assert (found.get("server.address"), found.get("server.port")) == (address, port)


@pytest.mark.parametrize("stream", [False, True])
def test_the_server_continues_the_callers_trace(tracer: FakeTracer, stream: bool) -> None:
    client = TestClient(create_app({"vote": ArchitectureLM(vote())}))
    body = {"model": "vote", "stream": stream, "messages": [{"role": "user", "content": "2 + 2"}]}
    headers = {"traceparent": "00-caller"}
    assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
    served, question, *_ = tracer.spans
    assert (served.name, served.kind) == ("POST /v1/chat/completions", SpanKind.SERVER)
    assert (served.parent, question.parent) == ("00-caller", served)
    assert served.attributes["http.response.status_code"] == 200
    client.get("/health")
    assert len(tracer.spans) == 5


async def test_requests_to_servers_carry_the_trace(tracer: FakeTracer) -> None:
    sent: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        message = {"role": "assistant", "content": "4"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        body = json.dumps({"choices": [choice], "usage": usage}).encode()
        kind = {"content-type": "application/json"}
        return httpx.Response(200, headers=kind, stream=httpx.ByteStream(body))

    card = OpenAICard.model_validate(
        {"version": 1, "name": "c", "backend": "openai", "model": "m", "base_urls": ["http://h/v1"]}
    )
    lm = RemoteLM(card, http=httpx.MockTransport(reply))
    await generate_answers(lm, Request((Message("user", "2 + 2"),)))
    assert sent[0].headers["traceparent"] == "00-1-2-01"
    (call,) = tracer.spans
    assert (call.name, call.kind) == ("chat m", SpanKind.CLIENT)
    assert call.attributes["gen_ai.usage.output_tokens"] == 1


def test_without_a_provider_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert provider.tracer() is None
    assert trace_headers() == {}
    with question_span("a", Question("?")) as span:
        assert span is None
    fake_opentelemetry(monkeypatch)
    trace = sys.modules["opentelemetry.trace"]
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert provider.tracer() is None
