"""A decoder that counts what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.span import Span


class CountingDecoder:
    """Another decoder, and how many tokens and rows of logits it has computed."""

    def __init__(self, decoder: SpanDecoder) -> None:
        self._decoder, self.num_tokens, self.num_logits = decoder, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def __call__(self, spans: Sequence[Span], cache: Any) -> Tensor:
        self.num_tokens += sum(len(span.token_ids) for span in spans)
        self.num_logits += sum(span.num_logits for span in spans)
        return self._decoder(spans, cache)
