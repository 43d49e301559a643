"""The public functions ``load``, ``lm``, ``evaluate`` and ``search``, also used by the commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from archon.errors import UsageError, require
from archon.evals import tracked
from archon.evals.benchmarks.columns import Columns
from archon.evals.benchmarks.function import PythonReference, is_python, load_python
from archon.evals.benchmarks.opening import Benchmark as Benchmark
from archon.evals.benchmarks.opening import LoadedBenchmark, open_benchmark
from archon.evals.benchmarks.own_data import is_own_data, load_own_data
from archon.evals.costs import Cost
from archon.evals.failures import MaxErrors
from archon.evals.folder import RunFolder
from archon.evals.folder import run_folder as run_folder
from archon.evals.planned_comparison import Comparison, PlannedComparison
from archon.evals.progress_bar import Update, progress_bar
from archon.evals.report import Report
from archon.evals.run import Run
from archon.evals.runner import EvalProgress, Evaluation, OnProgress
from archon.evals.scorers import ScorerOption
from archon.graph.architecture import Architecture
from archon.graph.event_loop import run_sync
from archon.graph.lm import ArchitectureLM
from archon.graph.loading import Loader, ModelChoice, of_roles
from archon.lm.base import LM
from archon.lm.custom.choice import CustomModel, custom_lm
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.spec.model_strings import ALL_ROLES
from archon.spec.reader import Reference, load_benchmark
from archon.study.objectives import SearchLimits, parse_objectives
from archon.study.search_config import (
    OnStudyEvent,
    SearchConfig,
    SearchListeners,
    StudyEvent,
    TrialFinished,
)
from archon.study.space import Space, SpaceCheck, check
from archon.tracking.session import TrackerChoice
from archon.types import AnswerKind

if TYPE_CHECKING:
    from archon.lm.lazy import LazyLM
    from archon.serve.server import Server
    from archon.study.result import SearchResult
    from archon.study.session import SearchSession

_COLUMNS = ("question", "target", "choices", "id", "answer")

Servable = Reference | Architecture
"""An architecture or a model that a server offers under its own name."""

BenchmarkChoice = Reference | PythonReference | Any
"""Name, path or dict of a benchmark card; a benchmark written in Python; or data: the path of a
file, ``hf:owner/name:split``, a data frame, a data set or a list of mappings."""


ModelChoices = Mapping[str, ModelChoice] | ModelChoice
"""Role → model; or one model for all roles that write text."""


def load(ref: Reference, models: ModelChoices | None = None) -> Architecture:
    """Load and check an architecture.

    Parameters
    ----------
    ref
        A catalogue name, the path of a file, or the contents of a file as a dict.
    models
        Role → the model that replaces the file's; or one model for all roles that write text. A
        model is a model string (``archon.spec.model_strings``), a path, a card as a dict, an
        architecture, or what ``lm`` takes: a function, an object with ``generate``, a client or a
        pipeline. A dict with the key ``backend`` is a card.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    GraphError
        The nodes do not form a valid graph, or the architecture contains itself.
    UsageError
        ``models`` names a role that the architecture does not have.
    """
    return Loader().architecture(ref, _by_role(models))


def _by_role(models: ModelChoices | None) -> Mapping[str, ModelChoice]:
    if models is None:
        return {}
    is_by_role = isinstance(models, Mapping) and not ("backend" in models and "name" in models)
    return cast(Mapping[str, ModelChoice], models if is_by_role else {ALL_ROLES: models})


def check_space(space: Space, models: Mapping[str, ModelChoice] | None = None) -> SpaceCheck:
    """Check the architectures in a search space, or a thousand random ones if it contains more.

    Raises
    ------
    SpecError, GraphError
        A configuration is not a valid architecture, and ``$forbid`` does not exclude it.
    """
    loader = Loader()
    return check(space, lambda spec: loader.of_spec(spec, space.base_dir, models))


def lm(model: Reference | Architecture | CustomModel, *, name: str | None = None) -> LM:
    """Return a language model: that of a card, an architecture, a function, or another object.

    Parameters
    ----------
    model
        One of these:

        - a model card: its name, path or dict, or a string such as ``hf:Qwen/Qwen3-0.6B``,
          ``openai:NAME`` or ``http://localhost:8080/v1`` (``archon.spec.model_strings``);
        - an architecture, whose runs are the samples;
        - a function, synchronous or asynchronous. It gets the messages as a list of dicts with the
          keys ``role`` and ``content``, and returns a text or a ``Completion``. If it has
          parameters with these names, it also gets ``n`` (and then returns a list of ``n`` texts),
          ``seed`` (different for each sample), ``request`` (the complete ``Request``), and sampling
          parameters such as ``temperature`` and ``max_tokens``. An asynchronous generator streams
          the pieces of a text. Synchronous functions run in threads;
        - an object with a method ``generate``, which is such a function of the ``Request``; an
          object with the interface ``LM`` is returned unchanged;
        - an ``openai.AsyncOpenAI`` or ``openai.OpenAI`` client, or one with the same methods;
        - a text-generation pipeline of the transformers library.
    name
        For a client, the name of the model on its server; without it, the server must have exactly
        one. For others, the name in errors.

    Token counts that a model does not report are recorded as 0, and a note of the answer and a
    warning of the report say so. Samples of functions, clients and pipelines are not stored in the
    pool.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    UsageError
        The object is none of these, or ``name`` is given for a card or an architecture.
    """
    is_named = isinstance(model, Architecture | str | os.PathLike | dict)
    if is_named and name is not None:
        raise UsageError("a card or an architecture has a name; leave out 'name'")
    if isinstance(model, Architecture):
        return ArchitectureLM(model)
    if isinstance(model, str | os.PathLike | dict):
        return Loader().model(model)
    return custom_lm(model, name)


def benchmark(
    ref: BenchmarkChoice,
    *,
    split: str = "select",
    limit: int | None = None,
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    allow_code_execution: bool = False,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
) -> Benchmark:
    """Load the first ``limit`` items of a benchmark split.

    Parameters
    ----------
    ref
        A catalogue name, the path of a card, the contents of a card as a dict; a benchmark
        written in Python: a function, ``file.py:function`` or ``package.module:function``; or your
        own data: the path of a CSV, TSV, JSON, JSON Lines or Parquet file,
        ``hf:owner/name[/config][@revision][:split]``, a data frame of pandas or polars, a data set
        of ``datasets``, or a list of mappings.
    split
        ``search``, ``select`` or ``test``; or ``all``, in the order of the data.
    limit
        Maximum number of items; None for all.
    data
        A file with items that replace the benchmark's items.
    scorer
        Scorer that replaces the benchmark's, or a list of them, of which the first decides the
        accuracy. Each is a name, a name with a parameter such as ``"number-close:0.01"``, an object
        with a ``name`` and parameters, ``"file.py:function"``, or a function
        (``archon.evals.scorers.custom_scorer``).
    allow_code_execution
        Whether the scorer ``code`` may run programs in full Python, in a separate process, instead
        of the restricted sandbox.
    answer
        Kind of answer that replaces the benchmark's. By default, that of your own data is detected.
    question, target, choices, id
        Names of columns. By default those that the card names or, in your own data, columns with
        common names. Several columns of choices have commas between their names.

    Raises
    ------
    SpecError
        A file is missing or invalid, columns are missing or ambiguous, or the user's code fails.
    UsageError
        The split or the scorer does not exist, or the limit is less than 1.
    MissingExtraError
        The source needs a package that is not installed.
    """
    columns = Columns(question=question, target=target, choices=choices, id=id, answer=answer)
    loaded = _load_benchmark(ref, columns)
    path = None if data is None else Path(data)
    return open_benchmark(
        loaded,
        split=split,
        limit=limit,
        data=path,
        scorer=scorer,
        allow_code_execution=allow_code_execution,
        columns=columns,
    )


_benchmark = benchmark  # where a parameter has its name


def _load_benchmark(ref: BenchmarkChoice, columns: Columns) -> LoadedBenchmark:
    if is_own_data(ref):  # first, because hf:… could also name a function of a module
        return load_own_data(ref, columns)
    if is_python(ref):
        return load_python(ref)
    return load_benchmark(cast(Reference, ref))


def evaluate(
    architecture: Architecture | Reference,
    benchmark_ref: BenchmarkChoice,
    *,
    limit: int | None = None,
    seed: int = 0,
    epochs: int = 1,
    split: str = "select",
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    by: str | Sequence[str] | None = None,
    allow_code_execution: bool = False,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> Report:
    """Measure an architecture's accuracy on a benchmark, with confidence intervals.

    Parameters
    ----------
    architecture
        An architecture, or its name, path or dict (see ``load``).
    benchmark_ref
        A benchmark (see ``benchmark``).
    limit, split, data, scorer, answer, question, target, choices, id, allow_code_execution
        The items and their scorers; see ``benchmark``.
    by
        Columns of the rows by whose values the report groups the items; by default the
        benchmark's.
    seed
        Random seed for sampling; does not change which items are used.
    epochs
        Number of times to answer each item, with new samples each time.
    output
        Folder of the run; by default a new folder in ``runs``.
    resume
        Whether to resume the run in ``output``, if it exists, and retry failed items.
    keep_errors
        With ``resume``, do not retry failed items.
    max_errors
        Number (int) or share (float) of answers that may fail before the evaluation stops. By
        default, it stops after ten consecutive failures with the same cause.
    cache
        Whether to reuse samples from the pool on disk, and to store new samples there.
    on_progress
        Function that is called with the progress of the evaluation.
    progress
        Whether to show a progress bar. By default, it is shown on a terminal and in a notebook.
    track
        Experiment tracker that records the run: ``mlflow``, ``wandb`` or ``trackio``, or one of
        them with a project, such as ``mlflow:PROJECT``.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    UsageError
        A number is invalid. The folder contains a different run, or ``resume`` is not set and the
        folder contains a run.
    TooManyErrorsError
        Too many answers failed. Successful answers are kept in the folder.
    StorageError
        The results cannot be written to the disk.
    """
    return run_sync(_prepared_evaluation(**locals()).run())


async def aevaluate(
    architecture: Architecture | Reference,
    benchmark_ref: BenchmarkChoice,
    *,
    limit: int | None = None,
    seed: int = 0,
    epochs: int = 1,
    split: str = "select",
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    by: str | Sequence[str] | None = None,
    allow_code_execution: bool = False,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> Report:
    """Run ``evaluate`` in the caller's event loop, with the same parameters.

    If the task is cancelled, all running questions stop, and every finished answer is in the run's
    folder; call it again with ``output`` set to that folder and ``resume=True`` to continue.

    Raises
    ------
    ArchonError
        The same errors as ``evaluate``.
    """
    prepared = await asyncio.to_thread(_prepared_evaluation, **locals())
    return await prepared.run()


@dataclass(frozen=True)
class _Prepared:
    """Evaluations that are ready to run, and how to run them."""

    jobs: Sequence[tuple[Evaluation, RunFolder]]
    policy: Mapping[str, Any]
    """Arguments of ``archon.evals.tracked.evaluate`` for all of them."""
    on_progress: OnProgress | None
    shows_progress: bool | None
    cache: bool

    async def run(self) -> Report:
        """Run the evaluations one after another; return the last report."""
        with DrawPool() if self.cache else contextlib.nullcontext() as pool:
            for evaluation, folder in self.jobs:
                title = evaluation.architecture.name
                with progress_bar(title, self.shows_progress) as bar:
                    listen = _listener(title, bar, self.on_progress)
                    report = await tracked.evaluate(
                        evaluation, folder, pool=pool, on_progress=listen, **self.policy
                    )
        return report


def _listener(title: str, bar: Update | None, inner: OnProgress | None) -> OnProgress | None:
    """Return a listener that updates a progress bar and calls another listener."""
    if bar is None:
        return inner

    def on_progress(progress: EvalProgress) -> None:
        errors = f", {progress.num_errors} failed" if progress.num_errors else ""
        bar(f"{title}: {progress.num_right} right{errors}", progress.num_done, progress.num_runs)
        if inner is not None:
            inner(progress)

    return on_progress


def _policy(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the arguments of ``_Prepared`` from those of a call, and return them."""
    track = options.pop("track")
    return {
        "policy": {
            "track": None if track is None else TrackerChoice.parse(track),
            **{name: options.pop(name) for name in ("keep_errors", "max_errors")},
        },
        "on_progress": options.pop("on_progress"),
        "shows_progress": options.pop("progress"),
        "cache": options.pop("cache"),
    }


def _prepared_evaluation(
    architecture: Architecture | Reference,
    benchmark_ref: BenchmarkChoice,
    *,
    output: str | os.PathLike[str] | None,
    resume: bool,
    seed: int,
    epochs: int,
    by: str | Sequence[str] | None,
    **options: Any,
) -> _Prepared:
    """Load what ``evaluate`` needs; ``options`` has the other arguments."""
    policy = _policy(options)
    if not isinstance(architecture, Architecture):
        architecture = load(architecture)
    items = benchmark(benchmark_ref, **options)
    by = [by] if isinstance(by, str) else by
    evaluation = Evaluation.of(architecture, items, seed=seed, epochs=epochs, by=by)
    path = None if output is None else Path(output)
    folder = run_folder(path, architecture.name, resume=resume)
    return _Prepared([(evaluation, folder)], **policy)


def compare(
    architectures: Sequence[Architecture | Reference | Run],
    benchmark: BenchmarkChoice | None = None,
    *,
    models: ModelChoices | None = None,
    cost: Cost = "tokens",
    limit: int | None = None,
    seed: int = 0,
    epochs: int = 1,
    split: str = "select",
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    by: str | Sequence[str] | None = None,
    allow_code_execution: bool = False,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> Comparison:
    """Compare architectures on the same items and samples, with paired tests.

    Parameters
    ----------
    architectures
        At least two architectures, or their names, paths or dicts; or finished runs
        (``read_run``), whose answers are compared without asking anything.
    benchmark
        A benchmark (see the function ``benchmark``); for finished runs, leave it out.
    models
        Models that replace those of the architectures (see ``load``); a role applies to every
        architecture that has it.
    cost
        The cost that a plain vote must not exceed where it is compared at equal cost: ``tokens``,
        ``compute`` or ``seconds``.
    output
        Folder of the comparison, with a run in a subfolder for each architecture; by default, the
        runs are new folders in ``runs``.
    limit, seed, epochs, split, data, scorer, by, allow_code_execution, answer, question, target,
    choices, id, resume, keep_errors, max_errors, cache, on_progress, progress, track
        The same as for ``evaluate``.

    Raises
    ------
    UsageError
        There are fewer than two architectures, or one of the reasons of ``evaluate``.
    SpecError, TooManyErrorsError, StorageError
        See ``evaluate``.
    MissingExtraError
        Scipy is not installed (the extra ``evals``).
    """
    return run_sync(_prepared_comparison(**locals()).run())


async def acompare(
    architectures: Sequence[Architecture | Reference | Run],
    benchmark: BenchmarkChoice | None = None,
    *,
    models: ModelChoices | None = None,
    cost: Cost = "tokens",
    limit: int | None = None,
    seed: int = 0,
    epochs: int = 1,
    split: str = "select",
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    by: str | Sequence[str] | None = None,
    allow_code_execution: bool = False,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> Comparison:
    """Run ``compare`` in the caller's event loop, with the same parameters; see ``aevaluate``.

    Raises
    ------
    ArchonError
        The same errors as ``compare``.
    """
    prepared = await asyncio.to_thread(_prepared_comparison, **locals())
    return await prepared.run()


@dataclass(frozen=True)
class _PreparedComparison:
    planned: PlannedComparison
    prepared: _Prepared
    cost: Cost

    async def run(self) -> Comparison:
        """Run the unfinished evaluations, and compare the runs."""
        try:
            if self.prepared.jobs:
                await self.prepared.run()
        finally:
            self.planned.discard_unused()
        return await asyncio.to_thread(self.planned.result, self.cost)


@dataclass(frozen=True)
class _StoredComparison:
    runs: Sequence[Run]
    cost: Cost

    async def run(self) -> Comparison:
        """Compare finished runs."""
        return await asyncio.to_thread(Comparison.of_runs, self.runs, self.cost)


def _prepared_comparison(
    architectures: Sequence[Architecture | Reference | Run],
    benchmark: BenchmarkChoice | None,
    *,
    models: ModelChoices | None,
    cost: Cost,
    output: str | os.PathLike[str] | None,
    resume: bool,
    seed: int,
    epochs: int,
    by: str | Sequence[str] | None,
    **options: Any,
) -> _PreparedComparison | _StoredComparison:
    """Load what ``compare`` needs; ``options`` has the other arguments."""
    require("scipy", "evals")
    if isinstance(architectures, str | os.PathLike | Architecture | Run):
        raise UsageError("a comparison needs a list of at least two architectures")
    runs = [each for each in architectures if isinstance(each, Run)]
    if runs and (len(runs) < len(architectures) or benchmark is not None):
        raise UsageError(
            "finished runs are compared as they are, without a benchmark and without architectures"
        )
    if runs:
        return _StoredComparison(runs, cost)
    if benchmark is None:
        raise UsageError("a comparison of architectures needs a benchmark")
    policy = _policy(options)
    loaded = _all_loaded(architectures, _by_role(models))
    planned = PlannedComparison.of(
        loaded,
        _benchmark(benchmark, **options),
        None if output is None else Path(output),
        resume=resume,
        seed=seed,
        epochs=epochs,
        by=[by] if isinstance(by, str) else by,
    )
    jobs = list(planned.unfinished(keep_errors=policy["policy"]["keep_errors"]))
    return _PreparedComparison(planned, _Prepared(jobs, **policy), cost)


def _all_loaded(
    architectures: Sequence[Architecture | Reference | Run], models: Mapping[str, ModelChoice]
) -> list[Architecture]:
    """Load those architectures that are not loaded; ``models`` applies only to them."""
    refs = [cast(Reference, each) for each in architectures if not isinstance(each, Architecture)]
    loaded = iter(Loader().architectures(refs, models))
    return [each if isinstance(each, Architecture) else next(loaded) for each in architectures]


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
    max_compute: float | None = None,
    cost: Cost = "tokens",
    stops_early: bool = True,
    warm_start: Sequence[Reference] = (),
    models: ModelChoices | None = None,
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    resume: bool = False,
    cache: bool = True,
    output: str | os.PathLike[str] | None = None,
    on_event: OnStudyEvent | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> SearchResult:
    """Search a space for the best architecture on a benchmark.

    Parameters
    ----------
    space
        A catalogue name, the path of a file, the contents of a file as a dict, or a ``Space``.
    benchmark
        A benchmark (see the function ``benchmark``).
    trials
        Number of architectures to try in total, across all sessions and workers.
    objective
        ``accuracy``, ``tokens``, ``seconds``, or several of them. The first one ranks the
        finalists.
    sampler
        Search algorithm: ``tpe``, ``gp``, ``nsga2``, ``random`` or ``exhaustive``.
    seed
        Random seed of the search algorithm and of the samples; does not change the items.
    limit, final_limit
        Number of items from the *search* split, and from the *select* and *test* splits.
    finalists
        Number of trials to evaluate on *select*. With 0, *select* and *test* are not used.
    max_tokens, max_calls, max_seconds, max_compute
        Upper bounds on the mean per answer. Architectures that are expected to exceed
        ``max_tokens`` or ``max_calls`` are not evaluated.
    stops_early
        Whether to stop unpromising trials early.
    warm_start
        Architectures to try first, which must be in the space.
    models, data, scorer, answer, question, target, choices, id
        Models that replace the models in the space, and items, a scorer, a kind of answer and
        columns that replace the benchmark's; see ``load`` and ``benchmark``.
    storage
        URL of a database; by default, a SQLite file in the study's folder, ``runs/STUDY``.
    study
        Name of the study; by default, a new name made from the space, the benchmark and the time.
    resume
        Whether to resume the study, if it exists.
    cache
        Whether to reuse samples from the pool on disk, and to store new samples there.
    output
        File for the best architecture; by default ``best.json`` in the study's folder.
    on_event
        Function that is called when a trial starts and when it finishes.
    progress
        Whether to show a progress bar. By default, it is shown on a terminal and in a notebook.
    track
        Experiment tracker that records the study and its trials; see ``evaluate``.

    Raises
    ------
    SpecError, GraphError
        A file is invalid, or a configuration of the space is not a valid architecture.
    UsageError
        A number is invalid. The study exists, but ``resume`` is not set. Or the existing study
        belongs to a different search.
    MissingExtraError
        Optuna is not installed (the extra ``search``).
    """
    return run_sync(_prepared_search(**locals()).run())


async def asearch(
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
    max_compute: float | None = None,
    cost: Cost = "tokens",
    stops_early: bool = True,
    warm_start: Sequence[Reference] = (),
    models: ModelChoices | None = None,
    data: str | os.PathLike[str] | None = None,
    scorer: ScorerOption = None,
    answer: AnswerKind | None = None,
    question: str | None = None,
    target: str | None = None,
    choices: str | None = None,
    id: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    resume: bool = False,
    cache: bool = True,
    output: str | os.PathLike[str] | None = None,
    on_event: OnStudyEvent | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> SearchResult:
    """Run ``search`` in the caller's event loop, with the same parameters.

    If the task is cancelled, all running trials stop, and every finished trial and answer is kept;
    call it again with the same ``study`` and ``resume=True`` to continue.

    Raises
    ------
    ArchonError
        The same errors as ``search``.
    """
    prepared = await asyncio.to_thread(_prepared_search, **locals())
    return await prepared.run()


@dataclass(frozen=True)
class _PreparedSearch:
    session: SearchSession
    title: str
    num_trials: int
    on_event: OnStudyEvent | None
    shows_progress: bool | None

    async def run(self) -> SearchResult:
        """Run the trials and the finals."""
        with progress_bar(self.title, self.shows_progress) as bar:
            self.session.listeners = SearchListeners(on_event=self._listener(bar))
            return await self.session.run()

    def _listener(self, bar: Update | None) -> OnStudyEvent | None:
        if bar is None:
            return self.on_event

        def on_event(event: StudyEvent) -> None:
            if isinstance(event, TrialFinished):
                bar(self.title, event.record.number + 1, self.num_trials)
            if self.on_event is not None:
                self.on_event(event)

        return on_event


def _prepared_search(
    space: Reference | Space,
    benchmark: BenchmarkChoice,
    *,
    on_event: OnStudyEvent | None,
    progress: bool | None,
    **options: Any,
) -> _PreparedSearch:
    """Check the arguments of ``search``; ``options`` has those that make a ``SearchConfig``."""
    take = options.pop
    objective, output, track = take("objective"), take("output"), take("track")
    names = objective if isinstance(objective, str) else ",".join(objective)
    limits = SearchLimits(
        *(take(f"max_{name}") for name in ("tokens", "calls", "seconds", "compute"))
    )
    columns = Columns(**{name: take(name) for name in _COLUMNS})
    config = SearchConfig(
        objectives=parse_objectives(names),
        limits=limits,
        columns=columns,
        models=_by_role(take("models")),
        output=None if output is None else Path(output),
        track=None if track is None else TrackerChoice.parse(track),
        **options,
    )
    session, _ = prepare_search(space, benchmark, config)
    return _PreparedSearch(session, session.name, config.trials, on_event, progress)


@overload
def serve(
    served: Servable | Sequence[Servable] | Mapping[str, Servable | CustomModel],
    *,
    models: ModelChoices | None = ...,
    host: str = ...,
    port: int = ...,
    api_key: str | None = ...,
    block: Literal[True] = ...,
    strict: bool = ...,
    drain_seconds: float = ...,
    **limits: float,
) -> None: ...


@overload
def serve(
    served: Servable | Sequence[Servable] | Mapping[str, Servable | CustomModel],
    *,
    models: ModelChoices | None = ...,
    host: str = ...,
    port: int = ...,
    api_key: str | None = ...,
    block: Literal[False],
    strict: bool = ...,
    drain_seconds: float = ...,
    **limits: float,
) -> Server: ...


def serve(
    served: Servable | Sequence[Servable] | Mapping[str, Servable | CustomModel],
    *,
    models: ModelChoices | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    block: bool = True,
    strict: bool = False,
    drain_seconds: float = 30.0,
    **limits: float,
) -> Server | None:
    """Serve architectures and models over an OpenAI-compatible API.

    Parameters
    ----------
    served
        An architecture or a model, or several, by name, path or dict; or name → an architecture or
        any model that ``lm`` takes, such as a function.
    models
        Models that replace those of the architectures (see ``load``).
    host, port
        Address to listen on. Port 0 selects a free port.
    api_key
        The key that clients must send. Required if other machines can reach ``host``.
    block
        Whether to serve until Ctrl-C. If False, return a ``Server`` in a background thread, which
        is also a context manager.
    strict
        Whether to reject requests with unsupported fields.
    drain_seconds
        Maximum time that running requests have at the end.
    limits
        ``max_body_bytes``, ``max_messages``, ``max_request_tokens``, ``max_running``,
        ``max_waiting`` and ``max_seconds``, as for ``archon serve``.

    Raises
    ------
    SpecError, ModelError
        A file is invalid, or a model cannot be opened.
    UsageError
        Two models have the same name, or the address is in use or not allowed.
    MissingExtraError
        The extra ``serve`` is not installed.
    """
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from archon.serve import server
    from archon.serve.app import create_app
    from archon.serve.auth import allowed_names, is_loopback
    from archon.serve.limits import Limits
    from archon.serve.served_models import named_models, served_models

    if api_key is None and not is_loopback(host):
        raise UsageError(f"other machines can reach {host}, so set api_key")
    names = {field.name for field in fields(Limits)}
    if unknown := limits.keys() - names:
        raise UsageError(f"there is no limit {min(unknown)}; the limits are {sorted(names)}")
    loader = Loader()
    if isinstance(served, Mapping) and not ({"nodes", "backend"} & served.keys()):
        lms = named_models(loader, served)
    else:
        is_one = isinstance(served, str | os.PathLike | dict | Architecture)
        refs = cast(Sequence[Servable], [served] if is_one else served)
        lms = served_models(loader, refs, _by_role(models))
    for lm in loader.lms:
        lm.open()
    app = create_app(
        lms,
        limits=Limits(**cast(dict[str, Any], limits)),
        is_strict=strict,
        api_key=api_key,
        host_names=allowed_names(host, api_key),
    )
    if not block:
        return server.Server(app, host, port, drain_seconds=drain_seconds)
    server.run(app, host, port, drain_seconds=drain_seconds, on_end=lambda: _close(loader.lms))
    return None


async def _close(lms: Sequence[LazyLM]) -> None:
    for lm in lms:
        await lm.aclose()


def prepare_search(
    space: Reference | Space, benchmark_ref: BenchmarkChoice, config: SearchConfig
) -> tuple[SearchSession, Loader]:
    """Check a search's arguments; return its session and the loader for its models.

    Raises the same errors as ``search``.
    """
    from archon.study.session import prepare

    space = space if isinstance(space, Space) else Space.load(space)
    loader = Loader()

    def load(spec: ArchitectureSpec) -> Architecture:
        return loader.of_spec(spec, space.base_dir, of_roles(config.models, spec.models))

    def open_split(split: str, limit: int | None) -> Benchmark:
        return benchmark(
            benchmark_ref,
            split=split,
            limit=limit,
            data=config.data,
            scorer=config.scorer,
            **asdict(config.columns),
        )

    return prepare(space, config, load, open_split), loader
