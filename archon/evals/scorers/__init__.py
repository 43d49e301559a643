"""Scorers, which compare an answer with the target.

``declaration.py`` has the interface, ``registry.py`` all scorers by name. Each other module contains
a scorer or a family: ``exact``, ``number_close``, ``math_equal``, ``choice``, ``texts``, ``regex``,
``code``, ``judge`` and ``lm_eval``. ``custom.py`` makes scorers of users' functions. ``worker.py``
runs work that must be stopped after a time limit in a process (``worker_main.py``).
"""

from archon.evals.scorers.custom import custom_scorer
from archon.evals.scorers.declaration import Attempt, Score, Scorer, ScorerType
from archon.evals.scorers.registry import (
    KINDS,
    SCORERS,
    GivenScorer,
    ScorerOption,
    card_scorers,
    find_scorer,
    find_scorers,
    scorers_given,
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
    "custom_scorer",
    "find_scorer",
    "find_scorers",
    "scorers_given",
]
