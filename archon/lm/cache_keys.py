"""Compute digests of prompts and requests, for the sample pool, and hashes that seed samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from archon.lm.tool_calls.messages import tools_key
from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers
from archon.types import Message, Request, sampling_values


def prompt_digest(model: str, messages: Sequence[Message]) -> str:
    """Return the digest of a prompt's text, for a model whose tokenizer is unknown.

    It has 32 hex digits.
    """
    parts = [model]
    for message in messages:
        parts += (message.role, message.content)
        for call in message.tool_calls:
            parts += ("tool call", call.id, call.name, call.arguments)
        if message.tool_call_id or message.name:
            parts += ("result of", message.tool_call_id, message.name)
    # The lengths distinguish messages that only split the same text differently.
    text = f"{list(map(len, parts))}{''.join(parts)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def request_digest(
    model: Sequence[object],
    prompt: str,
    request: Request,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
) -> str:
    """Return the digest of everything that determines a request's samples, except their numbers.

    It has 32 hex digits.

    Parameters
    ----------
    model
        JSON data that identify the model and its settings.
    prompt
        Digest of the prompt.
    request
        A request that sets every sampling parameter.
    markers
        The markers around the model's reasoning.
    """
    constraint, sampling = request.constraint, sampling_values(request.sampling)
    after = None if constraint is None else constraint.after
    parts = [
        model,
        prompt,
        request.seed,
        # As floats, since 1 and 1.0 have the same effect.
        {k: float(v) if isinstance(v, int) else v for k, v in sampling.items()},
        request.choices,
        # The keys of a schema are not sorted, since a model writes them in the schema's order.
        None
        if constraint is None
        else [constraint.json_schema, constraint.regex, constraint.order_of],
        None if after is None else [after.label, after.room],
    ]
    if request.thinking.key is not None:
        parts.append(request.thinking.key)
    if tuple(markers) != PUBLISHED_MARKERS:
        parts.append([[m.start, m.end] for m in markers])
    if (tools := tools_key(request)) is not None:
        parts.append(["tools", *tools])
    text = json.dumps(parts, default=dict)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def sample_hash(prompt: str, seed: int, sample: int, *, bits: int) -> int:
    """Return a hash of a prompt digest, a seed and a sample number.

    The hash is at least 0 and less than ``2 ** bits``, where ``bits`` is at most 64.
    """
    digest = blake2b(f"{prompt}/{seed}/{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)
