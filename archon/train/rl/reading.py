"""What a decoder makes of replies with its weights as they are: likelihoods and entropies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archon.train.decoder import TrainableDecoder
from archon.train.packing import IGNORED, PackedBatch, make_batch, pack
from archon.train.rl.questions import RLSpec
from archon.train.rl.rollouts import Rollout

_TOKENS_AT_ONCE = 256


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
    """Computes replies in packed rows, in the numbers that training is done in."""

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
            hidden_NE, logits_NV = self.logits(batch)
            if not self.keeps_hidden:
                hidden_NE = hidden_NE.new_empty(len(hidden_NE), 0)
            logprob_N, entropy_N = _likelihoods(logits_NV, batch.wanted_BT)
            sizes = [len(rollout.reply_ids) for rollout in some]
            parts = zip(*(t.split(sizes) for t in (logprob_N, entropy_N, hidden_NE)), strict=True)
            found |= {rollout: Reading(*part) for rollout, part in zip(some, parts, strict=True)}
        return found

    def batches(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[list[Rollout], PackedBatch]]:
        """Packed rows, so many at once, and whose tokens lie in them one behind the other."""
        rows = list(pack(iter(rollouts), self.spec.context))
        for at in range(0, len(rows), self.spec.rows):
            some = rows[at : at + self.spec.rows]
            batch = make_batch(some, self.spec.context).to(self.device)
            yield [rollout for row in some for rollout in row], batch

    def logits(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(N, E) and (N, V) of the replies' tokens, at the temperature of the draws."""
        in_bf16 = self.spec.dtype == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=in_bf16):
            hidden_BTE = self.model(batch.token_BT, batch.position_BT, batch.text_BT)
            hidden_NE = hidden_BTE[batch.wanted_BT != IGNORED]
            logits_NV = self.model.logits(hidden_NE)
        wide = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        return hidden_NE, wide / self.spec.temperature


def _likelihoods(logits_NV: Tensor, wanted_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Of each wanted token its log-probability, and the entropy that it was drawn from: (N,).

    Some tokens at a time, as everything here is as wide as the vocabulary.
    """
    wanted_N = wanted_BT[wanted_BT != IGNORED]
    logprobs, entropies = [], []
    for logits_CV, wanted_C in zip(
        logits_NV.split(_TOKENS_AT_ONCE), wanted_N.split(_TOKENS_AT_ONCE), strict=True
    ):
        logprob_CV = logits_CV.log_softmax(-1)
        logprobs.append(logprob_CV.gather(1, wanted_C[:, None])[:, 0])
        entropies.append(-(logprob_CV.exp() * logprob_CV).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)
