"""Requests to an engine and their results: what to generate, and what was generated."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from torch import Tensor

from archon.engine.sampling.constraint import TokenConstraint
from archon.engine.sampling.sampler import SamplingRule
from archon.types import Hold

FinishReason = Literal["stop", "length"]
OnToken = Callable[[int, int], bool]
"""(index of the sample within its request, token) → whether the sequence should stop here."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """n samples from one prompt.

    ``draws`` are the sample indices. The engine's thread calls ``on_token`` for each token that is
    not an end of sequence.
    """

    prompt_ids: tuple[int, ...]
    draws: tuple[int, ...]
    seed: int
    rule: SamplingRule
    max_tokens: int
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end a sequence; they are not part of the result."""
    logprobs: bool = False
    logprobs_at: float = 1.0
    """Temperature of those log-probabilities: 1 is the model itself; a learner wants the rule's."""
    on_token: OnToken | None = None
    beams: int = 0
    """0 samples at random. More runs a beam search for the likeliest texts: the rule is not used,
    sample k is the (k modulo ``beams``)-th best, and ``on_token`` is called at the end, for each
    text from its beginning."""
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    hold: Hold | None = None
    """Pins the prompt's blocks until it is released: they are evicted after all others."""
    constraint: TokenConstraint | None = None
    """Constrains every sample; forced tokens are not sampled."""
    adapter: str = ""
    """Digest of the adapter that computes it (``Engine.add_adapter``); "" for none."""
    hidden: bool = False
    """Samples nothing: the one generation holds the hidden state of the prompt's last token."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished sample."""

    draw: int
    """Its sample index."""
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    finish_reason: FinishReason
    cached_tokens: int
    """Prompt tokens that were not computed for this sample."""
    ended_by: int | None = None
    """The sampled stop token, if one ended it."""
    score: float | None = None
    """The rank score of a beam search (``archon.engine.sampling.beam_search``)."""
    hidden_E: Tensor | None = None
    """The last layer's normalised output for the prompt's last token, if requested: float32, in
    the basis of the decoder's own weights."""


def draw_key(request: GenerationRequest, draw: int, model_id: str) -> bytes:
    """The key of one sample: a hash of (seed, model, precision and adapter, prompt, sampling,
    constraint, sample index)."""
    prompt = struct.pack(f"<{len(request.prompt_ids)}q", *request.prompt_ids)
    model = f"{model_id}:{request.adapter}" if request.adapter else model_id
    parts = [repr(request.seed), repr(model), request.rule.key, repr(draw)]
    if request.constraint is not None and request.constraint.key:
        parts.append(repr(request.constraint.key))
    what = f"({', '.join(parts)})".encode()
    return blake2b(prompt, key=blake2b(what).digest(), digest_size=16).digest()
