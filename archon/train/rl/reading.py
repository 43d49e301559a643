"""What a decoder makes of replies with its weights as they are: likelihoods and entropies.

Layers are computed in the numbers that the configuration names, the head always in float32: a
logit of 20 in bf16 is a multiple of 0.125, and so would be the difference of two likelihoods, whose
exponential is what is learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.train.decoder import TrainableDecoder
from archon.train.packing import IGNORED, PackedBatch, make_batch, pack_once
from archon.train.precision import autocast
from archon.train.rl.questions import RLSpec
from archon.train.rl.rollouts import Rollout

_TOKENS_AT_ONCE = 256
"""Tokens whose logits are held: each has as many as the vocabulary."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What weights made of the T tokens of one reply."""

    logprob_T: Tensor
    entropy_T: Tensor
    """Of the distribution that each was drawn from, in nats."""
    hidden_TE: Tensor
    """What each was drawn after; E is 0 where no value head reads it."""


@dataclass(frozen=True)
class Reader:
    """Computes replies in packed rows, at the temperature that they were drawn at."""

    model: TrainableDecoder
    spec: RLSpec
    device: torch.device
    keeps_hidden: bool
    """Whether readings have the vectors that a value head reads."""

    @torch.no_grad()
    def read(self, rollouts: Sequence[Rollout]) -> dict[Rollout, Reading]:
        """What the weights, as they are now, make of each reply."""
        found: dict[Rollout, Reading] = {}
        for some, batch in self.batches(rollouts):
            hidden_NE = self._hidden(batch)
            chunks = [self._distribution(*chunk) for chunk in self._chunks(hidden_NE, batch)]
            logprob_N, entropy_N = (torch.cat(parts) for parts in zip(*chunks, strict=True))
            if not self.keeps_hidden:
                hidden_NE = hidden_NE.new_empty(len(hidden_NE), 0)
            sizes = [len(rollout.reply_ids) for rollout in some]
            parts = zip(*(t.split(sizes) for t in (logprob_N, entropy_N, hidden_NE)), strict=True)
            found |= {rollout: Reading(*part) for rollout, part in zip(some, parts, strict=True)}
        return found

    def batches(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[list[Rollout], PackedBatch]]:
        """Packed rows, so many at once, and whose tokens lie in them one behind the other.

        Replies to one prompt lie together: it is read once a row.
        """
        answering: dict[tuple[int, ...], list[Rollout]] = {}
        for rollout in rollouts:
            prompt_ids = rollout.token_ids[: rollout.num_given]
            answering.setdefault(prompt_ids, []).append(rollout)
        rows = [row for group in answering.values() for row in pack_once(group, self.spec.context)]
        rows.sort(key=lambda row: sum(len(rollout.reply_ids) for rollout in row))  # less padding
        for at in range(0, len(rows), self.spec.rows):
            some = rows[at : at + self.spec.rows]
            batch = make_batch(some, self.spec.context).to(self.device)
            yield [rollout for row in some for rollout in row], batch

    def logprobs(self, batch: PackedBatch) -> Tensor:
        """The log-probability of each token of a batch's replies, with gradients: (N,).

        Logits are computed once more for their gradients, so that never more than some tokens'
        are held (Chen et al. 2016, arXiv 1604.06174).
        """
        chunks = self._chunks(self._hidden(batch), batch)
        return torch.cat([checkpoint(self._logprobs, *c, use_reentrant=False) for c in chunks])

    def _hidden(self, batch: PackedBatch) -> Tensor:
        """What each token of the replies is drawn after: (N, E)."""
        with autocast(self.spec.dtype, self.device):
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
        temperature = self.spec.temperature
        return logits_CV if temperature == 1 else logits_CV / temperature

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
