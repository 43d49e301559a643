"""Encode completions as compressed JSON for the pool's file."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

from archon.types import Completion, Usage

_FIELDS = ("text", "draw", "finish_reason", "prompts", "score", "choice_logprobs")
_SERIES = ("token_ids", "logprobs")
_OPTIONAL = ("reasoning", "is_reasoning_cut_off", "notes")
"""Fields that earlier versions did not have. They are stored only if they are not empty."""


def encode(completion: Completion) -> bytes:
    """Encode a completion without its trace, which only architectures' completions have."""
    data = {name: getattr(completion, name) for name in (*_FIELDS, *_SERIES)}
    data |= {name: value for name in _OPTIONAL if (value := getattr(completion, name))}
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
        return Completion(**values, usage=Usage(**data["usage"]))
    except (zlib.error, KeyError, TypeError) as error:
        raise ValueError(f"not a stored sample: {error}") from None
