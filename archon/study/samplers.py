"""The samplers of a search, by name, with every choice of theirs that matters made here."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, get_args

from archon.errors import UsageError, require
from archon.spec.messages import suggestion

if TYPE_CHECKING:
    import optuna

SamplerName = Literal["tpe", "gp", "nsga2", "random", "exhaustive"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)

NUM_STARTUP_TRIALS = 10
POPULATION = 20
"""Of NSGA-II: a search has tens of trials, and a generation is to end among them."""

LEARNS_FROM_PRUNED = {"tpe": True, "gp": False, "nsga2": False, "random": True, "exhaustive": True}
"""Whether a trial that was told as pruned, without values, teaches the sampler its constraints, or
it has nothing to learn."""


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """A new sampler.

    ``tpe`` : tree-structured Parzen estimator, the parameters of each branch of the space together.
    ``gp`` : Gaussian process; holes that do not exist at every point are drawn at random.
    ``nsga2`` : genetic algorithm, for several objectives.
    ``random`` : every hole evenly. ``exhaustive`` : nothing, as all points are enqueued.

    Raises
    ------
    UsageError
        There is no such sampler.
    MissingExtraError
        Optuna is not installed, or for ``gp`` torch, which the extra ``engine`` brings.
    """
    samplers = require("optuna", "search").samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several are called experimental, and are pinned
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
                raise UsageError(f"no sampler {name!r}{suggestion(name, SAMPLERS)}")
    return sampler  # type: ignore[no-any-return]
