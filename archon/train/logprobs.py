"""Compute log-probabilities and entropies of replies under a decoder's current weights.

Layers are computed in the configured number format, but the head is always computed in float32. In
bf16, a logit near 20 would be rounded to a multiple of 0.125, so the differences of
log-probabilities would have errors of this size. Training uses the exponential of such differences,
so it would train on rounding errors.

Shape suffixes: N tokens of all replies of a batch, C tokens of a chunk, E width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.spec.training import BaseTrainingSpec
from archon.train.decoder import TrainableDecoder
from archon.train.mixed_precision import autocast
from archon.train.packing import IGNORED, Packable, PackedBatch, make_batch, pack_once
from archon.train.splits import chunks

_CHUNK = 256
"""Number of tokens whose logits are in memory at the same time."""


class ReplyIds(Packable, Protocol):
    """Token ids of a prompt and of the reply to it."""

    @property
    def reply_ids(self) -> tuple[int, ...]: ...


_R = TypeVar("_R", bound=ReplyIds)


@dataclass(frozen=True, slots=True)
class ReplyLogprobs:
    """Log-probability, entropy and hidden state of each of the T tokens in one reply."""

    logprob_T: Tensor
    entropy_T: Tensor
    """Entropy of the model's distribution for each token, in nats."""
    hidden_TE: Tensor
    """Hidden state from which each token is predicted; E is 0 unless ``keeps_hidden`` is True."""


@dataclass(frozen=True)
class LogprobComputer:
    """Computes log-probabilities of replies, after packing the replies in rows."""

    model: TrainableDecoder
    spec: BaseTrainingSpec
    device: torch.device
    temperature: float = 1
    """Temperature at which the replies were sampled; the logits are divided by it."""
    keeps_hidden: bool = False
    """Whether the results of ``compute`` contain the hidden states, which a value head needs."""

    @torch.no_grad()
    def compute(self, replies: Sequence[_R]) -> dict[_R, ReplyLogprobs]:
        """Return each reply's log-probabilities under the current weights, without gradients."""
        found: dict[_R, ReplyLogprobs] = {}
        for batch_replies, batch in self.batches(replies):
            hidden_NE = self._hidden(batch)
            parts = [
                self._logprobs_and_entropies(*chunk) for chunk in self._chunks(hidden_NE, batch)
            ]
            logprob_N, entropy_N = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
            if not self.keeps_hidden:
                hidden_NE = hidden_NE.new_empty(len(hidden_NE), 0)
            sizes = [len(reply.reply_ids) for reply in batch_replies]
            of_reply = zip(
                *(t.split(sizes) for t in (logprob_N, entropy_N, hidden_NE)), strict=True
            )
            for reply, tensors in zip(batch_replies, of_reply, strict=True):
                found[reply] = ReplyLogprobs(*tensors)
        return found

    def batches(self, replies: Sequence[_R]) -> Iterator[tuple[list[_R], PackedBatch]]:
        """Yield batches of packed rows, each with its replies in token order.

        Replies to one prompt share rows, so that the prompt is computed once per row.
        """
        of_prompt: dict[tuple[int, ...], list[_R]] = {}
        for reply in replies:
            of_prompt.setdefault(reply.token_ids[: reply.num_given], []).append(reply)
        context = self.spec.context
        rows = [row for group in of_prompt.values() for row in pack_once(group, context)]
        rows.sort(key=lambda row: sum(len(reply.reply_ids) for reply in row))  # less padding
        for batch_rows in chunks(rows, self.spec.rows):
            batch = make_batch(batch_rows, context).to(self.device)
            yield [reply for row in batch_rows for reply in row], batch

    def logprobs(self, batch: PackedBatch) -> Tensor:
        """Return the log-probability of each token in a batch's replies, (N,), with gradients.

        The backward pass recomputes the logits one chunk at a time (gradient checkpointing: Chen et
        al. 2016, arXiv 1604.06174), so that they are never all in memory at the same time.
        """
        parts = self._chunks(self._hidden(batch), batch)
        return torch.cat([checkpoint(self._logprobs, *part, use_reentrant=False) for part in parts])

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """Return the hidden state from which each token of the replies is predicted: (N, E)."""
        with autocast(self.spec.dtype, self.device):
            hidden_BTE = self.model(batch.token_BT, batch.position_BT, batch.text_BT)
        return hidden_BTE[batch.target_BT != IGNORED]

    def _chunks(
        self, hidden_NE: Tensor, batch: PackedBatch
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield hidden states (C, E), the weight of the head (V, E) and target tokens (C,)."""
        weight_VE = self.model.lm_head.weight.to(hidden_NE.dtype)
        target_N = batch.target_BT[batch.target_BT != IGNORED]
        for hidden_CE, target_C in zip(
            hidden_NE.split(_CHUNK), target_N.split(_CHUNK), strict=True
        ):
            yield hidden_CE, weight_VE, target_C

    def _logits(self, hidden_CE: Tensor, weight_VE: Tensor) -> Tensor:
        logits_CV = functional.linear(hidden_CE, weight_VE)
        return logits_CV if self.temperature == 1 else logits_CV / self.temperature

    def _logprobs(self, hidden_CE: Tensor, weight_VE: Tensor, target_C: Tensor) -> Tensor:
        logits_CV = self._logits(hidden_CE, weight_VE)
        return -functional.cross_entropy(logits_CV, target_C, reduction="none")

    def _logprobs_and_entropies(
        self, hidden_CE: Tensor, weight_VE: Tensor, target_C: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each target's log-probability, and the entropy of its distribution, both (C,)."""
        logprob_CV = self._logits(hidden_CE, weight_VE).log_softmax(-1)
        entropy_C = -(logprob_CV.exp() * logprob_CV).sum(-1)
        return logprob_CV.gather(1, target_C[:, None])[:, 0], entropy_C
