"""A landscape with a known optimum, as the subject of a study."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from archon.spec.space import parse_space
from archon.study.objectives import ItemResult, SearchLimits
from archon.study.search_config import SearchConfig
from archon.study.space import Point, RejectedError, Space
from archon.study.study import Search
from archon.study.trial_evaluation import Measured, TrialCandidate
from archon.study.trials import TrialRecord, records
from archon.study.workers import Worker

NUM_ITEMS = 100


def hole(name: str, *values: Any) -> dict[str, Any]:
    return {"$choice": list(values), "$name": name}


# A space needs no architecture to be searched: these nodes are never built.
_MAIN = {
    "template": hole("template", "a", "b", "c", "d"),
    "shots": hole("shots", 0, 2, 4, 8),
    "temperature": hole("temperature", 0.2, 0.5, 0.8, 1.1),
    "samples": hole("samples", 1, 2, 4, 8),
    "form": hole("form", "prose", "program", "both"),
}
_BRANCH = {
    "$choice": {
        "no": None,
        "yes": {"critic": hole("critic", 0, 1), "ranker": hole("ranker", 0, 1)},
    },
    "$name": "judge",
}


@cache
def landscape(with_branch: bool = True) -> Space:
    """3,840 points; 768 without the branch."""
    nodes = {**_MAIN, "judge": _BRANCH} if with_branch else _MAIN
    return Space(parse_space({"version": 1, "name": "landscape", "nodes": nodes, "output": "x"}))


def accuracy(point: Point) -> float:
    """Main effects, two interactions, and a branch that helps only with both of its parameters."""
    value = 0.18
    value += {'"a"': 0.0, '"b"': 0.09, '"c"': 0.04, '"d"': 0.02}[str(point["template"])]
    value += {"0": 0.0, "2": 0.03, "4": 0.08, "8": 0.05}[str(point["shots"])]
    value += {"0.2": 0.0, "0.5": 0.04, "0.8": 0.07, "1.1": 0.02}[str(point["temperature"])]
    value += {"1": 0.0, "2": 0.03, "4": 0.07, "8": 0.11}[str(point["samples"])]
    value += {'"prose"': 0.0, '"program"': 0.08, '"both"': 0.05}[str(point["form"])]
    if point["form"] == '"program"' and point["shots"] == "0":
        value += 0.06
    if point["samples"] == "8" and point["temperature"] == "1.1":
        value += 0.08
    if point.get("judge") == "yes":
        value += 0.16 if point["critic"] == "1" and point["ranker"] == "1" else -0.05
    return value


def tokens(point: Point) -> float:
    """More samples and a judge cost more."""
    cost = 60.0 * int(str(point["samples"])) + 15.0 * int(str(point["shots"]))
    if point.get("judge") == "yes":
        cost *= 1.5 + 0.5 * (point["critic"] == "1") + 0.5 * (point["ranker"] == "1")
    return cost


class Landscape:
    """Answers items correctly with the probability of ``accuracy``."""

    def __init__(
        self,
        *,
        seed: int = 0,
        num_items: int = NUM_ITEMS,
        seconds: float = 0,
        hangs_after: float = math.inf,
    ) -> None:
        self.num_items, self._seed, self._seconds = num_items, seed, seconds
        self._hangs_after = hangs_after
        """So many candidates are answered; the next one never is."""
        self.asked: dict[str, int] = {}

    def candidate(self, point: Point) -> TrialCandidate:
        digest = "/".join(f"{name}={value}" for name, value in sorted(point.items()))
        if digest in self.unsound:
            raise RejectedError("no architecture")
        calls = float(str(point["samples"]))
        return TrialCandidate(digest, {"tokens": tokens(point), "calls": calls})

    unsound: frozenset[str] = frozenset()

    async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
        await asyncio.sleep(self._seconds)
        if len(self.asked.keys() | {candidate.digest}) > self._hangs_after:
            await asyncio.Event().wait()
        self.asked[candidate.digest] = num_items
        point = dict(pair.split("=", 1) for pair in candidate.digest.split("/"))
        rng = random.Random(f"{self._seed}/{candidate.digest}")
        luck = [rng.random() for _ in range(self.num_items)]
        cost = tokens(point)
        results = [ItemResult(float(u < accuracy(point)), cost, 0.01) for u in luck[:num_items]]
        spent = round(cost) * num_items
        return Measured(results, spent, spent, spent)


def plan(**changed: Any) -> SearchConfig:
    given: dict[str, Any] = {
        "objectives": ("accuracy",),
        "limits": SearchLimits(),
        "sampler": "tpe",
        "seed": 0,
        "trials": 20,
        "stops_early": False,
    }
    return SearchConfig(**{**given, **changed})


async def searched(
    made: SearchConfig, subject: Any = None, space: Space | None = None, study: Any = None
) -> list[TrialRecord]:
    """The trials of a study in memory."""
    return (await search_result(made, subject, space, study))[0]


async def search_result(
    made: SearchConfig, subject: Any = None, space: Space | None = None, study: Any = None
) -> tuple[list[TrialRecord], str | None]:
    """The trials of a study in memory, and the reason why there are fewer than planned."""
    import optuna

    from archon.study.samplers import make_sampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = space or landscape()
    study = study or optuna.create_study(
        sampler=make_sampler(made.sampler, made.seed),
        directions=made.directions,
    )
    search = Search(
        made, space, subject or Landscape(seed=made.seed), study, Worker(study, is_alone=True)
    )
    search.enqueue([])
    reason = await search.run()
    return records(study), reason


def evaluations_until(trials: Sequence[TrialRecord], threshold: float) -> int | None:
    """Count the trials that asked items up to the first one at a good point."""
    asked = [record for record in trials if record.outcome in ("whole", "stopped")]
    for number, record in enumerate(asked, start=1):
        if accuracy(record.point) >= threshold:
            return number
    return None


def threshold(space: Space, share: float = 0.01) -> float:
    """Return the lowest accuracy in the best share of all points."""
    values = sorted((accuracy(point) for point in space.points()), reverse=True)
    return values[int(share * len(values))]
