"""Sampling the next token from logits.

Rules apply in this order:

1. logit bias and penalties (``archon.engine.sampling.penalties``), also to greedy decoding;
2. temperature;
3. top-n-sigma (Tang et al. 2024, arXiv 2411.07641), which comes first in llama.cpp too. The
   temperature does not matter to it, since it scales the standard deviation as well;
4. top-k (Fan et al. 2018, arXiv 1805.04833);
5. top-p (Holtzman et al. 2019, arXiv 1904.09751);
6. min-p (Nguyen et al. 2024, arXiv 2407.01082);
7. locally typical sampling (Meister et al. 2022, arXiv 2202.00666), last as in transformers.

A truncation sees the renormalised probabilities of the tokens that the earlier ones have kept. The
remaining probabilities are renormalised and laid out as intervals of [0, 1), in descending order if
there is a truncation. A uniform number selects the token whose interval contains it (inverse
transform sampling).

This number, the *noise*, is a function of the sample's key
(``archon.engine.sampling.request.sample_key``) and the token's position. So the other sequences in
a batch can affect a sample only through the rounding of its logits.

The whole vocabulary is rarely sorted: the k largest logits are in the k blocks of the vocabulary
with the largest maxima.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, fields
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.sampling.penalties import Histories, penalized
from archon.types import LogitBias

_VOCABULARY_BLOCK = 32
_FIRST_CANDIDATES = 256
"""Number of likeliest tokens that are sorted first. It suffices for top-p on almost every row; for
the other rows, the whole vocabulary is sorted."""


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Parameters of sampling. The defaults decode greedily.

    ``sample.cpp`` has a struct with the same fields in the same order, except ``logit_bias``.
    """

    temperature: float = 0.0
    """0 selects the largest logit."""
    top_k: int = 0
    """0 keeps all tokens."""
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    logit_bias: LogitBias = ()

    @property
    def has_penalty(self) -> bool:
        """True if the rule depends on the tokens of prompt and sample."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )

    @property
    def key(self) -> str:
        """Identifier of the rule in sample keys.

        A field after the first four is included only if it differs from its default, so that
        stored samples keep their keys when a field is added.
        """
        shown = [
            f"{one.name}={value!r}"
            for index, one in enumerate(fields(self))
            if (value := getattr(self, one.name)) != one.default or index < 4
        ]
        return f"SamplingRule({', '.join(shown)})"


def uniform(key: bytes, position: int) -> float:
    """Return the noise, in [0, 1), for the token at ``position`` in the sample with this key."""
    digest = blake2b(struct.pack("<q", position), key=key, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def sample(
    logits: SequenceOf[Tensor],
    rules: SequenceOf[SamplingRule],
    noise: SequenceOf[float],
    histories: Histories | None = None,
) -> list[int]:
    """Sample one token per row.

    Parameters
    ----------
    logits
        Rows of shape (V,), float32.
    rules
        Rule of each row. Temperature 0 selects the largest logit, or the first of several equal
        logits.
    noise
        Uniform number in [0, 1) of each row.
    histories
        Tokens so far of each row whose rule has a penalty, else None; by default None for all rows.
    """
    logits_BV = as_matrix(logits)
    if any(rule.has_penalty or rule.logit_bias for rule in rules):
        logits_BV = penalized(logits_BV, rules, histories or [None] * len(rules))
    tokens_B = torch.empty(len(rules), dtype=torch.int64, device=logits_BV.device)
    rows_of: dict[SamplingRule, list[int]] = {}
    for row, rule in enumerate(rules):
        rows_of.setdefault(rule, []).append(row)
    for rule, rows in rows_of.items():
        chosen_BV = logits_BV if len(rows) == len(rules) else logits_BV[rows]
        if rule.temperature == 0:
            tokens_B[rows] = chosen_BV.argmax(dim=-1)
        else:
            noise_B = torch.tensor(
                [noise[row] for row in rows], dtype=torch.float64, device=logits_BV.device
            )
            tokens_B[rows] = _sample_by_rule(rule, chosen_BV, noise_B)
    return tokens_B.tolist()


def as_matrix(rows: SequenceOf[Tensor]) -> Tensor:
    """Return rows as one matrix, without a copy if they are equally spaced in memory."""
    first, row_bytes = rows[0], rows[0].numel() * rows[0].element_size()
    start = first.data_ptr()
    stride = rows[1].data_ptr() - start if len(rows) > 1 else row_bytes
    if stride >= row_bytes and all(r.data_ptr() == start + i * stride for i, r in enumerate(rows)):
        in_one_storage = rows[-1].untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if in_one_storage and stride % first.element_size() == 0:
            return first.as_strided((len(rows), len(first)), (stride // first.element_size(), 1))
    return torch.stack(list(rows))


def token_logprobs(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Return the log-probability of each row's token: (B,), in nats."""
    chosen_B = logits_BV.gather(1, tokens_B.unsqueeze(1)).squeeze(1)
    return chosen_B - logits_BV.logsumexp(dim=-1)


def top_logprobs(logits_BV: Tensor, count: int) -> list[tuple[tuple[int, float], ...]]:
    """Return the likeliest tokens of each row and their log-probabilities, likeliest first."""
    logits_BK, ids_BK = largest(logits_BV, min(count, logits_BV.shape[1]))
    logprobs_BK = logits_BK - logits_BV.logsumexp(dim=-1, keepdim=True)
    rows = zip(ids_BK.tolist(), logprobs_BK.tolist(), strict=True)
    return [tuple(zip(ids, logprobs, strict=True)) for ids, logprobs in rows]


def _sample_by_rule(rule: SamplingRule, logits_BV: Tensor, noise_B: Tensor) -> Tensor:
    V = logits_BV.shape[1]
    if rule.top_n_sigma > 0:
        logits_BV = _within_sigmas(rule.top_n_sigma, logits_BV)
    if 0 < rule.top_k < V:
        logits_BK, ids_BK = largest(logits_BV, rule.top_k)
        probs_BK = (logits_BK / rule.temperature).softmax(dim=-1)
        return _pick_id(rule, probs_BK, ids_BK, noise_B)
    if rule.top_p < 1 or rule.min_p > 0:
        return _sample_nucleus(rule, logits_BV, noise_B)
    if rule.typical_p < 1:
        return _sample_sorted(rule, logits_BV, noise_B)
    return _pick_of_many((logits_BV / rule.temperature).softmax(dim=-1), noise_B)


def _within_sigmas(n: float, logits_BV: Tensor) -> Tensor:
    """Set logits more than n standard deviations below the largest of their row to −∞.

    Tokens that a constraint or a bias of −∞ rules out have no part in the standard deviation.
    """
    finite_BV = logits_BV.double().masked_fill(logits_BV.isinf(), torch.nan)
    spread_BV = finite_BV - finite_BV.nanmean(dim=-1, keepdim=True)
    sigma_B1 = spread_BV.square().nanmean(dim=-1, keepdim=True).sqrt()
    bound_B1 = logits_BV.amax(dim=-1, keepdim=True) - n * sigma_B1
    return logits_BV.masked_fill(logits_BV < bound_B1, -torch.inf)


def _sample_nucleus(rule: SamplingRule, logits_BV: Tensor, noise_B: Tensor) -> Tensor:
    """Sample with top-p and min-p from the likeliest tokens only.

    Both rules keep only the likeliest tokens. If they may keep more tokens of a row than were
    sorted, the row is sampled again from the whole sorted vocabulary.
    """
    V = logits_BV.shape[1]
    logits_BK, ids_BK = largest(logits_BV, min(_FIRST_CANDIDATES, V))
    total_B1 = (logits_BV / rule.temperature).logsumexp(dim=-1, keepdim=True)
    probs_BK = (logits_BK / rule.temperature - total_B1).exp()
    tokens_B = _pick_id(rule, probs_BK, ids_BK, noise_B)
    enough_B = probs_BK.sum(-1) >= rule.top_p
    if rule.min_p > 0:
        enough_B |= probs_BK[:, -1] < rule.min_p * probs_BK[:, 0]
    if ids_BK.shape[1] < V and not bool(enough_B.all()):
        rows = (~enough_B).nonzero().squeeze(1)
        tokens_B[rows] = _sample_sorted(rule, logits_BV[rows], noise_B[rows])
    return tokens_B


def _sample_sorted(rule: SamplingRule, logits_BV: Tensor, noise_B: Tensor) -> Tensor:
    """Sample from the whole vocabulary, sorted."""
    probs_BV = (logits_BV / rule.temperature).softmax(dim=-1)
    sorted_BV, ids_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    return _pick_id(rule, sorted_BV, ids_BV, noise_B)


def _pick_id(rule: SamplingRule, probs_BK: Tensor, ids_BK: Tensor, noise_B: Tensor) -> Tensor:
    """Truncate probabilities, which are in descending order, and sample one token id per row."""
    picked_B = _pick(_truncate(rule, probs_BK), noise_B)
    return ids_BK.gather(1, picked_B.unsqueeze(1)).squeeze(1)


def _truncate(rule: SamplingRule, probs_BK: Tensor) -> Tensor:
    """Set the probabilities that top-p, min-p and typical sampling drop to 0.

    Parameters
    ----------
    probs_BK
        Probabilities in descending order.
    """
    if rule.top_p < 1:
        before_BK = probs_BK.cumsum(dim=-1) - probs_BK
        probs_BK = probs_BK * (before_BK < rule.top_p)
    if rule.min_p > 0:
        probs_BK = probs_BK * (probs_BK >= rule.min_p * probs_BK[:, :1])
    if rule.typical_p < 1:
        probs_BK = probs_BK * _is_typical(rule.typical_p, probs_BK)
    return probs_BK


def _is_typical(p: float, weights_BK: Tensor) -> Tensor:
    """Return True for the tokens whose information is closest to the entropy, up to a mass of p."""
    probs_BK = weights_BK.double() / weights_BK.sum(dim=-1, keepdim=True, dtype=torch.float64)
    information_BK = -probs_BK.log()
    entropy_B1 = (probs_BK * information_BK).nansum(dim=-1, keepdim=True)  # 0 · ∞ counts as 0
    order_BK = (information_BK - entropy_B1).abs().argsort(dim=-1, stable=True)
    ordered_BK = probs_BK.gather(1, order_BK)
    kept_BK = ordered_BK.cumsum(dim=-1) - ordered_BK < p
    return torch.empty_like(kept_BK).scatter_(1, order_BK, kept_BK)


def _pick(weights_BK: Tensor, noise_B: Tensor) -> Tensor:
    """Return the index whose share of its row's weights contains the row's noise: (B,)."""
    edges_BK = weights_BK.cumsum(dim=-1, dtype=torch.float64)
    at_B1 = noise_B.unsqueeze(1) * edges_BK[:, -1:]
    picked_B = torch.searchsorted(edges_BK, at_B1, right=True).squeeze(1)
    # Rounding can put the noise on the last edge: then pick the last index with a weight above 0.
    last_B = (edges_BK < edges_BK[:, -1:]).sum(dim=-1)
    return torch.minimum(picked_B, last_B)


def _pick_of_many(weights_BV: Tensor, noise_B: Tensor) -> Tensor:
    """Pick first a block of the vocabulary, then a token in it: (B,).

    This needs far fewer running sums than ``_pick`` over the whole vocabulary.
    """
    rows = torch.arange(len(noise_B), device=weights_BV.device)
    padding = -weights_BV.shape[1] % _VOCABULARY_BLOCK
    blocks_BJW = functional.pad(weights_BV, (0, padding)).unflatten(1, (-1, _VOCABULARY_BLOCK))
    sums_BJ = blocks_BJW.sum(dim=-1, dtype=torch.float64)
    block_B = _pick(sums_BJ, noise_B)
    edges_BJ = sums_BJ.cumsum(dim=-1)
    sum_B = sums_BJ[rows, block_B]
    inside_B = noise_B * edges_BJ[:, -1] - (edges_BJ[rows, block_B] - sum_B)
    within_B = _pick(blocks_BJW[rows, block_B], (inside_B / sum_B).clamp(0, 1))
    return block_B * _VOCABULARY_BLOCK + within_B


def largest(logits_BV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest logits of each row, in descending order, and their ids: (B, K) each.

    The k-th largest logit is at least as large as the k-th largest maximum of a block, so all of
    the k largest are in the k blocks with the largest maxima.
    """
    B, V = logits_BV.shape
    num_blocks = V // _VOCABULARY_BLOCK
    if k >= num_blocks:
        return logits_BV.topk(k, dim=-1)
    in_blocks = num_blocks * _VOCABULARY_BLOCK
    blocks_BJW = logits_BV[:, :in_blocks].view(B, num_blocks, _VOCABULARY_BLOCK)
    best_BK = blocks_BJW.amax(dim=-1).topk(k, dim=-1, sorted=False).indices
    block_BKW = blocks_BJW.gather(1, best_BK.unsqueeze(-1).expand(-1, -1, _VOCABULARY_BLOCK))
    offset_W = torch.arange(_VOCABULARY_BLOCK, device=logits_BV.device)
    ids_BC = (best_BK.unsqueeze(-1) * _VOCABULARY_BLOCK + offset_W).flatten(1)
    rest = torch.arange(in_blocks, V, device=logits_BV.device).expand(B, -1)
    candidates_BC = torch.cat([block_BKW.flatten(1), logits_BV[:, in_blocks:]], dim=1)
    values_BK, at_BK = candidates_BC.topk(k, dim=-1)
    return values_BK, torch.cat([ids_BC, rest], dim=1).gather(1, at_BK)
