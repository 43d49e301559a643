"""A span: consecutive tokens of one text that one step computes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one text, to be computed in one step."""

    token_ids: Sequence[int]
    """One for a sequence that decodes; several for a chunk of a prompt or for recomputation."""
    start: int
    """Position of the first token; the cache holds the keys and values of all positions before."""
    blocks: array[int]
    """Block table, ``array("i")``; covers at least the span's own positions and all before."""
    num_shared_blocks: int
    """Leading blocks that hold whole blocks of its prompt (a function of its own prompt alone)."""
    num_logits: int
    """How many of the last tokens need logits."""
    adapter: str = ""
    """Digest of the adapter that its tokens are computed with; "" for none."""
    hidden_E: Tensor | None = None
    """Receives the last layer's normalised output for the last token, in float32 and in the basis
    of the decoder's own weights; None if not needed."""

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.start + len(self.token_ids)
