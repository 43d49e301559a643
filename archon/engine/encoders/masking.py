"""Pre-training an encoder: guess the tokens that were hidden.

Of the tokens, 15 % are chosen. Of these, 80 % become the mask, 10 % another token, and 10 % stay,
so that the encoder cannot rely on seeing a mask where it will be asked (Devlin et al. 2018, arXiv
1810.04805, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.encoders.heads import MaskedLanguageModel

IGNORED = -100


def mask_tokens(
    ids_BT: Tensor,
    may_hide_BT: Tensor,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """What the encoder reads, and what it should guess (``IGNORED`` where it is not asked).

    Parameters
    ----------
    may_hide_BT
        Where tokens may be chosen: not padding, not special ones.
    """

    def dice() -> Tensor:
        return torch.rand(ids_BT.shape, generator=generator)

    chosen_BT = (dice() < share) & may_hide_BT
    fate_BT = dice()
    others_BT = torch.randint(vocab_size, ids_BT.shape, generator=generator)
    read_BT = torch.where(chosen_BT & (fate_BT < 0.8), mask_id, ids_BT)
    read_BT = torch.where(chosen_BT & (fate_BT >= 0.9), others_BT, read_BT)
    return read_BT, torch.where(chosen_BT, ids_BT, IGNORED)


def masked_loss(
    model: MaskedLanguageModel, read_BT: Tensor, is_token_BT: Tensor, wanted_BT: Tensor
) -> Tensor:
    """Mean cross-entropy of the hidden tokens: a scalar, in nats; 0 where none is hidden."""
    logits_BTV = model(read_BT, is_token_BT)
    total = functional.cross_entropy(
        logits_BTV.flatten(0, 1), wanted_BT.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (wanted_BT != IGNORED).sum().clamp(min=1)
