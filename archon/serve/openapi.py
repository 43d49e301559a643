"""Generate the OpenAPI document from the routes and the types of requests and responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from archon.serve.fields import IGNORED_HEADER
from archon.serve.limits import Limits
from archon.serve.request_object import RequestObject
from archon.serve.responses import ChatCompletionChunk, Error, ResponseObject

_TEMPLATE = "#/components/schemas/{model}"
_ERRORS = {
    400: "The request is invalid or not supported.",
    401: "The API key is missing or wrong.",
    404: "The model does not exist.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body's content type is not application/json.",
    422: "The architecture's budget was used up before it had an answer.",
    429: "Too many requests are waiting. Retry after the time in the Retry-After header.",
    500: "Internal error.",
    502: "The model failed.",
    503: "The model is busy, or the server is shutting down.",
    504: "The answer took too long.",
}
ANY_ERROR = tuple(_ERRORS)
CHUNKS = (
    "Server-sent events. Each event's data is a ChatCompletionChunk. The last event's data is "
    "[DONE]."
)
"""Description of the events of a streamed chat completion."""
_IGNORED = {
    IGNORED_HEADER: {
        "description": "Names of the request fields that had no effect.",
        "schema": {"type": "string"},
    }
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One route's description for the OpenAPI document."""

    method: str
    path: str
    """The route's path, with parameters in braces."""
    summary: str
    response: type[ResponseObject] | None
    """Type of the response body; None for plain text."""
    errors: Sequence[int] = (401,)
    request: type[RequestObject] | None = None
    events: str = ""
    """Description of the events of a streamed response; empty if responses are not streamed."""
    query: Mapping[str, Any] = field(default_factory=dict)
    """Name → schema of each parameter of the query."""
    is_open: bool = False
    """Whether clients can use the route without an API key."""

    def describe(self) -> dict[str, Any]:
        """Return the JSON object that describes the route in the OpenAPI document."""
        described: dict[str, Any] = {
            "summary": self.summary,
            "responses": {
                "200": self._success(),
                **{str(n): {"description": _ERRORS[n], **_json(Error)} for n in self.errors},
            },
        }
        parameters: list[dict[str, Any]] = []
        if "{" in self.path:
            name = self.path.partition("{")[2].partition("}")[0]
            schema = {"type": "string", "minLength": 1}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
        parameters += [{"name": n, "in": "query", "schema": s} for n, s in self.query.items()]
        if parameters:
            described["parameters"] = parameters
        if self.request is not None:
            described["requestBody"] = {"required": True, **_json(self.request)}
        if self.is_open:
            described["security"] = []
        return described

    def _success(self) -> dict[str, Any]:
        if self.response is None:
            content = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        else:
            content = _json(self.response)
        if self.events:
            content["content"]["text/event-stream"] = {"schema": {"description": self.events}}
        headers = {"headers": _IGNORED} if self.request is not None else {}
        return {"description": "Success.", **headers, **content}


def document(
    operations: Sequence[Operation], limits: Limits, *, has_key: bool, is_strict: bool = False
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a server with these operations.

    Parameters
    ----------
    has_key
        Whether clients need an API key.
    is_strict
        Whether the server rejects fields without effect.
    """
    responses: set[type[BaseModel]] = {o.response for o in operations if o.response is not None}
    responses |= {ChatCompletionChunk, Error}
    requests = {o.request for o in operations if o.request is not None}
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "serialization") for model in responses),
        *((model, "validation") for model in requests),
    ]
    schemas = models_json_schema(models, ref_template=_TEMPLATE)[1]["$defs"]
    for model in _subclasses(RequestObject):
        if (schema := schemas.get(model.__name__)) is not None:
            schema["additionalProperties"] = not is_strict
            if model.rules:
                without_effect = _without_effect(model, is_strict=is_strict)
                schema["properties"] = schema.get("properties", {}) | without_effect
    schemas["ChatRequest"]["properties"]["messages"]["maxItems"] = limits.max_messages
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.describe()
    return {
        "openapi": "3.1.0",
        "info": {"title": "archon serve", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        **({"security": [{"key": []}]} if has_key else {}),
    }


def _subclasses(base: type[RequestObject]) -> list[type[RequestObject]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_subclasses(child))]


def _without_effect(model: type[RequestObject], *, is_strict: bool) -> dict[str, Any]:
    """Return the schemas of an object's fields that are accepted but have no effect."""
    schemas: dict[str, Any] = {}
    for name, rule in model.rules.items():
        match rule.kind:
            case "label":
                schemas[name] = {"description": "Accepted; has no effect on the answer."}
            case "hint" if not is_strict:
                schemas[name] = {"description": "Ignored."}
            case _:
                schemas[name] = {"enum": [None, *rule.neutral], "description": rule.advice}
    return schemas


def _json(model: type[BaseModel]) -> dict[str, Any]:
    reference = {"$ref": _TEMPLATE.format(model=model.__name__)}
    return {"content": {"application/json": {"schema": reference}}}
