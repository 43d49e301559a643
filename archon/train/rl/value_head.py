"""Value head of PPO: predicts the expected return from the decoder's last hidden state."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Two layers with tanh on the hidden state that a token is predicted from: (N, E) → (N,).

    No gradient flows into the decoder. So learning values does not disturb the policy, and the
    hidden states are computed only once. All initial values are 0.
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
        """Return the expected sum of rewards from each token on."""
        return self.out(self.hidden(hidden_NE).tanh()).squeeze(-1)
