"""What names a prompt, and the number that a draw is made from."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from archon.types import Message


def prompt_digest(model: str, messages: Sequence[Message]) -> str:
    """The name of a prompt read by a model of which only the text is known: 32 hex digits."""
    parts = [model]
    for message in messages:
        parts += (message.role, message.content)
    # Lengths keep two splits of one text apart.
    text = f"{list(map(len, parts))}{''.join(parts)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def draw_number(prompt: str, seed: int, draw: int, *, bits: int) -> int:
    """A number below 2 ** ``bits`` (64 at most) that depends on all three and nothing else."""
    digest = blake2b(f"{prompt}/{seed}/{draw}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)
