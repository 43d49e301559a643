"""What a search is composed of: a space, the splits of a benchmark, models, a study."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from archon import api
from archon.answers import READING_VERSION
from archon.errors import UsageError
from archon.evals.benchmarks import SPLITS
from archon.evals.runner import Evaluation
from archon.graph.architecture import Architecture
from archon.graph.event_loop import run_sync
from archon.graph.exemplars import DEFAULT_POOL
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.spec.messages import shown, suggestion
from archon.spec.reader import Reference, load_architecture
from archon.study.finals import SplitItems
from archon.study.objectives import Limits, parse_objectives
from archon.study.result import SearchResult, named_pool
from archon.study.search_config import OnStudyEvent, Plan
from archon.study.session import Session
from archon.study.space import RejectedError, Space, check
from archon.study.storage import DATABASE, safe_name, sqlite_url, study_folder
from archon.study.warm_start import point_of

DEFAULT_TRIALS, DEFAULT_ITEMS, DEFAULT_FINAL_ITEMS, DEFAULT_FINALISTS = 60, 100, 200, 5


def search(
    space: Reference | Space,
    benchmark: api.BenchmarkChoice,
    *,
    trials: int = DEFAULT_TRIALS,
    objective: str | Sequence[str] = "accuracy",
    sampler: str = "tpe",
    seed: int = 0,
    limit: int | None = DEFAULT_ITEMS,
    final_limit: int | None = DEFAULT_FINAL_ITEMS,
    finalists: int = DEFAULT_FINALISTS,
    max_tokens: float | None = None,
    max_calls: float | None = None,
    max_seconds: float | None = None,
    stops_early: bool = True,
    warm_start: Sequence[Reference] = (),
    models: Mapping[str, api.ModelChoice] | None = None,
    data: str | os.PathLike[str] | None = None,
    scorer: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    resume: bool = False,
    cache: bool = True,
    output: str | os.PathLike[str] | None = None,
    on_event: OnStudyEvent | None = None,
) -> SearchResult:
    """Search a space for the architecture that is best on a benchmark.

    Parameters
    ----------
    space : a name in the catalogue, a path, what such a file says as a dict, or a ``Space``.
    trials : architectures to try, those of earlier sittings and of other workers included.
    objective : ``accuracy``, ``tokens``, ``seconds``, or several of them; the first decides among
        the finalists.
    sampler : ``tpe``, ``gp``, ``nsga2``, ``random`` or ``exhaustive``.
    seed : changes draws and what the sampler proposes, never items.
    limit, final_limit : items of the *search* split that trials see, and of *select* and *test*.
    finalists : trials that go on to *select*; 0 leaves *select* and *test* out.
    max_tokens, max_calls, max_seconds : what an answer may take on average. What is expected to
        take more tokens or calls is not run.
    stops_early : stop trials that are hopeless.
    warm_start : architectures, points of the space, that are tried first.
    storage : URL of a database; by default a SQLite file in the study's folder, ``runs/STUDY``.
    study : its name; by default a new one of space, benchmark and time.
    resume : go on with the study, if there is one.
    output : where the winner's file goes; by default ``best.json`` in the study's folder.

    Raises
    ------
    SpecError, GraphError : a file is wrong, or a point of the space is no architecture.
    UsageError : a number makes no sense, or the study is there already, or another than this.
    MissingExtraError : Optuna is not installed (the extra ``search``).
    """
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    prepared = prepare(
        space if isinstance(space, Space) else Space.load(space),
        benchmark,
        plan=Plan(
            parse_objectives(",".join(names)),
            Limits(max_tokens, max_calls, max_seconds),
            sampler,
            seed,
            trials,
            stops_early,
        ),
        limit=limit,
        final_limit=final_limit,
        models=models or {},
        data=data,
        scorer=scorer,
        study=study,
        storage=storage,
    )
    session = replace(
        prepared.session,
        resume=resume,
        warm_start=[prepared.known(ref) for ref in warm_start],
        num_finalists=finalists,
        output=None if output is None else Path(output),
        on_event=on_event,
    )
    with pool_for(session.plan, cache=cache) as pool:
        return run_sync(replace(session, pool=pool).run())


@dataclass
class Prepared:
    """A search that has been checked and can begin."""

    session: Session
    loader: api.Loader
    models: Mapping[str, api.ModelChoice] = field(default_factory=dict)

    def known(self, ref: Reference) -> Any:
        """The point at which a known architecture stands.

        Raises
        ------
        UsageError : it is no point of the space.
        """
        return point_of(self.session.space, load_architecture(ref).spec)


def pool_for(plan: Plan, *, cache: bool) -> contextlib.AbstractContextManager[DrawPool | None]:
    """The pool of draws; none where seconds are sought or limited, as found draws take none."""
    times = "seconds" in plan.objectives or plan.limits.seconds is not None
    return contextlib.nullcontext() if times or not cache else DrawPool()


def prepare(
    space: Space,
    benchmark: api.BenchmarkChoice,
    *,
    plan: Plan,
    limit: int | None,
    final_limit: int | None,
    models: Mapping[str, api.ModelChoice],
    data: str | os.PathLike[str] | None,
    scorer: str | None,
    study: str | None,
    storage: str | None,
) -> Prepared:
    """Check everything that a search needs, before the first trial.

    Raises
    ------
    As ``search``.
    """
    if plan.trials < 1:
        raise UsageError(f"a search needs at least one trial, not {plan.trials}")
    _check_roles(space, models)
    loader = api.Loader()

    def load(spec: ArchitectureSpec) -> Architecture:
        chosen = {role: models[role] for role in models if role in spec.models}
        return loader.of_space(space, spec, chosen)

    check(space, load)
    asked = {
        split: api.benchmark(
            benchmark,
            split=split,
            limit=limit if split == "search" else final_limit,
            data=data,
            scorer=scorer,
        )
        for split in SPLITS
    }
    # One fixed random order, so that a rung is a sample of all kinds of items.
    items = list(asked["search"].items)
    random.Random(0).shuffle(items)
    asked["search"] = replace(asked["search"], items=items)
    splits = {
        split: SplitItems(found.items, _evaluation(found, plan.seed))
        for split, found in asked.items()
    }
    for split in splits.values():
        split.evaluation(load(_one(space)))  # what is wrong with the items shows now
    card = asked["search"].selection.card
    name = study or _new_name(space.name, card.name)
    folder = study_folder(name)
    session = Session(
        space=space,
        plan=plan,
        load=load,
        search=splits["search"],
        select=splits["select"],
        test=splits["test"],
        name=name,
        folder=folder,
        storage=storage or sqlite_url(folder / DATABASE),
        identity={
            "version": 1,
            "reading": READING_VERSION,
            "space": space.spec.source,
            "models": {role: str(model) for role, model in models.items()},
            "benchmark": card.model_dump(mode="json"),
            "items": [item.id for item in items],
            "objectives": list(plan.objectives),
            "limits": plan.limits.given,
            "seed": plan.seed,
        },
        finish=_finisher(space, asked["search"], models),
    )
    return Prepared(session, loader, models)


def _evaluation(found: api.Benchmark, seed: int) -> Callable[[Architecture], Evaluation]:
    return lambda architecture: api.evaluation(architecture, found, seed=seed)


def _one(space: Space) -> ArchitectureSpec:
    """The architecture of some point; there is one, as the space has been checked."""
    rng = random.Random(0)
    while True:
        with contextlib.suppress(RejectedError):
            return space.build(space.random_point(rng))


def _finisher(
    space: Space, found: api.Benchmark, models: Mapping[str, api.ModelChoice]
) -> Callable[[ArchitectureSpec, str], ArchitectureSpec]:
    """Names the winner, its exemplar pool and its kind of answer, and the models put in."""
    card = found.selection.card
    pool = DEFAULT_POOL if card.examples is None else card.examples
    if "/" in pool or pool.endswith((".json", ".jsonl")):
        pool = str(found.base_dir / pool)

    def finish(spec: ArchitectureSpec, said: str) -> ArchitectureSpec:
        named = {
            role: os.fspath(model)
            for role, model in models.items()
            if role in spec.models and isinstance(model, str | os.PathLike)
        }
        own = {
            "name": f"{space.name}-best",
            "description": said,
            "answer": card.answer,
            "models": {**spec.models, **named},
        }
        return named_pool(spec, pool).model_copy(update=own)

    return finish


def _check_roles(space: Space, models: Mapping[str, Any]) -> None:
    roles = space.spec.data.get("models")
    if not isinstance(roles, dict):
        return
    for role in models:
        if role not in roles:
            raise UsageError(
                f"no role {shown(role)} in the space {space.name}{suggestion(role, sorted(roles))}"
            )


def _new_name(space: str, benchmark: str) -> str:
    return (
        f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{safe_name(space)}-{safe_name(benchmark)}"
    )
