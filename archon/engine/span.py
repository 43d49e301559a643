"""Spans: consecutive tokens of one prompt or sequence that one step computes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one prompt or sequence, to be computed in one step."""

    token_ids: Sequence[int]
    """One token if a sequence is decoding; several if a prompt or a sequence is (re)computed."""
    start: int
    """Position of the first token; keys and values of all earlier positions are in the cache."""
    tables: tuple[array[int], ...]
    """Block table of each layer group (``archon.engine.cache.layout``), ``array("i")``: at least
    the entries of the span and of all earlier positions. Entries that the group's window has passed
    may name blocks of other texts."""
    num_shared_entries: int
    """Number of leading entries of each table that contain only prompt tokens, which all samples of
    the prompt share. It does not depend on other prompts.
    """
    num_logits: int
    """Number of tokens at the end of the span that need logits."""
    adapter: str = ""
    """Digest of the adapter to compute with; "" for none."""
    is_long: bool = False
    """True if the text is longer than ``Rope.long_after``."""
    hidden_E: Tensor | None = None
    """Tensor to which the step writes the last layer's normalised output for the last token, in
    float32 and in the basis of the decoder's weights; None if it is not needed."""

    @property
    def stop(self) -> int:
        """Position after the last token."""
        return self.start + len(self.token_ids)
