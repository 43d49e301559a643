"""Limits on requests, and an upper bound on the number of tokens in an answer."""

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
"""Maximum of ``max_body_bytes``. Several copies of a body are in memory while it is read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on a single request and on all requests together."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Maximum size of a request body; at most ``LARGEST_BODY_BYTES``."""
    max_messages: int = 256
    """Maximum number of messages in a conversation."""
    max_inputs: int = 2048
    """Maximum number of prompts of a completion, or of texts to embed, score or rank."""
    max_request_tokens: int = 200_000
    """Maximum number of completion tokens per request, across all nodes and all ``n`` answers."""
    max_running: int = 64
    """Maximum number of requests that run at the same time."""
    max_waiting: int = 256
    """Maximum number of requests in the queue. Further requests are rejected with status 429."""
    max_seconds: float = 600.0
    """Maximum time from the start of a request to the end of its response, including queueing."""


def token_bound(lm: LM) -> Callable[[SamplingParams], int]:
    """Return a function that computes the maximum number of new tokens per answer.

    The function's argument is a request's sampling parameters. For an architecture, it adds up the
    samples of all nodes, and assumes that none stops early. For a model, the maximum is
    ``max_tokens``. Tokens of prompts and scored choices are not included.
    """

    def bound(sampling: SamplingParams) -> int:
        if isinstance(lm, ArchitectureLM):
            return round(estimate(lm.architecture, sampling=sampling).worst.completion_tokens)
        base = DEFAULT_SAMPLING
        if isinstance(lm, LazyLM) and lm.card.sampling is not None:
            base = lm.card.sampling.params().over(base)
        return sampling.over(base).max_tokens or 0

    return lru_cache(_CACHE_SIZE)(bound)  # bounded, because clients choose the sampling
