"""Protocols for constraints on samples; ``archon.lm.local.constraint`` implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from archon.errors import EngineError


class ConstraintError(EngineError):
    """No continuation satisfies the constraint, or matching it has become too complex."""


class Matcher(Protocol):
    """State of one constrained sample: it reads tokens and determines which tokens may follow.

    Raises
    ------
    ConstraintError
        Any member raises it if no continuation satisfies the constraint.
    """

    @property
    def finished(self) -> bool:
        """True if the text is complete and no token may follow."""
        ...

    def forced(self) -> Sequence[int]:
        """Return the next tokens if only they can follow; an empty result if there is a choice."""
        ...

    def allowed(self) -> Tensor | None:
        """Return a mask of the tokens that may follow if none is forced; None allows all tokens.

        The mask has one bit per token of the vocabulary: int32, (⌈V / 32⌉,), lowest bit first.
        """
        ...

    def advance(self, token: int) -> None:
        """Read the next token.

        After a stop token, ``finished`` is True if the text may end there. Otherwise, the stop
        token is dropped and other tokens are forced.
        """
        ...


class TokenConstraint(Protocol):
    """Constraint on every sample of a request."""

    @property
    def key(self) -> str:
        """Identifier of the constraint in sample keys; "" if it must not change the sample keys."""
        ...

    def matcher(self, index: int, max_tokens: int) -> Matcher:
        """Return a matcher for the sample ``index``, before its first token."""
        ...


def mask_logits(logits_V: Tensor, mask: Tensor) -> Tensor:
    """Return a row of logits with −∞ for every token that is not allowed.

    Parameters
    ----------
    mask
        Bit mask of the allowed tokens, as returned by ``Matcher.allowed``. Tokens beyond it are not
        allowed.
    """
    bits = np.unpackbits(~mask.numpy().view(np.uint8), bitorder="little")[: len(logits_V)]
    # A model may have more embeddings than its tokenizer has tokens.
    forbidden = np.pad(bits, (0, len(logits_V) - len(bits)), constant_values=1)
    forbidden_V = torch.from_numpy(forbidden).view(torch.bool)
    return logits_V.masked_fill(forbidden_V.to(logits_V.device), -torch.inf)
