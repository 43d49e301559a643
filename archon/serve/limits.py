"""Limits on requests, and the upper bound of the tokens of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from archon.graph.estimate import estimate
from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM
from archon.lm.lazy import LazyLM
from archon.types import DEFAULT_SAMPLING, SamplingParams

_CACHE_SIZE = 256
LARGEST_BODY_BYTES = 64 * 1024 * 1024
"""Upper bound of ``max_body_bytes``: memory holds several copies of a body while it is read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one request, and on all requests together."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Size of the body of a request; at most ``LARGEST_BODY_BYTES``."""
    max_messages: int = 256
    """Messages of one conversation."""
    max_request_tokens: int = 200_000
    """Upper bound of the completion tokens of a request: ``n`` times the bound of all nodes."""
    max_running: int = 64
    """Requests that run at the same time; they share the engine's batch."""
    max_waiting: int = 256
    """Requests in the queue; any further one gets status 429."""
    max_seconds: float = 600.0
    """Time from the first byte of a request to the last byte of its response, queueing included."""


def token_bound(lm: LM) -> Callable[[SamplingParams], int]:
    """Return a function from a request's sampling to the upper bound of an answer's new tokens.

    For an architecture the bound is the sum over the samples of all nodes, none of which stops
    early; for a plain model it is ``max_tokens``. Prompts and scored choices do not count.
    """

    def bound(sampling: SamplingParams) -> int:
        if isinstance(lm, ArchitectureLM):
            return round(estimate(lm.architecture, sampling=sampling).worst.completion_tokens)
        base = DEFAULT_SAMPLING
        if isinstance(lm, LazyLM) and lm.card.sampling is not None:
            base = lm.card.sampling.params().over(base)
        return sampling.over(base).max_tokens or 0

    return lru_cache(_CACHE_SIZE)(bound)  # bounded, because clients choose the sampling
