"""The OpenAPI document of the server, made from the models that requests are read with."""

from __future__ import annotations

from typing import Any

from archon.serve.limits import Limits
from archon.serve.requests import ChatMessage, ChatRequest, RequestObject, StreamOptions, TextPart

_TEMPLATE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_USAGE = {
    "type": "object",
    "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
    "properties": {
        name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    },
}
_COMPLETION = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "message", "finish_reason", "logprobs"],
                "properties": {
                    "index": {"type": "integer"},
                    "message": {"type": "object"},
                    "finish_reason": {"enum": ["stop", "length"]},
                    "logprobs": {"type": ["object", "null"]},
                    "archon": {"type": "object"},
                },
            },
        },
        "usage": _USAGE,
    },
}
_EVENTS = (
    "Server-sent events: the data of each is a chat.completion.chunk, that of the last is [DONE]."
)
_REFUSALS = {
    "400": "the request is wrong, or asks for what cannot be given",
    "401": "the API key is missing or wrong",
    "404": "there is no such model",
    "408": "the body did not come in time",
    "413": "the body is too large",
    "415": "the body does not claim to be JSON",
    "422": "an architecture's budget was used up before there was an answer",
    "429": "too many requests are waiting; Retry-After tells when to come back",
    "500": "something failed here",
    "502": "a model behind the server failed",
    "503": "a model behind the server is busy",
    "504": "the answer took too long",
}


def document(limits: Limits, *, has_key: bool, is_strict: bool = False) -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    request = ChatRequest.model_json_schema(ref_template=_TEMPLATE)
    schemas = request.pop("$defs")
    request["properties"]["messages"]["maxItems"] = limits.max_messages
    for schema in (request, *schemas.values()):
        schema["additionalProperties"] = not is_strict
    for model in (ChatRequest, ChatMessage, TextPart, StreamOptions):
        schema = request if model is ChatRequest else schemas[model.__name__]
        schema["properties"] |= _without_effect(model, is_strict=is_strict)
    schemas |= {
        "ChatRequest": request,
        "ChatCompletion": _COMPLETION,
        "Model": _MODEL,
        "Error": _ERROR,
    }
    paths: dict[str, Any] = {
        "/v1/chat/completions": {
            "post": {
                "summary": "Answer a conversation.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _ref("ChatRequest")}},
                },
                "responses": {
                    "200": {
                        "description": "the answer, whole or as server-sent events",
                        "headers": {
                            "x-archon-ignored": {
                                "description": "fields of the request that had no effect",
                                "schema": {"type": "string"},
                            }
                        },
                        "content": {
                            "application/json": {"schema": _ref("ChatCompletion")},
                            "text/event-stream": {"schema": {"description": _EVENTS}},
                        },
                    },
                    **_refused(*_REFUSALS),
                },
            }
        },
        "/v1/models": {
            "get": {
                "summary": "The models that are served.",
                "responses": {
                    "200": _json("all of them", {"type": "object", "required": ["data"]}),
                    **_refused("401"),
                },
            }
        },
        "/v1/models/{name}": {
            "get": {
                "summary": "One of them.",
                "parameters": [
                    {
                        "name": "name",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
                "responses": {
                    "200": _json("it is served", _ref("Model")),
                    **_refused("401", "404"),
                },
            }
        },
        "/health": {
            "get": {
                "summary": "Whether the server is there.",
                "security": [],
                "responses": {"200": _json("it is", {"type": "object"})},
            }
        },
        "/metrics": {
            "get": {
                "summary": "Counts in Prometheus's form.",
                "responses": {
                    "200": {
                        "description": "the counts",
                        "content": {"text/plain": {"schema": {"type": "string"}}},
                    },
                    **_refused("401"),
                },
            }
        },
    }
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


def _without_effect(model: type[RequestObject], *, is_strict: bool) -> dict[str, Any]:
    """The schemas of an object's fields that are accepted without being applied."""
    schemas: dict[str, Any] = {}
    for name, rule in model.rules.items():
        match rule.kind:
            case "label":
                schemas[name] = {"description": "No answer depends on it."}
            case "hint" if not is_strict:
                schemas[name] = {"description": "It is ignored."}
            case _:
                schemas[name] = {"enum": [None, *rule.neutral], "description": rule.advice}
    return schemas


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _TEMPLATE.format(model=name)}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refused(*statuses: str) -> dict[str, Any]:
    return {status: _json(_REFUSALS[status], _ref("Error")) for status in statuses}
