"""Evaluate an architecture: ask a benchmark's items concurrently, and store each answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.errors import ArchonError, UsageError
from archon.evals.benchmarks import Item, Selection
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.energy import EnergyMeter
from archon.evals.failures import ErrorLimit, MaxErrors
from archon.evals.folder import RunFolder
from archon.evals.groups import check_columns
from archon.evals.growth import continued
from archon.evals.journal import JournalWriter, encode
from archon.evals.records import Record
from archon.evals.report import Report, Tally
from archon.evals.run import Run, read_run
from archon.evals.run_spec import Answerer, HasWeights, description
from archon.evals.scorers import Scorer
from archon.evals.scoring import ItemScoring
from archon.graph.answer import Answer
from archon.graph.architecture import Architecture
from archon.lm.pool import DrawPool, pooling
from archon.types import Example, Question, Usage

DEFAULT_CONCURRENT_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class EvalProgress:
    """The progress of an evaluation. All counts include earlier sessions."""

    num_done: int
    """Number of answers and failures."""
    num_runs: int
    """Number of answers in the complete run: items times epochs."""
    num_right: int
    num_errors: int
    generated_tokens: int
    seconds: float
    """Time since the start of this session."""
    tally: Tally
    """The tally of the records. The evaluation continues to update this object."""
    num_kept: int = 0
    """Number of answers in ``num_done`` that are from earlier sessions."""


OnProgress = Callable[[EvalProgress], None]


@dataclass(frozen=True)
class Evaluation:
    """The definition of an evaluation: an architecture, the items to ask, and the scorer.

    Raises
    ------
    UsageError
        There are no items, or less than one epoch; or no item has a column of ``by``.
    """

    architecture: Answerer
    items: Sequence[Item]
    scorer: Scorer
    selection: Selection
    """The benchmark from which the items were selected."""
    seed: int = 0
    epochs: int = 1
    examples: tuple[Example, ...] | None = None
    """The benchmark's exemplars. If None, the pool named in a prompt or the default pool is
    used."""
    other_scorers: Sequence[Scorer] = ()
    """Scorers whose scores become metrics of the report."""
    by: Sequence[str] = ()
    """Columns of the items' rows by which the report groups the results."""
    description: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.items:
            raise UsageError(
                "an evaluation needs at least one item and one epoch, not "
                f"{len(self.items)} items and {self.epochs} epochs"
            )
        check_columns(self.by, [item.metadata for item in self.items])
        data = description(
            self.architecture,
            self.selection,
            self.items,
            seed=self.seed,
            epochs=self.epochs,
            examples=self.examples,
            by=self.by,
            reads_rows=any(scorer.type.reads_row for scorer in self.scorers),
        )
        object.__setattr__(self, "description", data)

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        benchmark: Benchmark,
        *,
        seed: int = 0,
        epochs: int = 1,
        by: Sequence[str] | None = None,
    ) -> Evaluation:
        """Define the evaluation of an architecture on the items of a benchmark.

        Parameters
        ----------
        by
            Columns of the items' rows by which the report groups the results; None for the
            benchmark's.

        Raises
        ------
        UsageError
            There are no items, or less than one epoch.
        GraphError
            The benchmark's exemplar pool has fewer examples than a node's ``shots``.
        """
        architecture.check_examples(benchmark.examples)
        return cls(
            architecture,
            benchmark.items,
            benchmark.scorer,
            benchmark.selection,
            seed,
            epochs,
            benchmark.examples,
            benchmark.other_scorers,
            tuple(benchmark.selection.card.by) if by is None else tuple(by),
        )

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """All scorers; the first decides the accuracy."""
        return (self.scorer, *self.other_scorers)

    def is_finished_in(self, folder: RunFolder, *, keep_errors: bool = False) -> bool:
        """Return whether the folder contains a complete run of this evaluation.

        A run of only the first items is not complete.

        Parameters
        ----------
        keep_errors
            Whether failures count as finished. If False, failed items count as unanswered.

        Raises
        ------
        UsageError
            The folder contains another run; the error lists the differences.
        """
        if not folder.holds_run:
            return False
        continued(folder, self.description, self.items)
        entries = read_run(folder.path).entries()
        num_done = sum(_is_done(entry.record, keep_errors) for entry in entries)
        return num_done == len(self.items) * self.epochs


async def evaluate(
    evaluation: Evaluation,
    folder: RunFolder,
    *,
    pool: DrawPool | None = None,
    max_concurrent_questions: int = DEFAULT_CONCURRENT_QUESTIONS,
    num_items: int | None = None,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    on_progress: OnProgress | None = None,
    command: Mapping[str, Any] | None = None,
) -> Report:
    """Ask all items for which the folder has no answer, and return the report of the run.

    If the run in the folder has only the first items, it continues with the others.

    If an item fails, its error is recorded, and it counts as wrong. If the evaluation is
    interrupted, call this again with the same folder to ask the missing items and retry the failed
    items. The new record of an item then replaces the record of its failure.

    Parameters
    ----------
    pool
        The pool of stored samples to reuse. If None, all samples are generated.
    num_items
        Ask only the first ``num_items`` items. A later call can ask more.
    keep_errors
        Whether to keep failed items as they are instead of retrying them.
    max_errors
        Number or share of failed answers above which the evaluation stops (``MaxErrors``).
    on_progress
        Called in the event loop's thread after each answer or failure.
    command
        Keys for ``run.json`` that are not part of the run's identity: the command that continues it
        (``run_spec.COMMAND``). The command of the latest session replaces that of earlier ones.

    Raises
    ------
    UsageError
        The folder contains another run, or another process is writing to it.
    TooManyErrorsError
        Too many answers failed.
    StorageError
        An answer cannot be written to disk.
    """
    if max_concurrent_questions < 1:
        raise UsageError(
            f"max_concurrent_questions must be at least 1, not {max_concurrent_questions}"
        )
    with folder.locked():
        _describe(folder, evaluation, command or {})
        run = read_run(folder.path)
        try:
            session = _EvalSession(evaluation, run, pool, num_items, keep_errors, on_progress)
            await session.run(max_concurrent_questions, max_errors)
        except BaseException:
            with contextlib.suppress(ArchonError):  # the journal has every answer
                folder.write_report(run.report(evaluation.by).to_json())
                _record_weights(evaluation.architecture, folder)
            raise
        report = run.report(evaluation.by)
        folder.write_report(report.to_json())
        return report


def _describe(folder: RunFolder, evaluation: Evaluation, command: Mapping[str, Any]) -> None:
    """Write ``run.json`` if the folder has none or if it changes."""
    wanted = evaluation.description
    if not folder.holds_run:
        folder.write_description({**wanted, "id": uuid.uuid4().hex, **command})
        return
    new = {**continued(folder, wanted, evaluation.items), **command}
    if new != folder.read_description():
        folder.write_description(new)


def _check_weights(architecture: Answerer, folder: RunFolder) -> None:
    """Open the models that have answered before, and compare their weights; record new ones."""
    if isinstance(architecture, HasWeights):
        folder.check_weights(architecture.weights_digests(folder.weights()))


def _record_weights(architecture: Answerer, folder: RunFolder) -> None:
    """Record the weights of models that were opened during the session."""
    if isinstance(architecture, HasWeights):
        folder.check_weights(architecture.weights_digests())


class _EvalSession:
    """A session of an evaluation, which asks the remaining items and stores their answers."""

    def __init__(
        self,
        evaluation: Evaluation,
        run: Run,
        pool: DrawPool | None,
        num_items: int | None,
        keep_errors: bool,
        on_progress: OnProgress | None,
    ) -> None:
        self._evaluation, self._run, self._pool = evaluation, run, pool
        self._on_progress = on_progress
        self._tally, self._number = Tally(), 1
        done: set[tuple[str, int]] = set()
        for entry in run.entries():
            self._number = max(self._number, entry.session + 1)
            if _is_done(entry.record, keep_errors):
                self._tally.add(entry.record)
                done.add((entry.record.item, entry.record.epoch))
        epochs, items = range(evaluation.epochs), evaluation.items[:num_items]
        self._num_runs, self._num_kept = len(items) * len(epochs), len(done)
        self._todo = [(i, epoch) for epoch in epochs for i in items if (i.id, epoch) not in done]

    async def run(self, max_concurrent_questions: int, max_errors: MaxErrors) -> None:
        """Ask the remaining items, up to ``max_concurrent_questions`` at the same time."""
        error_limit = ErrorLimit(max_errors, self._num_runs)
        if not self._todo:
            return
        architecture, folder = self._evaluation.architecture, RunFolder(self._run.path)
        await asyncio.to_thread(_check_weights, architecture, folder)
        if self._num_kept:
            self._report_progress(0.0)
        waiting, started = iter(self._todo), time.perf_counter()
        writer, energy = JournalWriter(folder.journal), EnergyMeter()

        async def work() -> None:
            for item, epoch in waiting:
                record, trace = await self._ask(item, epoch)
                seconds = time.perf_counter() - started
                line = encode(self._number, seconds, record, trace, energy.joules())
                await asyncio.wrap_future(writer.append(line))
                self._tally.add(record)
                self._report_progress(seconds)
                error_limit.note(record.error)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(max_concurrent_questions, len(self._todo))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            writer.close()
        _record_weights(architecture, folder)

    async def _ask(self, item: Item, epoch: int) -> tuple[Record, Mapping[str, Any] | None]:
        """Ask one item; return its record, and its trace (None if it failed)."""
        evaluation, started = self._evaluation, time.perf_counter()
        answer: Answer | None = None
        kind = evaluation.selection.card.answer
        scoring = ItemScoring(item, evaluation.scorers, evaluation.seed)
        question = Question(
            item.question,
            answer=kind,
            examples=evaluation.examples,
            choices=scoring.choices,
            ending=evaluation.selection.card.ending,
        )
        try:
            with pooling(self._pool, f"{self._run.description['id']}/{item.id}/{epoch}"):
                answer = await evaluation.architecture.answer(
                    question, seed=evaluation.seed, run=epoch
                )
                result = _answer_fields(answer) | await scoring.record_fields(answer)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Otherwise a task of the architecture was cancelled: a failure like any other.
            result, answer = _failure(error, time.perf_counter() - started), None
        record = Record(
            specification=evaluation.description["digest"],
            item=item.id,
            epoch=epoch,
            question=item.question,
            target=scoring.target,
            targets=scoring.targets,
            choices=scoring.choices,
            metadata=item.metadata,
            **result,
        )
        return record, None if answer is None else answer.trace.to_json()

    def _report_progress(self, seconds: float) -> None:
        if self._on_progress is None:
            return
        progress = EvalProgress(
            num_done=self._tally.num_runs,
            num_runs=self._num_runs,
            num_right=self._tally.right.total(),
            num_errors=self._tally.num_errors,
            generated_tokens=self._tally.usage.generated_tokens,
            seconds=seconds,
            tally=self._tally,
            num_kept=self._num_kept,
        )
        self._on_progress(progress)


def _answer_fields(answer: Answer) -> dict[str, Any]:
    """Return the fields of a record that do not depend on a scorer."""
    same = ("text", "cost_tokens", "usage", "usage_by_model", "compute", "seconds", "limited_by")
    return {
        **{name: getattr(answer, name) for name in same},
        "notes": answer.notes,
        "error": None,
        "samples": answer.num_samples,
        "failed_samples": answer.num_failed_samples,
        "num_reasoning_cut_off": answer.trace.num_reasoning_cut_off,
    }


def _failure(error: BaseException, seconds: float) -> dict[str, Any]:
    """Return the record fields of a failure."""
    error = _first(error)
    return {
        "text": None,
        "value": None,
        "score": 0,
        "explanation": "failed",
        "cost_tokens": 0,
        "usage": Usage(),
        "seconds": seconds,
        "error": f"{type(error).__name__}: {error}",
    }


def _is_done(record: Record, keep_errors: bool) -> bool:
    """Return whether the item of a record does not have to be asked again."""
    return keep_errors or record.error is None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
