"""Scaled dot-product attention over keys in several places.

A token attends to itself and all tokens before it. Their keys are in up to three *parts*: cache
blocks that it shares with other sequences (such as the common prompt of n samples), cache blocks
that only its sequence uses, and the tokens of its span in the same step. Attention over each part
gives an output and the log-sum-exp of the scores. The parts are merged exactly: a softmax over all
keys is the mean of the softmaxes over the parts, weighted by the parts' shares of the sum of
exponentials:

    out = Σ_p exp(lse_p − lse) · out_p,    lse = log Σ_p exp(lse_p)

(Milakov & Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135.)

The boundaries between the parts depend only on the sequence itself, not on the other sequences in
the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import KVCache
from archon.engine.cache.layout import LayerPlace
from archon.engine.model import cuda_attention

_EMPTY_LSE = -1e30
"""Log-sum-exp of no scores. It is finite so that merging two empty parts is not inf − inf."""


@dataclass(frozen=True, slots=True)
class CachedPart:
    """B groups of tokens; the tokens of a group attend to the same cached keys.

    All groups are padded to R rows and K blocks, so that one call computes them together.
    """

    token_M: Tensor
    """Indices, within the step, of the tokens that attend to this part."""
    row_M: Tensor
    """Their indices in the padded (B, R), flattened."""
    query_BR: Tensor
    """Index of the token in each padded row; padding is token 0."""
    blocks_SBK: Tensor
    """Cache blocks of each group, for each of the S blocks of an entry; padding is block 0."""
    mask_BTL: Tensor | None
    """0 for a key, −inf for padding and for keys that a row does not attend to, in the cache's
    dtype; None if there are none. T is R, or 1 if all rows of a group have the same keys."""
    absent_M: Tensor | None = None
    """True for tokens of ``token_M`` that do not attend to this part
    (``archon.engine.cuda.padding``); None if all do."""


@dataclass(frozen=True, slots=True)
class FreshPart:
    """Consecutive tokens of one sequence in a step; they attend causally to each other."""

    start: int
    stop: int
    window: int | None = None
    """Most recent tokens that each attends to, itself included; None for all."""

    def mask(self, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """Return −inf for keys outside of each token's window, (T, T); None if all are inside."""
        T = self.stop - self.start
        if self.window is None or self.window >= T:
            return None
        mask_TL = torch.full((T, T), -math.inf, dtype=dtype, device=device)
        return mask_TL.triu(1) + mask_TL.tril(-self.window)


@dataclass(frozen=True, slots=True)
class Scores:
    """Rule that turns the product of a query and a key into a score."""

    scale: float | None = None
    """Factor; None for 1 / √D."""
    softcap: float = 0.0
    """Bound c of the scores, c · tanh(score / c); 0 for none."""


_PLAIN = Scores()


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """The parts of attention in one step. Every token attends to at least one part."""

    cached: tuple[CachedPart, ...]
    fresh: tuple[FreshPart, ...]


def attend(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    cache: KVCache,
    place: LayerPlace,
    plan: AttentionPlan,
    scores: Scores = _PLAIN,
) -> Tensor:
    """Compute the attention of every token of a step: (N, H, D), float32.

    Parameters
    ----------
    place
        Where the layer's keys and values are; ``plan`` is that of its group.
    k_NGD, v_NGD
        Keys and values of the step's tokens. The caller has written them to the cache, too.
    """
    N, H, _ = q_NHD.shape
    q_NHD = q_NHD.to(cache.dtype)
    out_NHD = torch.zeros_like(q_NHD, dtype=torch.float32)
    lse_NH = torch.full((N, H), _EMPTY_LSE, device=q_NHD.device)
    for fresh in plan.fresh:
        rows = slice(fresh.start, fresh.stop)
        mask_TL = fresh.mask(q_NHD.device, cache.dtype)
        out_HTD, lse_HT = partial_attention(
            *(x[rows].to(cache.dtype).transpose(0, 1).unsqueeze(0) for x in (q_NHD, k_NGD, v_NGD)),
            mask_BTL=None if mask_TL is None else mask_TL.unsqueeze(0),
            causal=mask_TL is None,
            scores=scores,
        )
        out_NHD[rows], lse_NH[rows] = out_HTD[0].transpose(0, 1).float(), lse_HT[0].t()
    for part in plan.cached:
        _merge(out_NHD, lse_NH, part.token_M, *_attend_cached(q_NHD, cache, place, part, scores))
    return out_NHD


def _attend_cached(
    q_NHD: Tensor, cache: KVCache, place: LayerPlace, part: CachedPart, scores: Scores
) -> tuple[Tensor, Tensor]:
    """Return output (M, H, D) and log-sum-exp (M, H) of a part's tokens."""
    (B, R), (_, H, D) = part.query_BR.shape, q_NHD.shape
    k_BGLD, v_BGLD = cache.gather(place.row, part.blocks_SBK[place.member])
    G, mask_BTL = k_BGLD.shape[1], part.mask_BTL
    # The H / G query heads that share a key-value head become additional rows.
    q_BGRD = q_NHD[part.query_BR].view(B, R, G, H // G, D).transpose(1, 2).reshape(B, G, -1, D)
    if mask_BTL is not None and mask_BTL.shape[1] > 1:
        mask_BTL = mask_BTL.repeat_interleave(H // G, dim=1)
    out_BGRD, lse_BGR = partial_attention(q_BGRD, k_BGLD, v_BGLD, mask_BTL=mask_BTL, scores=scores)
    out_BRHD = out_BGRD.view(B, G, R, H // G, D).transpose(1, 2).reshape(B * R, H, D)
    lse_BRH = lse_BGR.view(B, G, R, H // G).transpose(1, 2).reshape(B * R, H)
    lse_MH = lse_BRH[part.row_M]
    if part.absent_M is not None:
        lse_MH = lse_MH.masked_fill(part.absent_M.unsqueeze(1), -math.inf)
    return out_BRHD[part.row_M].float(), lse_MH


def _merge(
    out_NHD: Tensor, lse_NH: Tensor, token_M: Tensor, out_MHD: Tensor, lse_MH: Tensor
) -> None:
    """Merge the result of one part into the running result, in place."""
    before_MH = lse_NH[token_M]
    total_MH = torch.logaddexp(before_MH, lse_MH)
    old_share_MH1 = (before_MH - total_MH).exp_().unsqueeze(-1)
    new_share_MH1 = (lse_MH - total_MH).exp_().unsqueeze(-1)
    out_NHD[token_M] = out_NHD[token_M] * old_share_MH1 + out_MHD * new_share_MH1
    lse_NH[token_M] = total_MH


def partial_attention(
    q_BHTD: Tensor,
    k_BGLD: Tensor,
    v_BGLD: Tensor,
    *,
    mask_BTL: Tensor | None = None,
    causal: bool = False,
    scores: Scores = _PLAIN,
) -> tuple[Tensor, Tensor]:
    """Compute softmax(scale · q·kᵀ + mask)·v, and the log-sum-exp of the scores.

    Parameters
    ----------
    q_BHTD
        Queries; H is a multiple of G.
    k_BGLD, v_BGLD
        Keys and values, in the queries' dtype.
    mask_BTL
        Added to the scores, in the queries' dtype; T may be 1 for all queries.
    causal
        If True, token t attends only to keys 0 … t; T must equal L.

    Returns
    -------
    Output, (B, H, T, D) in the queries' dtype, and log-sum-exp, (B, H, T) in float32.
    """
    is_plain = scores.softcap > 0  # the fast kernels have no bound of scores
    if not is_plain and cuda_attention.supports(q_BHTD, mask_BTL):
        return cuda_attention.attention(
            q_BHTD, k_BGLD, v_BGLD, mask_BTL=mask_BTL, causal=causal, scale=scores.scale
        )
    if is_plain or q_BHTD.device.type != "cpu":
        return plain_attention(
            q_BHTD, k_BGLD, v_BGLD, mask_BTL=mask_BTL, causal=causal, scores=scores
        )
    B, H, T, _ = q_BHTD.shape
    mask = None if mask_BTL is None else mask_BTL[:, None].expand(B, H, T, -1)
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q_BHTD, k_BGLD, v_BGLD, is_causal=causal, attn_mask=mask, scale=scores.scale
    )
    return out, lse


def plain_attention(
    q_BHTD: Tensor,
    k_BGLD: Tensor,
    v_BGLD: Tensor,
    *,
    mask_BTL: Tensor | None = None,
    causal: bool = False,
    scores: Scores = _PLAIN,
) -> tuple[Tensor, Tensor]:
    """``partial_attention`` in plain torch: the reference for faster kernels."""
    repeats = q_BHTD.shape[1] // k_BGLD.shape[1]
    k_BHLD, v_BHLD = (x.repeat_interleave(repeats, dim=1).float() for x in (k_BGLD, v_BGLD))
    scores_BHTL = q_BHTD.float() @ k_BHLD.transpose(-1, -2)
    if scores.scale is None:
        scores_BHTL /= math.sqrt(q_BHTD.shape[-1])
    else:
        scores_BHTL *= scores.scale
    if scores.softcap:
        scores_BHTL = scores.softcap * torch.tanh(scores_BHTL / scores.softcap)
    if mask_BTL is not None:
        scores_BHTL = scores_BHTL + mask_BTL[:, None].float()
    if causal:
        later = torch.ones_like(scores_BHTL[0, 0], dtype=torch.bool).triu(1)
        scores_BHTL = scores_BHTL.masked_fill(later, -math.inf)
    out_BHTD = scores_BHTL.softmax(dim=-1) @ v_BHLD
    return out_BHTD.to(q_BHTD.dtype), scores_BHTL.logsumexp(dim=-1)
