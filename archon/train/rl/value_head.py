"""The critic of PPO: what reward is to be expected, read from the decoder's own last layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Two layers on the vector after which a token is drawn: (N, E) → (N,).

    It sees the vectors and changes nothing in them: learning to foretell rewards does not disturb
    the policy, and the decoder is computed once for both. It begins at 0 everywhere.
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
        """What is expected from each token on."""
        return self.out(self.hidden(hidden_NE).tanh()).squeeze(-1)
