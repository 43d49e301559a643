"""Masked language modelling, the pre-training task of encoders: predict masked tokens.

15% of the tokens are selected. Of these, 80% are replaced with the mask token, 10% are replaced
with a random token, and 10% are unchanged. So the encoder cannot use the mask token to recognise
the tokens that it must predict (Devlin et al. 2018, arXiv 1810.04805, section 3.1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.encoders.heads import MaskedLanguageModel

IGNORED = -100
"""Label of the tokens that are not selected, which the loss ignores."""


def mask_tokens(
    ids_BT: Tensor,
    may_mask_BT: Tensor,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Mask random tokens.

    Parameters
    ----------
    may_mask_BT
        True for tokens that may be selected, which are neither padding nor special tokens.
    share
        Probability with which each of these tokens is selected.

    Returns
    -------
    The encoder's input and the labels, (B, T) each. A label is the original token if it is
    selected, else ``IGNORED``.
    """
    selected_BT = (torch.rand(ids_BT.shape, generator=generator) < share) & may_mask_BT
    random_BT = torch.rand(ids_BT.shape, generator=generator)
    others_BT = torch.randint(vocab_size, ids_BT.shape, generator=generator)
    input_BT = torch.where(selected_BT & (random_BT < 0.8), mask_id, ids_BT)
    input_BT = torch.where(selected_BT & (random_BT >= 0.9), others_BT, input_BT)
    return input_BT, torch.where(selected_BT, ids_BT, IGNORED)


def masked_loss(
    model: MaskedLanguageModel, input_BT: Tensor, is_token_BT: Tensor, label_BT: Tensor
) -> Tensor:
    """Return the mean cross-entropy of the selected tokens, in nats; 0 if there are none."""
    logits_BTV = model(input_BT, is_token_BT)
    total = functional.cross_entropy(
        logits_BTV.flatten(0, 1), label_BT.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (label_BT != IGNORED).sum().clamp(min=1)
