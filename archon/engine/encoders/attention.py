"""Multi-head attention: means of values, weighted by the similarity of keys and queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Heads(nn.Module):
    """The four projections of a multi-head attention layer.

    The caller chooses the source of the keys and values: the same text as that of the queries
    (self-attention), another text (cross-attention), or a cache.
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
        """Project (B, T, E) → (B, H, T, D)."""
        return self._split(self.q(x_BTE))

    def keys_and_values(self, x_BSE: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, S, E) → (B, H, S, D) each."""
        return self._split(self.k(x_BSE)), self._split(self.v(x_BSE))

    def join(self, out_BHTD: Tensor) -> Tensor:
        """Concatenate and project the outputs of the heads: (B, H, T, D) → (B, T, E)."""
        return self.output(out_BHTD.transpose(1, 2).flatten(2))

    def _split(self, x_BTI: Tensor) -> Tensor:
        return x_BTI.unflatten(-1, (self.num_heads, self.head_width)).transpose(1, 2)


def attend(
    q_BHTD: Tensor, k_BHSD: Tensor, v_BHSD: Tensor, bias: Tensor, scale: float = 1.0
) -> Tensor:
    """Compute softmax(scale · q·kᵀ + bias)·v (Vaswani et al. 2017, arXiv 1706.03762).

    Parameters
    ----------
    bias
        Added to the scores; its shape broadcasts to (B, H, T, S). −∞ masks a key.

    Returns
    -------
    (B, H, T, D)
    """
    scores_BHTS = scale * (q_BHTD @ k_BHSD.transpose(-1, -2)) + bias
    return scores_BHTS.softmax(dim=-1) @ v_BHSD


def padding_bias(is_token_BS: Tensor) -> Tensor:
    """Return a bias, (B, 1, 1, S): the lowest finite float32 for padding, 0 for tokens.

    With −∞, the attention of a row of only padding would be NaN.

    Parameters
    ----------
    is_token_BS
        True for tokens, False for padding.
    """
    bias_BS = torch.zeros(is_token_BS.shape, device=is_token_BS.device)
    return bias_BS.masked_fill(~is_token_BS, torch.finfo(bias_BS.dtype).min)[:, None, None, :]


def causal_bias(num_tokens: int, device: torch.device) -> Tensor:
    """Return a bias, (T, T), that masks all later tokens: −∞ above the diagonal, else 0."""
    hidden = torch.full((num_tokens, num_tokens), -torch.inf, device=device)
    return hidden.triu(diagonal=1)
