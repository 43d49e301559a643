"""Optuna's samplers by name, with the settings of a search."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from archon.errors import UsageError, require
from archon.spec.messages import suggestion

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "gp", "nsga2", "random", "exhaustive")

NUM_STARTUP_TRIALS = 10
POPULATION = 20
"""Population size of NSGA-II. It is small, so that tens of trials make several generations."""

LEARNS_FROM_PRUNED = {"tpe": True, "gp": False, "nsga2": False, "random": True, "exhaustive": True}
"""Sampler → whether a rejected trial can be stored without values: the sampler learns from the
constraints of such a trial, or learns from no trial at all."""


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Make a sampler.

    ``tpe`` : tree-structured Parzen estimator; samples the parameters of an alternative jointly.
    ``gp`` : Gaussian process; conditional parameters are sampled at random.
    ``nsga2`` : genetic algorithm, for several objectives.
    ``random`` : samples every parameter uniformly.
    ``exhaustive`` : unused, because all configurations are enqueued.

    Raises
    ------
    UsageError
        The name is unknown.
    MissingExtraError
        Optuna is not installed, or ``gp`` needs torch (the extra ``engine``).
    """
    samplers = require("optuna", "search").samplers
    with warnings.catch_warnings(action="ignore"):  # several are experimental, and pinned
        match name:
            case "tpe":
                sampler = samplers.TPESampler(
                    seed=seed,
                    multivariate=True,
                    group=True,
                    n_startup_trials=NUM_STARTUP_TRIALS,
                    constant_liar=True,
                )
            case "gp":
                require("torch", "engine")
                sampler = samplers.GPSampler(
                    seed=seed,
                    n_startup_trials=NUM_STARTUP_TRIALS,
                    deterministic_objective=False,
                    warn_independent_sampling=False,
                )
            case "nsga2":
                sampler = samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
            case "random" | "exhaustive":
                sampler = samplers.RandomSampler(seed=seed)
            case _:
                raise UsageError(f"unknown sampler {name!r}{suggestion(name, SAMPLERS)}")
    return sampler  # type: ignore[no-any-return]
