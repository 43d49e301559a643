"""The promised figures of a search on a known landscape, over many seeds.

``python landscape_figures.py [FIRST [SEEDS]]`` prints the figures of the seeds from FIRST on:

- evaluations that a sampler takes to reach a point of the best 1%, compared with random;
- share of the true hypervolume that the front of two objectives covers after 200 trials.

Settings are tuned on seeds from 100 on, and reported on the seeds 0 to 19.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence

from study_doubles import Landscape, accuracy, landscape, plan, searched, threshold, tokens

from archon.study.space import Point, Space
from archon.study.trial_evaluation import Measured, TrialCandidate
from archon.study.trials import front

MOST = 400
"""Evaluations after which a sampler counts as one that needs that many."""
TRIALS = 200


class _ReachedError(Exception):
    """Ends a study that has reached its goal."""


class Watched(Landscape):
    """A landscape that ends its study at the first good point."""

    def __init__(self, bound: float, seed: int) -> None:
        super().__init__(seed=seed)
        self._bound = bound

    def candidate(self, point: Point) -> TrialCandidate:
        self._accuracy = accuracy(point)
        return super().candidate(point)

    async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
        if self._accuracy >= self._bound:
            raise _ReachedError
        return await super().measure(candidate, trial, num_items)


def evaluations(sampler: str, space: Space, seed: int, bound: float) -> int:
    """Count the trials that asked items up to the first one at a good point."""
    subject = Watched(bound, seed)
    try:
        asyncio.run(searched(plan(sampler=sampler, seed=seed, trials=MOST), subject, space))
    except _ReachedError:
        return len(subject.asked) + 1
    return MOST


def hypervolume(points: Sequence[tuple[float, float]], most_tokens: float) -> float:
    """Compute the area that (accuracy, tokens) points dominate, up to a reference point."""
    area, last = 0.0, most_tokens
    best: list[tuple[float, float]] = []
    for value, cost in sorted(points, key=lambda p: (p[1], -p[0])):
        if not best or value > best[-1][0]:
            best.append((value, cost))
    for value, cost in reversed(best):
        area += value * (last - cost)
        last = cost
    return area


def front_shares(sampler: str, seed: int, *, stops_early: bool) -> tuple[float, float]:
    """Return the shares of the true hypervolume of the front and of all tried points.

    Both use the true values of the points; the front is chosen by the results on 100 items.
    """
    space, objectives = landscape(), ("accuracy", "tokens")
    every = [(accuracy(point), tokens(point)) for point in space.points()]
    worst = max(cost for _, cost in every)
    made = plan(
        objectives=objectives, sampler=sampler, seed=seed, trials=TRIALS, stops_early=stops_early
    )
    records = asyncio.run(searched(made, space=space))
    whole = hypervolume(every, worst)
    found = [(accuracy(r.point), tokens(r.point)) for r in front(records, objectives)]
    tried = [(accuracy(r.point), tokens(r.point)) for r in records if r.results]
    return hypervolume(found, worst) / whole, hypervolume(tried, worst) / whole


def quartiles(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"median {middle:.4g}, quartiles {low:.4g} to {high:.4g}"


def main(first: int, num_seeds: int) -> None:
    seeds, started = range(first, first + num_seeds), time.perf_counter()

    def say(what: str, values: Sequence[float], worst: float) -> None:
        seconds = time.perf_counter() - started
        print(f"{what}: {quartiles(values)}, worst {worst:.4g} ({seconds:.0f} s)", flush=True)

    for with_branch, samplers in ((True, ("random", "tpe")), (False, ("random", "tpe", "gp"))):
        space = landscape(with_branch)
        bound = threshold(space)
        every = [accuracy(point) for point in space.points()]
        good = sum(value >= bound for value in every)
        print(f"branch {with_branch}: {len(every)} points, {good} of them are the best 1%")
        for sampler in samplers:
            found = [evaluations(sampler, space, seed, bound) for seed in seeds]
            say(f"  evaluations, {sampler}", found, max(found))
    for sampler, stops_early in (("tpe", False), ("tpe", True), ("random", False)):
        shares = [front_shares(sampler, seed, stops_early=stops_early) for seed in seeds]
        how = "stopping" if stops_early else "whole"
        for name, values in zip(("front", "tried"), zip(*shares, strict=True), strict=True):
            say(f"hypervolume of the {name}, {sampler}, {how}", values, min(values))


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*given, *(0, 20)[len(given) :])
