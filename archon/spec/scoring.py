"""Keys of a benchmark card that choose the scorers and the groups of its report."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, JsonValue

from archon.spec.common import Name
from archon.spec.messages import shown

MAX_SCORERS = 16
MAX_GROUPINGS = 8

ScorerChoice = str | dict[str, JsonValue]
"""A scorer's name, or an object with its name and its parameters.

``{"name": "number-close", "relative": 0.01}``
"""


def _check_scorers(value: Any) -> Any:
    choices = value if isinstance(value, list) else [value]
    if not 1 <= len(choices) <= MAX_SCORERS:
        raise ValueError(f"give 1 to {MAX_SCORERS} scorers, not {len(choices)}")
    for choice in choices:
        name = choice.get("name") if isinstance(choice, dict) else choice
        if not isinstance(name, str) or not 1 <= len(name) <= 10_000:
            raise ValueError(
                "a scorer is a name, or an object with a 'name' and the scorer's parameters, not "
                f"{shown(choice)}"
            )
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Scoring = Annotated[
    ScorerChoice | list[ScorerChoice],
    BeforeValidator(_check_scorers),
]
"""One scorer or a list of them. The first decides the accuracy; the others become metrics."""

Groupings = Annotated[list[Name], BeforeValidator(_as_list)]
"""Columns of the rows by whose values a report groups the items."""


def scorer_name(choice: ScorerChoice) -> str:
    """Return the name of a chosen scorer."""
    return choice if isinstance(choice, str) else str(choice["name"])
