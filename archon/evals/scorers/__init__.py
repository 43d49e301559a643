"""Scorers, which compare an answer with the target.

``declaration.py`` has the interface, and ``registry.py`` lists all scorers by name. Each scorer or
family has a module: ``exact``, ``number_close``, ``math_equal``, ``choice``, ``texts``, ``regex``,
``code``, ``judge``, ``ifeval`` with ``instructions``, ``lm_eval`` and ``inspect_ai``. ``custom.py``
makes scorers of users' functions.
"""

from archon.evals.scorers.custom import custom_scorer
from archon.evals.scorers.declaration import Attempt, Score, Scorer, ScorerType
from archon.evals.scorers.registry import (
    KINDS,
    SCORERS,
    GivenScorer,
    ScorerOption,
    card_scorers,
    chosen_scorers,
    default_scorer,
    find_scorer,
    find_scorers,
    need_canonical_targets,
    plain_scorer,
    scorer_label,
    scorers_given,
    with_scorers,
)

__all__ = [
    "KINDS",
    "SCORERS",
    "Attempt",
    "GivenScorer",
    "Score",
    "Scorer",
    "ScorerOption",
    "ScorerType",
    "card_scorers",
    "chosen_scorers",
    "custom_scorer",
    "default_scorer",
    "find_scorer",
    "find_scorers",
    "need_canonical_targets",
    "plain_scorer",
    "scorer_label",
    "scorers_given",
    "with_scorers",
]
