"""What a server allows a client, and what an answer may cost at the most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from archon.graph.estimate import estimate
from archon.graph.lm import ArchitectureLM
from archon.lm import LM
from archon.lm.lazy import LazyLM
from archon.types import DEFAULT_SAMPLING, SamplingParams

_MAX_KEPT = 256
LARGEST_BODY_BYTES = 64 * 1024 * 1024
"""A body is held in memory several times over while it is read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one request, and on all of them together."""

    max_body_bytes: int = 4 * 1024 * 1024
    """Of the body of a request; at most ``LARGEST_BODY_BYTES``."""
    max_messages: int = 256
    """Of one conversation."""
    max_request_tokens: int = 200_000
    """New tokens that a request may cost: its ``n`` times what all nodes may write."""
    max_running: int = 64
    """Requests that are answered at once; they meet in the engine's batch."""
    max_waiting: int = 256
    """Requests that wait for their turn; one more is told to come back later."""
    max_seconds: float = 600.0
    """From the first byte of a request to the last of its answer, its turn to wait included."""


def token_bound(lm: LM) -> Callable[[SamplingParams], int]:
    """Tells from a request's sampling the most tokens that one answer's models may write.

    Those of every node of an architecture, where no draw stops early; of a plain model the longest
    text. Scored choices and prompts, which are read and not written, do not count.
    """

    def bound(sampling: SamplingParams) -> int:
        if isinstance(lm, ArchitectureLM):
            return round(estimate(lm.architecture, asked=sampling).worst.completion_tokens)
        base = DEFAULT_SAMPLING
        if isinstance(lm, LazyLM) and lm.card.sampling is not None:
            base = lm.card.sampling.params().over(base)
        return sampling.over(base).max_tokens or 0

    return lru_cache(_MAX_KEPT)(bound)  # clients choose the sampling
