"""The last lines that judges owe: the forms that ``archon.graph.parsing`` reads first.

A model with the capability ``constraint`` argues freely and is then held to one of these. The
default templates ask for the same lines in words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from archon.types import Constraint, FreeText

_MAX_RANKED = 64
"""Items that an order may have at most."""


def ranking_form(count: int) -> Constraint | None:
    """``Ranking: [2] > [1]``: each candidate once; None for more than an order may have."""
    if count > _MAX_RANKED:
        return None
    labels = tuple(f"[{number}]" for number in range(1, count + 1))
    return Constraint(order_of=labels, after=_free_text("Ranking:", " > ".join(labels)))


def _free_text(label: str, longest: str) -> FreeText:
    """Room for the label and the longest text that can follow it: a token has a byte at least."""
    return FreeText(label, room=len(f"\n{label} {longest}".encode()))


def _choice(label: str, choices: Sequence[str]) -> Constraint:
    return Constraint(
        regex="|".join(map(re.escape, choices)), after=_free_text(label, max(choices, key=len))
    )


VERDICT_FORM = _choice("Verdict:", ("correct", "incorrect"))
"""``Verdict: correct`` or ``Verdict: incorrect``."""

PREFERENCE_FORM = _choice("Better:", ("[1]", "[2]"))
"""``Better: [1]`` or ``Better: [2]``."""
