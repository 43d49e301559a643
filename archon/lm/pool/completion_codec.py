"""Encode completions as compressed JSON for the pool's file."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

from archon.types import Completion, TokenLogprob, ToolCall, Usage

_FIELDS = ("text", "draw", "finish_reason", "prompts", "score", "choice_logprobs")
_SERIES = ("token_ids", "logprobs")
_OPTIONAL = ("reasoning", "is_reasoning_cut_off", "notes")
"""Fields that earlier versions did not have. They are stored only if they are not empty."""


def encode(completion: Completion) -> bytes:
    """Encode a completion without its trace, which only architectures' completions have."""
    data = {name: getattr(completion, name) for name in (*_FIELDS, *_SERIES)}
    data |= {name: value for name in _OPTIONAL if (value := getattr(completion, name))}
    if completion.top_logprobs is not None:
        data["top_logprobs"] = [
            [(one.logprob, one.token_id, _text(one.token)) for one in likeliest]
            for likeliest in completion.top_logprobs
        ]
    if completion.tool_calls:
        data["tool_calls"] = [asdict(call) for call in completion.tool_calls]
    data["usage"] = asdict(completion.usage)
    return zlib.compress(json.dumps(data, separators=(",", ":"), default=dict).encode())


def decode(payload: bytes) -> Completion:
    """Decode a completion that was encoded by ``encode``.

    Raises
    ------
    ValueError
        ``payload`` is not an encoded completion.
    """
    try:
        data = json.loads(zlib.decompress(payload))
        values = {name: data[name] for name in _FIELDS}
        values |= {name: None if data[name] is None else tuple(data[name]) for name in _SERIES}
        values |= {name: data[name] for name in _OPTIONAL if name in data}
        values["notes"] = tuple(values.get("notes", ()))
        if "tool_calls" in data:
            values["tool_calls"] = tuple(ToolCall(**call) for call in data["tool_calls"])
        if "top_logprobs" in data:
            values["top_logprobs"] = tuple(
                tuple(
                    TokenLogprob(logprob, token_id, _bytes(text))
                    for logprob, token_id, text in likeliest
                )
                for likeliest in data["top_logprobs"]
            )
        return Completion(**values, usage=Usage(**data["usage"]))
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not a stored sample: {error}") from None


def _text(token: bytes | None) -> str | None:
    """Return bytes as text with one character per byte, since JSON has no bytes."""
    return None if token is None else token.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
