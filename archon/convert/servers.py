"""Make model cards for the servers that the original identifies by ``model_type``.

The original uses the client of each provider. Most providers also support the OpenAI protocol at
the addresses below. API keys are read from the same environment variables as in the original.

=============  =====================================================================
OpenAI_API     https://api.openai.com/v1 Together_API   https://api.together.xyz/v1 Anthropic_API
https://api.anthropic.com/v1, Anthropic's own compatible endpoint Groq_API
https://api.groq.com/openai/v1 Google_API
https://generativelanguage.googleapis.com/v1beta/openai, Google's own vLLM
http://localhost:8000/v1; the original loads the model in its own process; for Archon, it must be
served (``vllm serve MODEL``) tgi            the address in ``model``; the server calls its model
``tgi`` Bedrock_API    http://localhost:4000/v1, the usual address of a LiteLLM proxy
=============  =====================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from archon.convert.conversion_log import ConversionLog, near_miss
from archon.convert.layers import Component
from archon.spec.messages import shown

PAIR_RM = "llm-blender/PairRM"
"""A reward model that the original's ranker can use. It compares two texts and cannot generate."""

_LOCAL = "http://localhost:8000/v1"
_MAX_NAME = 200
_MAX_ROLE = 80
_NO_MODEL = "model-not-named"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Address and API key of one type of server."""

    base_url: str
    api_key_env: str | None = None
    caveat: str | None = None
    """The reason why the address is only a placeholder."""


SERVERS = {
    "OpenAI_API": ApiServer("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "Together_API": ApiServer("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "Anthropic_API": ApiServer("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "Groq_API": ApiServer("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "Google_API": ApiServer(
        "https://generativelanguage.googleapis.com/v1beta/openai", "GOOGLE_API_KEY"
    ),
    "vLLM": ApiServer(_LOCAL),
    "tgi": ApiServer("http://localhost:8080/v1"),
    "Bedrock_API": ApiServer(
        "http://localhost:4000/v1",
        caveat="Bedrock needs a proxy; the card has the usual address of LiteLLM",
    ),
}


@dataclass(slots=True)
class Roles:
    """Model roles of an architecture: one per model and server type, in the order of the file."""

    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def role(self, component: Component, log: ConversionLog) -> str:
        """Return the role of the component's model; log settings that its card cannot express."""
        model = _model(component, log)
        kind = component.data.get("model_type")
        server = _server(component, log)
        pair = (model, kind if isinstance(kind, str) else "")
        if pair not in self._names:
            self._names[pair] = self._new_name(model)
            self.cards[self._names[pair]] = _card(model, pair[1], server)
        return self._names[pair]

    def _new_name(self, model: str) -> str:
        last = model.rstrip("/").rsplit("/", 1)[-1]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-")[:_MAX_ROLE] or "model"
        count = self._counts.get(name, 0) + 1
        while (chosen := name if count == 1 else f"{name}_{count}") in self.cards:
            count += 1
        self._counts[name] = count
        return chosen


def _card(model: str, kind: str, server: ApiServer) -> dict[str, Any]:
    is_address = kind == "tgi" and re.match(r"https?://", model) is not None
    card: dict[str, Any] = {
        "name": model,
        "backend": "openai",
        "base_urls": [model if is_address else server.base_url],
        "model": "tgi" if kind == "tgi" else model,
    }
    if server.api_key_env is not None:
        card["api_key_env"] = server.api_key_env
    return card


def _model(component: Component, log: ConversionLog) -> str:
    path = (*component.path, "model")
    model = component.data.get("model")
    if isinstance(model, str) and 0 < len(model) <= _MAX_NAME:
        if model == PAIR_RM:
            reason = f"a chat server cannot run {PAIR_RM}; choose another model with --model"
            log.lose(path, reason)
        elif component.data.get("model_type") == "tgi" and not re.match(r"https?://", model):
            reason = "must be the address of a tgi server; the card has the usual local address"
            log.lose(path, reason)
        return model
    if "model" in component.data:
        log.lose(path, f"must be the name of a model, not {shown(model)}")
    reason = "the component names no model; choose one with --model"
    log.remark("model_named", component.path, reason)
    return _NO_MODEL


def _server(component: Component, log: ConversionLog) -> ApiServer:
    path = (*component.path, "model_type")
    kind = component.data.get("model_type")
    server = SERVERS.get(kind) if isinstance(kind, str) else None
    if server is not None:
        if server.caveat is not None:
            log.lose(path, server.caveat)
        return server
    if component.data.get("model") == PAIR_RM and kind == "":
        return ApiServer(_LOCAL)  # as the original's own files write it
    if "model_type" in component.data:
        reason = f"{shown(kind)} is not a known type of server"
        hint = near_miss(kind, SERVERS) or f"; the card has the address {_LOCAL}"
        log.lose(path, reason + hint)
    else:
        reason = f"the component names no type of server; the card has the address {_LOCAL}"
        log.remark("server_named", component.path, reason)
    return ApiServer(_LOCAL)
