"""The OpenAPI document, and requests that schemathesis generates from it."""

from __future__ import annotations

import warnings
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from serve_process import KEY, Served

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries that it brings
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance

HEADERS = {"Authorization": f"Bearer {KEY}"}


def fetched(served: Served) -> Any:
    reply = httpx.get(f"{served.address}/openapi.json", headers=HEADERS, trust_env=False)
    return reply.json()


OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/{id}"),
    ("DELETE", "/v1/responses/{id}"),
    ("GET", "/v1/responses/{id}/input_items"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/score"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/v1/architectures"),
    ("GET", "/health"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((method, path, schemathesis.GenerationMode.POSITIVE) for method, path in OPERATIONS),
        ("POST", "/v1/chat/completions", schemathesis.GenerationMode.NEGATIVE),
        ("POST", "/v1/responses", schemathesis.GenerationMode.NEGATIVE),
    ],
)
def test_no_request_is_a_server_error(
    scripted: Served, method: str, path: str, mode: schemathesis.GenerationMode
) -> None:
    """Check that neither valid nor invalid requests cause a server error."""
    document = fetched(scripted)
    for request in ("ChatRequest", "ResponsesRequest"):
        model = document["components"]["schemas"][request]["properties"]["model"]
        model["enum"] = ["single", "self-consistency", "scripted"]  # so that most requests get far
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=scripted.address)
    assert len(OPERATIONS) == sum(len(methods) for methods in document["paths"].values())

    @settings(
        max_examples=100 if path == "/v1/chat/completions" else 10,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def no_server_error(case: Any) -> None:
        reply = case.call(headers=HEADERS)
        case.validate_response(reply, checks=[not_a_server_error, response_schema_conformance])

    no_server_error()


def test_the_document_has_the_limits_and_the_key(scripted: Served) -> None:
    document = fetched(scripted)
    assert document["security"] == [{"key": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    messages = document["components"]["schemas"]["ChatRequest"]["properties"]["messages"]
    assert messages["maxItems"] == 256
