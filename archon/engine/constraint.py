"""What the engine asks of a form that a text must have; ``archon.lm.local.constraint`` has some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Matcher(Protocol):
    """Follows one draw token by token, and says what may come next.

    Raises
    ------
    EngineError : the form has become too complex to follow; from any of its members.
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
        """Names the form: draws depend on it."""
        ...

    def matcher(self, index: int, max_tokens: int) -> Matcher:
        """Follows the request's draw of this number, of so many tokens at most, from its start."""
        ...


def forbid_others(logits_BV: Tensor, masks: Sequence[Tensor | None]) -> None:
    """Set logits to -∞, in place, where a row's mask does not allow the token.

    Parameters
    ----------
    masks : for each row, the tokens that it allows (``Matcher.allowed``).
    """
    # Row by row: a row and its mask stay in the processor's cache, all of them together do not.
    for logits_V, mask in zip(logits_BV, masks, strict=True):
        if mask is not None:
            forbidden = np.unpackbits(~mask.numpy().view(np.uint8), bitorder="little")
            forbidden_V = torch.from_numpy(forbidden[: len(logits_V)]).view(torch.bool)
            logits_V.masked_fill_(forbidden_V.to(logits_V.device), -torch.inf)
