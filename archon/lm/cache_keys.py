"""What names a prompt, a request's draws, and the number that a draw is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b

from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers
from archon.types import Message, Request


def prompt_digest(model: str, messages: Sequence[Message]) -> str:
    """The name of a prompt read by a model of which only the text is known: 32 hex digits."""
    parts = [model]
    for message in messages:
        parts += (message.role, message.content)
    # Lengths keep two splits of one text apart.
    text = f"{list(map(len, parts))}{''.join(parts)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def request_digest(
    model: Sequence[object],
    prompt: str,
    request: Request,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
) -> str:
    """The name of a request's draws (``archon.lm.base.Keyed``): 32 hex digits.

    Parameters
    ----------
    model : what draws depend on besides the request, as JSON.
    prompt : the name of what the model reads.
    request : with its sampling filled in.
    markers : those that its replies were split by.
    """
    form = request.constraint
    parts = [
        model,
        prompt,
        request.seed,
        _plain(asdict(request.sampling)),
        request.choices,
        # The order of a schema's keys is the order in which a model writes them.
        None if form is None else [form.json_schema, form.regex, form.order_of],
        None if form is None or form.after is None else [form.after.label, form.after.room],
    ]
    if request.thinking.key is not None:
        parts.append(request.thinking.key)
    if tuple(markers) != PUBLISHED_MARKERS:
        parts.append([[m.start, m.end] for m in markers])
    text = json.dumps(parts, default=dict)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Values of which equal ones look equal: 1 and 1.0 sample alike."""
    return {name: float(v) if isinstance(v, int) else v for name, v in values.items()}


def draw_number(prompt: str, seed: int, draw: int, *, bits: int) -> int:
    """A number below 2 ** ``bits`` (64 at most) that depends on all three and nothing else."""
    digest = blake2b(f"{prompt}/{seed}/{draw}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)
