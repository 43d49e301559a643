"""What the engine asks of a form that a text must have; ``archon.lm.local.constraint`` has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from archon.errors import EngineError


class ConstraintError(EngineError):
    """No text follows the form any further, or it has become too complex."""


class Matcher(Protocol):
    """Follows one draw token by token, and says what may come next.

    Raises
    ------
    ConstraintError : the form cannot be followed further; from any of its members.
    """

    @property
    def finished(self) -> bool:
        """Nothing can follow any more: the text ends here."""
        ...

    def forced(self) -> Sequence[int]:
        """The tokens that must follow now; none where there is a choice."""
        ...

    def allowed(self) -> Tensor | None:
        """The tokens that may follow, where none is forced; None allows all.

        A bit for each token of the vocabulary, int32, (⌈V / 32⌉,), the lowest bit first.
        """
        ...

    def advance(self, token: int) -> None:
        """Take the token that follows. After an end of sequence, ``finished`` tells whether the
        text may end: where it may not, that token is no part of it, and others are forced."""
        ...


class TokenConstraint(Protocol):
    """A form for every draw of a request."""

    @property
    def key(self) -> str:
        """Names the form: draws depend on it. Empty for one that does not change the noise."""
        ...

    def matcher(self, index: int, max_tokens: int) -> Matcher:
        """Follows the request's draw of this number, of so many tokens at most, from its start."""
        ...


def without_others(logits_V: Tensor, mask: Tensor) -> Tensor:
    """A copy of a row of logits in which the tokens that are not allowed have -∞.

    Parameters
    ----------
    mask : the tokens that are (``Matcher.allowed``).
    """
    forbidden = np.unpackbits(~mask.numpy().view(np.uint8), bitorder="little")
    forbidden_V = torch.from_numpy(forbidden[: len(logits_V)]).view(torch.bool)
    return logits_V.masked_fill(forbidden_V.to(logits_V.device), -torch.inf)
