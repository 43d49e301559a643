"""Attributes of spans, as named by OpenTelemetry's semantic conventions for generative AI.

Source: version 0.1.0 of github.com/open-telemetry/semantic-conventions-genai (docs/gen-ai), in
which a workflow is a kind of agent. Attributes that begin with ``archon.`` are Archon's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from archon.spec.model import OpenAICard
from archon.types import Completion, Message, Request, Usage, total_usage

Attributes = dict[str, Any]

ENGINE = "archon"
"""Value of ``gen_ai.provider.name`` for models that this process runs."""
_PROVIDERS = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai"}
"""Provider in a card → its name in the conventions, where the two differ."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


def of_model(lm: object) -> tuple[str, Attributes]:
    """Return the name of a model, and the attributes of its provider and server."""
    card = getattr(lm, "card", None)
    if not isinstance(card, OpenAICard):
        name = getattr(card, "name", None) or type(lm).__name__
        return name, {"gen_ai.provider.name": ENGINE, "gen_ai.request.model": name}
    name = card.model or card.name
    provider = card.provider or "openai"  # the conventions name the protocol of the server
    found: Attributes = {
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": name,
    }
    if len(card.base_urls) == 1:
        address = urlsplit(card.base_urls[0])
        found["server.address"] = address.hostname or ""
        found["server.port"] = address.port or _DEFAULT_PORTS[address.scheme]
    return name, found


def operation(lm: object) -> Literal["chat", "text_completion"]:
    """Return the ``gen_ai.operation.name`` of a call to a model."""
    card = getattr(lm, "card", None)
    is_plain = isinstance(card, OpenAICard) and card.endpoint == "completions"
    return "text_completion" if is_plain else "chat"


def of_request(request: Request) -> Attributes:
    """Return the attributes of a request, without its messages."""
    sampling, constraint = request.sampling, request.constraint
    found: Attributes = {
        "gen_ai.request.choice.count": request.n if request.n != 1 else None,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.frequency_penalty": sampling.frequency_penalty,
        "gen_ai.request.presence_penalty": sampling.presence_penalty,
        "gen_ai.request.stop_sequences": sampling.stop or None,
        "gen_ai.output.type": "json" if constraint and constraint.json_schema else None,
        "archon.request.first_sample": request.first_draw,
        "archon.request.scored_choices": len(request.choices) if request.choices else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def of_completions(completions: Sequence[Completion]) -> Attributes:
    """Return finish reasons and token counts."""
    reasons = tuple(completion.finish_reason for completion in completions)
    usage = total_usage(completions)
    return {"gen_ai.response.finish_reasons": reasons, **of_usage(usage)}


def of_usage(usage: Usage) -> Attributes:
    """Return token counts. As in ``Usage``, every completion counts its complete prompt."""
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "archon.usage.generated_tokens": usage.generated_tokens,
    }


def input_messages(messages: Iterable[Message]) -> Attributes:
    """Return the prompt as JSON, since attributes of Python's SDK cannot be nested."""
    data = [{"role": m.role, "parts": [_part("text", m.content)]} for m in messages]
    return {"gen_ai.input.messages": json.dumps(data, ensure_ascii=False)}


def output_messages(completions: Iterable[Completion]) -> Attributes:
    """Return the completions as JSON, with the reasoning as a separate part."""
    data = []
    for completion in completions:
        parts = [_part("reasoning", completion.reasoning)] if completion.reasoning else []
        parts.append(_part("text", completion.text))
        message = {"role": "assistant", "parts": parts, "finish_reason": completion.finish_reason}
        data.append(message)
    return {"gen_ai.output.messages": json.dumps(data, ensure_ascii=False)}


def _part(kind: str, text: str) -> Mapping[str, str]:
    return {"type": kind, "content": text}
