"""How fast samplers find the top 1 % of a landscape, over 20 seeds; and the front.

``python landscape_figures.py [SEEDS]`` prints the figures.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from study_doubles import (
    accuracy,
    evaluations_until,
    landscape,
    plan,
    searched,
    threshold,
    tokens,
)

from archon.study.space import Space

MOST = 200


def median_evaluations(sampler: str, space: Space, seeds: int, most: int = MOST) -> float:
    bound = threshold(space)
    found = []
    for seed in range(seeds):
        told = asyncio.run(searched(plan(sampler=sampler, seed=seed, trials=most), space=space))
        found.append(evaluations_until(told, bound) or most + 1)
    return statistics.median(found)


def hypervolume(points: list[tuple[float, float]], most_tokens: float) -> float:
    """Area that (accuracy, tokens) points dominate, up to no accuracy and so many tokens."""
    area, last = 0.0, most_tokens
    best: list[tuple[float, float]] = []
    for value, cost in sorted(points, key=lambda p: (p[1], -p[0])):
        if not best or value > best[-1][0]:
            best.append((value, cost))
    for value, cost in reversed(best):
        area += value * (last - cost)
        last = cost
    return area


def front_share(seed: int, trials: int = 200) -> float:
    """Share of the true hypervolume that the points tried cover, by their true values."""
    space = landscape()
    every = [(accuracy(point), tokens(point)) for point in space.points()]
    worst = max(cost for _, cost in every)
    told = asyncio.run(
        searched(plan(objectives=("accuracy", "tokens"), seed=seed, trials=trials), space=space)
    )
    tried = [(accuracy(r.point), tokens(r.point)) for r in told if r.results]
    return hypervolume(tried, worst) / hypervolume(every, worst)


def main(seeds: int) -> None:
    for with_branch, samplers in ((True, ("random", "tpe")), (False, ("random", "gp"))):
        space = landscape(with_branch)
        print(f"branch {with_branch}, {space.count()} points")
        for sampler in samplers:
            started = time.perf_counter()
            median = median_evaluations(sampler, space, seeds, 120)
            print(f"  {sampler}: median {median} ({time.perf_counter() - started:.0f} s)")
    for sampler_seed in range(3):
        print(f"front, seed {sampler_seed}: {front_share(sampler_seed):.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
