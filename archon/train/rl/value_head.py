"""PPO's value head, which predicts the expected return from the decoder's last hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Two layers with tanh that map the hidden state before each token to a value: (N, E) → (N,).

    No gradient flows into the decoder. Learning values therefore does not disturb the policy, and
    the hidden states are computed only once. Initially, all values are 0.
    """

    def __init__(self, width: int, seed: int = 0) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.hidden.weight.normal_(std=width**-0.5, generator=generator)
            self.hidden.bias.zero_()
            self.out.weight.zero_()
            self.out.bias.zero_()

    def forward(self, hidden_NE: Tensor) -> Tensor:
        """Return the expected return, the sum of rewards from each token to the end, (N,)."""
        return self.out(self.hidden(hidden_NE).tanh()).squeeze(-1)
