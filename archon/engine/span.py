"""A span: consecutive tokens of one text that one step computes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one prompt or sequence, to be computed in one step."""

    token_ids: Sequence[int]
    """One token of a decoding sequence; several of a prompt or of a recomputed sequence."""
    start: int
    """Position of the first token; keys and values of all earlier positions are in the cache."""
    blocks: array[int]
    """Block table, ``array("i")``: at least the blocks of the span and of all earlier positions."""
    num_shared_blocks: int
    """Leading blocks that are full blocks of the prompt. They depend on this prompt alone, not on
    other prompts."""
    num_logits: int
    """Number of last tokens that need logits."""
    adapter: str = ""
    """Digest of the adapter to compute with; "" for none."""
    is_long: bool = False
    """True if the text is longer than ``Rope.long_after``."""
    hidden_E: Tensor | None = None
    """Receives the last layer's normalised output for the last token, in float32 and in the basis
    of the decoder's weights; None if not needed."""

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.start + len(self.token_ids)
