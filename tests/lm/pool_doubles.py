"""Samples for tests of the pool's file."""

from __future__ import annotations

import random

from archon.lm.pool.store import NewSample, StoredSample
from archon.types import Completion, Usage

LARGE = 1 << 40


def completion(draw: int, text: str = "a text") -> Completion:
    return Completion(text, draw, "stop", Usage(completion_tokens=2, calls=1), {"p": 3})


def new(number: int, text: str = "a text", model: str = "m", origin: str = "o") -> NewSample:
    return NewSample(
        number.to_bytes(16, "big"), model, StoredSample(completion(number, text), origin)
    )


def noise(number: int, length: int = 1000) -> str:
    """A text that does not compress well."""
    return random.Random(number).randbytes(length).hex()
