"""The constraint protocols; ``archon.lm.local.constraint`` implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from archon.errors import EngineError


class ConstraintError(EngineError):
    """No text satisfies the constraint, or it has become too complex."""


class Matcher(Protocol):
    """Follows one sample token by token and returns the tokens that may come next.

    Raises
    ------
    ConstraintError
        The constraint cannot be satisfied; from any of its members.
    """

    @property
    def finished(self) -> bool:
        """Whether the text ends here: nothing can follow."""
        ...

    def forced(self) -> Sequence[int]:
        """The tokens that must follow now; none if there is a choice."""
        ...

    def allowed(self) -> Tensor | None:
        """The tokens that may follow if none is forced; None allows all.

        One bit per token of the vocabulary: int32, (⌈V / 32⌉,), lowest bit first.
        """
        ...

    def advance(self, token: int) -> None:
        """Take the next token. After an end of sequence, ``finished`` is whether the text may end.
        If not, that token is no part of it, and others are forced."""
        ...


class TokenConstraint(Protocol):
    """A constraint on every sample of a request."""

    @property
    def key(self) -> str:
        """Identifies the constraint in the sample key; "" if it does not change the noise."""
        ...

    def matcher(self, index: int, max_tokens: int) -> Matcher:
        """Follow the sample of this index, of at most ``max_tokens``, from its start."""
        ...


def without_others(logits_V: Tensor, mask: Tensor) -> Tensor:
    """Copy a row of logits; tokens that are not allowed become -∞.

    Parameters
    ----------
    mask
        The allowed tokens (``Matcher.allowed``).
    """
    forbidden = np.unpackbits(~mask.numpy().view(np.uint8), bitorder="little")
    forbidden_V = torch.from_numpy(forbidden[: len(logits_V)]).view(torch.bool)
    return logits_V.masked_fill(forbidden_V.to(logits_V.device), -torch.inf)
