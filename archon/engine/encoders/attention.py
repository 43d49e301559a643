"""Attention of many heads: a weighted mean of values, the weights by how well keys fit queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Heads(nn.Module):
    """The four projections of an attention layer.

    Queries and keys come from wherever the caller takes them: from the same text
    (self-attention), from another (cross-attention), or from a cache.
    """

    def __init__(self, width: int, num_heads: int, head_width: int, *, bias: bool) -> None:
        super().__init__()
        self.num_heads, self.head_width = num_heads, head_width
        inner = num_heads * head_width
        self.q = nn.Linear(width, inner, bias=bias)
        self.k = nn.Linear(width, inner, bias=bias)
        self.v = nn.Linear(width, inner, bias=bias)
        self.output = nn.Linear(inner, width, bias=bias)

    def queries(self, x_BTE: Tensor) -> Tensor:
        """(B, H, T, D)"""
        return self._split(self.q(x_BTE))

    def keys_and_values(self, x_BSE: Tensor) -> tuple[Tensor, Tensor]:
        """Each (B, H, S, D)."""
        return self._split(self.k(x_BSE)), self._split(self.v(x_BSE))

    def join(self, mixed_BHTD: Tensor) -> Tensor:
        """What the heads found, side by side and projected: (B, T, E)."""
        return self.output(mixed_BHTD.transpose(1, 2).flatten(2))

    def _split(self, x_BTI: Tensor) -> Tensor:
        return x_BTI.unflatten(-1, (self.num_heads, self.head_width)).transpose(1, 2)


def attend(
    q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, bias: Tensor, scale: float = 1.0
) -> Tensor:
    """softmax(scale · q kᵀ + bias) v (Vaswani et al. 2017, arXiv 1706.03762).

    Parameters
    ----------
    bias
        Added to the scores, of a shape that broadcasts to (B, H, T, S); −∞ hides a key.

    Returns
    -------
    (B, H, T, D)
    """
    scores_BHTS = scale * (q_BHTD @ k_BHSD.transpose(-1, -2)) + bias
    return scores_BHTS.softmax(dim=-1) @ v_BHSD


def padding_bias(is_token_BS: Tensor) -> Tensor:
    """Hides what is padding: (B, S) of bool → (B, 1, 1, S), 0 or the least number there is.

    Not −∞, so that a row of nothing but padding gives numbers, which nobody reads, and not NaN.
    """
    bias_BS = torch.zeros(is_token_BS.shape, device=is_token_BS.device)
    return bias_BS.masked_fill(~is_token_BS, torch.finfo(bias_BS.dtype).min)[:, None, None, :]


def causal_bias(num_tokens: int, device: torch.device) -> Tensor:
    """Hides from each token what comes after it: (T, T), 0 on and below the diagonal, else −∞."""
    hidden = torch.full((num_tokens, num_tokens), -torch.inf, device=device)
    return hidden.triu(diagonal=1)
