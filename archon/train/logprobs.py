"""Log-probabilities and entropies of replies under a decoder's current weights.

Layers are computed in the dtype that the configuration names, the head always in float32: a logit
of 20 in bf16 is a multiple of 0.125, and so would be the difference of two log-probabilities, whose
exponential is what is learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.spec.training import DType
from archon.train.decoder import TrainableDecoder
from archon.train.mixed_precision import autocast
from archon.train.packing import IGNORED, Packable, PackedBatch, make_batch, pack_once

_TOKENS_AT_ONCE = 256
"""Tokens whose logits are held: each has as many as the vocabulary."""


class RowSettings(Protocol):
    """What configurations say about rows of packed texts (``archon.spec.training``)."""

    context: int
    rows: int
    dtype: DType


class ReplyIds(Packable, Protocol):
    """Token ids of a prompt and the reply to it."""

    @property
    def reply_ids(self) -> tuple[int, ...]: ...


_R = TypeVar("_R", bound=ReplyIds)


@dataclass(frozen=True, slots=True)
class ReplyLogprobs:
    """Figures of the T tokens of one reply."""

    logprob_T: Tensor
    entropy_T: Tensor
    """Of the distribution that each was drawn from, in nats."""
    hidden_TE: Tensor
    """What each was drawn after; E is 0 where no value head reads it."""


@dataclass(frozen=True)
class LogprobReader:
    """Computes replies in packed rows."""

    model: TrainableDecoder
    settings: RowSettings
    device: torch.device
    temperature: float = 1
    """The temperature that the replies were sampled at."""
    keeps_hidden: bool = False
    """Whether readings have the vectors that a value head reads."""

    @torch.no_grad()
    def read(self, replies: Sequence[_R]) -> dict[_R, ReplyLogprobs]:
        """The figures of each reply under the current weights."""
        found: dict[_R, ReplyLogprobs] = {}
        for some, batch in self.batches(replies):
            hidden_NE = self._hidden(batch)
            chunks = [self._distribution(*chunk) for chunk in self._chunks(hidden_NE, batch)]
            logprob_N, entropy_N = (torch.cat(parts) for parts in zip(*chunks, strict=True))
            if not self.keeps_hidden:
                hidden_NE = hidden_NE.new_empty(len(hidden_NE), 0)
            sizes = [len(reply.reply_ids) for reply in some]
            parts = zip(*(t.split(sizes) for t in (logprob_N, entropy_N, hidden_NE)), strict=True)
            found |= {reply: ReplyLogprobs(*part) for reply, part in zip(some, parts, strict=True)}
        return found

    def batches(self, replies: Sequence[_R]) -> Iterator[tuple[list[_R], PackedBatch]]:
        """Batches of packed rows, each with its replies in the order of their tokens.

        Replies to one prompt share rows, so that the prompt is read once per row.
        """
        answering: dict[tuple[int, ...], list[_R]] = {}
        for reply in replies:
            prompt_ids = reply.token_ids[: reply.num_given]
            answering.setdefault(prompt_ids, []).append(reply)
        context, num_rows = self.settings.context, self.settings.rows
        rows = [row for group in answering.values() for row in pack_once(group, context)]
        rows.sort(key=lambda row: sum(len(reply.reply_ids) for reply in row))  # less padding
        for at in range(0, len(rows), num_rows):
            some = rows[at : at + num_rows]
            yield (
                [reply for row in some for reply in row],
                make_batch(some, context).to(self.device),
            )

    def logprobs(self, batch: PackedBatch) -> Tensor:
        """The log-probability of each token of a batch's replies, with gradients: (N,).

        Logits are computed once more for their gradients, so that never more than some tokens'
        are held (Chen et al. 2016, arXiv 1604.06174).
        """
        chunks = self._chunks(self._hidden(batch), batch)
        return torch.cat([checkpoint(self._logprobs, *c, use_reentrant=False) for c in chunks])

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """What each token of the replies is drawn after: (N, E)."""
        with autocast(self.settings.dtype, self.device):
            hidden_BTE = self.model(batch.token_BT, batch.position_BT, batch.text_BT)
        return hidden_BTE[batch.wanted_BT != IGNORED]

    def _chunks(
        self, hidden_NE: Tensor, batch: PackedBatch
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(C, E) of some tokens, the head's weight (V, E), the (C,) tokens that are wanted."""
        weight_VE = self.model.lm_head.weight.to(hidden_NE.dtype)
        wanted_N = batch.wanted_BT[batch.wanted_BT != IGNORED]
        for hidden_CE, wanted_C in zip(
            hidden_NE.split(_TOKENS_AT_ONCE), wanted_N.split(_TOKENS_AT_ONCE), strict=True
        ):
            yield hidden_CE, weight_VE, wanted_C

    def _logits(self, hidden_CE: Tensor, weight_VE: Tensor) -> Tensor:
        logits_CV = functional.linear(hidden_CE, weight_VE)
        return logits_CV if self.temperature == 1 else logits_CV / self.temperature

    def _logprobs(self, hidden_CE: Tensor, weight_VE: Tensor, wanted_C: Tensor) -> Tensor:
        logits_CV = self._logits(hidden_CE, weight_VE)
        return -functional.cross_entropy(logits_CV, wanted_C, reduction="none")

    def _distribution(
        self, hidden_CE: Tensor, weight_VE: Tensor, wanted_C: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of each wanted token its log-probability, and the entropy that it was drawn from."""
        logprob_CV = self._logits(hidden_CE, weight_VE).log_softmax(-1)
        entropy_C = -(logprob_CV.exp() * logprob_CV).sum(-1)
        return logprob_CV.gather(1, wanted_C[:, None])[:, 0], entropy_C
