"""Requests to an engine, and their results."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from torch import Tensor

from archon.engine.sampling.constraint import TokenConstraint
from archon.engine.sampling.sampler import SamplingRule
from archon.errors import EngineError
from archon.types import Hold

FinishReason = Literal["stop", "length"]
OnToken = Callable[[int, int], bool]
"""(index of the sample within its request, token) → True to stop the sample after this token."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request for one or more samples of one prompt."""

    prompt_ids: tuple[int, ...]
    draws: tuple[int, ...]
    """Sample indices, one per sample. With the seed, an index determines the sample's noise."""
    seed: int
    rule: SamplingRule
    max_tokens: int
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end a sample and are not part of it."""
    logprobs: bool = False
    top_logprobs: int = 0
    """Number of likeliest tokens to return with each log-probability."""
    logprob_temperature: float = 1.0
    """Temperature at which log-probabilities are computed. 1 gives the model's distribution. The
    rule's temperature gives the distribution that is sampled from, which policy gradients need.
    """
    on_token: OnToken | None = None
    """Called in the engine's thread for each token that is not a stop token."""
    beams: int = 0
    """0 for random sampling, else the number of beams of a search for the likeliest texts. A search
    ignores temperature and truncation, and refuses penalties and biases. Sample index k gives the
    (k modulo ``beams``)-th best text, counted from 0. ``on_token`` is called at the end, for all
    tokens of each text."""
    length_penalty: float = 1.0
    """See ``archon.engine.sampling.beam_search``."""
    early_stopping: bool | Literal["never"] = False
    """See ``archon.engine.sampling.beam_search``."""
    hold: Hold | None = None
    """Pins the prompt's cache blocks: they are evicted last until the hold is released."""
    constraint: TokenConstraint | None = None
    """Constraint on every sample; forced tokens are not sampled."""
    adapter: str = ""
    """Digest of the adapter (``archon.engine.loading.add_adapter``); "" for none."""
    hidden: bool = False
    """Whether to compute the last token's hidden state instead of sampling."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished sample."""

    draw: int
    """Sample index."""
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    """log p of each token, in nats, if requested."""
    finish_reason: FinishReason
    cached_tokens: int
    """Number of prompt tokens that did not have to be computed for this sample."""
    ended_by: int | None = None
    """The sampled stop token that ended the sample; None if there was none."""
    score: float | None = None
    """Score in a beam search (``archon.engine.sampling.beam_search``)."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """For each token, the likeliest tokens at its position and their log p, likeliest first."""
    hidden_E: Tensor | None = None
    """Last layer's normalised output for the prompt's last token, if requested: float32, in the
    basis of the decoder's weights."""


class TokenBiasError(EngineError):
    """A biased token is not in the model's vocabulary."""


def check_rule(request: GenerationRequest, vocab_size: int) -> None:
    """Check the rule of a request.

    Raises
    ------
    TokenBiasError
        A biased token does not exist.
    EngineError
        A beam search has a parameter that it does not support.
    """
    rule = request.rule
    if request.beams and (rule.has_penalty or rule.logit_bias or request.top_logprobs):
        raise EngineError("a beam search cannot have penalties, a logit_bias or top_logprobs")
    if any(not 0 <= token < vocab_size for token, _ in rule.logit_bias):
        raise TokenBiasError(
            f"a token id of logit_bias is not in the vocabulary of {vocab_size} tokens"
        )


def sample_key(request: GenerationRequest, draw: int, model_id: str) -> bytes:
    """Return the key of a sample's noise: a hash of everything that the sample depends on.

    This is the seed, the model with its precision and adapter, the prompt, the sampling rule, the
    constraint and the sample index.
    """
    prompt = struct.pack(f"<{len(request.prompt_ids)}q", *request.prompt_ids)
    model = f"{model_id}:{request.adapter}" if request.adapter else model_id
    parts = [repr(request.seed), repr(model), request.rule.key, repr(draw)]
    if request.constraint is not None and request.constraint.key:
        parts.append(repr(request.constraint.key))
    what = f"({', '.join(parts)})".encode()
    return blake2b(prompt, key=blake2b(what).digest(), digest_size=16).digest()
