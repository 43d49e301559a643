"""The public functions, shared by programs and commands: load, lm, evaluate, search.

::

    spec.reader → model cards → lm.lazy → graph.loading → Architecture → evals.runner
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from archon.errors import UsageError
from archon.evals import runner
from archon.evals.benchmarks.function import PythonReference, is_python, load_python
from archon.evals.benchmarks.opening import Benchmark as Benchmark
from archon.evals.benchmarks.opening import open_benchmark
from archon.evals.failures import MaxErrors
from archon.evals.folder import RunFolder
from archon.evals.report import Report
from archon.evals.runner import Evaluation, OnProgress
from archon.graph.architecture import Architecture
from archon.graph.event_loop import run_sync
from archon.graph.lm import ArchitectureLM
from archon.graph.loading import Loader, ModelChoice
from archon.lm.base import LM
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.spec.reader import (
    Reference,
    load_benchmark,
)
from archon.study.objectives import SearchLimits, parse_objectives
from archon.study.search_config import OnStudyEvent, SearchConfig, SearchListeners
from archon.study.space import Space, SpaceCheck, check

if TYPE_CHECKING:
    from archon.study.result import SearchResult
    from archon.study.session import SearchSession

BenchmarkChoice = Reference | PythonReference
"""A benchmark card's name, its path, a card as a dict, or a benchmark made in Python."""


def load(ref: Reference, models: Mapping[str, ModelChoice] | None = None) -> Architecture:
    """An architecture, checked and ready to answer.

    Parameters
    ----------
    ref
        A name in the catalogue, a path, or what such a file says as a dict.
    models
        Role → what to put in the place of the model that the file names.

    Raises
    ------
    SpecError
        A file is missing or wrong.
    GraphError
        The nodes do not form a valid graph, or the architecture contains itself.
    UsageError
        ``models`` names a role that the architecture does not have.
    """
    return Loader().architecture(ref, models)


def check_space(space: Space, models: Mapping[str, ModelChoice] | None = None) -> SpaceCheck:
    """Load every architecture of a space, or of a thousand random points where it has more.

    Raises
    ------
    SpecError, GraphError
        A point that no constraint forbids is not a valid architecture.
    """
    loader = Loader()
    return check(space, lambda spec: loader.of_spec(spec, space.base_dir, models))


def lm(model: Reference | Architecture) -> LM:
    """A language model: the one of a card, given by name, path or dict, or an architecture.

    Raises
    ------
    SpecError
        A file is missing or wrong.
    """
    if isinstance(model, Architecture):
        return ArchitectureLM(model)
    return Loader().model(model)


def benchmark(
    ref: BenchmarkChoice,
    *,
    split: str = "select",
    limit: int | None = None,
    data: str | os.PathLike[str] | None = None,
    scorer: str | None = None,
) -> Benchmark:
    """The first ``limit`` items of a split of a benchmark.

    Parameters
    ----------
    ref
        A name in the catalogue, a path, what such a file says as a dict, or a benchmark made in
        Python: a function, ``file.py:function`` or ``package.module:function``.
    data
        A JSONL file whose items stand in for those of the card's own source.
    scorer
        The name of a scorer that stands in for the benchmark's own.

    Raises
    ------
    SpecError
        A file is missing or wrong, or the user's code fails.
    UsageError
        There is no such split or scorer, or the limit is less than 1.
    MissingExtraError
        The source needs a package that is not installed.
    """
    loaded = load_python(ref) if is_python(ref) else load_benchmark(cast(Reference, ref))
    path = None if data is None else Path(data)
    return open_benchmark(loaded, split=split, limit=limit, data=path, scorer=scorer)


def evaluation(
    architecture: Architecture, items: Benchmark, *, seed: int = 0, epochs: int = 1
) -> Evaluation:
    """Everything that is to be asked of an architecture.

    Parameters
    ----------
    seed
        Changes draws, never items.
    epochs
        How often each item is asked, on fresh draws.

    Raises
    ------
    UsageError
        A number makes no sense.
    GraphError
        The benchmark's exemplar pool is too small for some node's shots.
    """
    return Evaluation.of(architecture, items, seed=seed, epochs=epochs)


def evaluate(
    architecture: Architecture,
    benchmark_ref: BenchmarkChoice,
    *,
    limit: int | None = None,
    seed: int = 0,
    epochs: int = 1,
    split: str = "select",
    data: str | os.PathLike[str] | None = None,
    scorer: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
    on_progress: OnProgress | None = None,
) -> Report:
    """How well an architecture does on a benchmark, with error bars.

    Parameters
    ----------
    limit, split, data, scorer
        Which items, and how they are judged; see ``benchmark``.
    seed, epochs
        Which draws; see ``evaluation``.
    output
        The run's folder; by default a new one in ``runs``.
    resume
        Continue the run in ``output``, if there is one; what failed is asked again.
    keep_errors
        With ``resume``, leave failed items as they are recorded.
    max_errors
        How many answers may fail before the evaluation stops: a number (int) or a share of all
        answers (float). By default it stops after ten failures of one cause without a success
        between.
    cache
        Find draws that were made before in the pool on disk, and keep those that are made.

    Raises
    ------
    SpecError
        A file is missing or wrong.
    UsageError
        A number makes no sense, or the folder holds a run that is not to be resumed, or another
        than this.
    TooManyErrorsError
        Too many answers failed; what is finished is in the folder.
    StorageError
        The disk does not take what is finished.
    """
    items = benchmark(benchmark_ref, split=split, limit=limit, data=data, scorer=scorer)
    asked = evaluation(architecture, items, seed=seed, epochs=epochs)
    path = None if output is None else Path(output)
    folder = run_folder(path, architecture.name, resume=resume)
    with DrawPool() if cache else contextlib.nullcontext() as pool:
        return run_sync(
            runner.evaluate(
                asked,
                folder,
                pool=pool,
                keep_errors=keep_errors,
                max_errors=max_errors,
                on_progress=on_progress,
            )
        )


def run_folder(path: Path | None, name: str, *, resume: bool) -> RunFolder:
    """The folder that a run goes into.

    Raises
    ------
    UsageError
        It cannot be made; it holds a run and ``resume`` is not set; or ``resume`` is set and no
        path says where.
    """
    if not resume:
        return RunFolder.create(path, name)
    if path is None:
        raise UsageError("to resume a run, its folder must be given as the output")
    return RunFolder.resume(path)


def search(
    space: Reference | Space,
    benchmark: BenchmarkChoice,
    *,
    trials: int = SearchConfig.trials,
    objective: str | Sequence[str] = "accuracy",
    sampler: str = "tpe",
    seed: int = 0,
    limit: int | None = SearchConfig.limit,
    final_limit: int | None = SearchConfig.final_limit,
    finalists: int = SearchConfig.finalists,
    max_tokens: float | None = None,
    max_calls: float | None = None,
    max_seconds: float | None = None,
    stops_early: bool = True,
    warm_start: Sequence[Reference] = (),
    models: Mapping[str, ModelChoice] | None = None,
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
    space
        A name in the catalogue, a path, what such a file says as a dict, or a ``Space``.
    trials
        Architectures to try, those of earlier sessions and of other workers included.
    objective
        ``accuracy``, ``tokens``, ``seconds``, or several of them; the first decides among the
        finalists.
    sampler
        ``tpe``, ``gp``, ``nsga2``, ``random`` or ``exhaustive``.
    seed
        Changes samples and what the sampler proposes, never items.
    limit, final_limit
        Items of the *search* split that trials see, and of *select* and *test*.
    finalists
        Trials that are asked *select*; 0 leaves *select* and *test* out.
    max_tokens, max_calls, max_seconds
        What an answer may take on average. What is expected to take more tokens or calls is not
        run.
    stops_early
        Stop hopeless trials.
    warm_start
        Architectures, points of the space, that are tried first.
    storage
        URL of a database; by default a SQLite file in the study's folder, ``runs/STUDY``.
    study
        Its name; by default a new one of space, benchmark and time.
    resume
        Continue the study, if there is one.
    output
        Where the winner's file goes; by default ``best.json`` in the study's folder.

    Raises
    ------
    SpecError, GraphError
        A file is wrong, or a point of the space is not a valid architecture.
    UsageError
        A number makes no sense, or the study exists already, or another than this.
    MissingExtraError
        Optuna is not installed (the extra ``search``).
    """
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    config = SearchConfig(
        objectives=parse_objectives(",".join(names)),
        limits=SearchLimits(max_tokens, max_calls, max_seconds),
        sampler=sampler,
        seed=seed,
        trials=trials,
        stops_early=stops_early,
        limit=limit,
        final_limit=final_limit,
        finalists=finalists,
        warm_start=warm_start,
        models=models or {},
        data=data,
        scorer=scorer,
        study=study,
        storage=storage,
        resume=resume,
        cache=cache,
        output=None if output is None else Path(output),
    )
    session, _ = prepare_search(space, benchmark, config)
    session.listeners = SearchListeners(on_event=on_event)
    return run_sync(session.run())


def prepare_search(
    space: Reference | Space, benchmark_ref: BenchmarkChoice, config: SearchConfig
) -> tuple[SearchSession, Loader]:
    """A search that has been checked and can begin, and the loader of its models.

    It raises the errors of ``search``.
    """
    from archon.study.session import prepare

    space = space if isinstance(space, Space) else Space.load(space)
    loader = Loader()

    def load(spec: ArchitectureSpec) -> Architecture:
        chosen = {role: model for role, model in config.models.items() if role in spec.models}
        return loader.of_spec(spec, space.base_dir, chosen)

    def open_split(split: str, limit: int | None) -> Benchmark:
        return benchmark(
            benchmark_ref, split=split, limit=limit, data=config.data, scorer=config.scorer
        )

    return prepare(space, config, load, open_split), loader
