"""Evaluation: many concurrent questions, every finished answer written to disk at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.errors import ScoringError, StorageError, UsageError
from archon.evals.benchmarks import Item, Selection
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.failures import ErrorLimit, MaxErrors
from archon.evals.folder import RunFolder
from archon.evals.journal import JournalWriter, encode
from archon.evals.records import Draw, Record
from archon.evals.report import Report, Tally
from archon.evals.run import Run, read_run
from archon.evals.run_spec import IDENTITY, Answerer, description
from archon.evals.scorers import Score, Scorer, number_exact, scored
from archon.graph.answer import Answer
from archon.graph.architecture import Architecture
from archon.graph.candidates import has_run
from archon.graph.nodes.registry import NODE_TYPES
from archon.lm.pool import DrawPool, pooling
from archon.types import Candidate, Example, Question, Usage

DEFAULT_CONCURRENT_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class EvalProgress:
    """The progress of an evaluation."""

    num_done: int
    """Finished runs of items, those of earlier sessions included."""
    num_runs: int
    """All runs of items: items times epochs."""
    num_right: int
    num_errors: int
    generated_tokens: int
    seconds: float
    """Since this session began."""
    tally: Tally
    """The records behind these figures; it keeps counting."""
    num_kept: int = 0
    """Of ``num_done``, those that earlier sessions finished."""


OnProgress = Callable[[EvalProgress], None]


@dataclass(frozen=True)
class Evaluation:
    """Everything that an architecture is asked, independent of when and where.

    Raises
    ------
    UsageError
        A number makes no sense.
    """

    architecture: Answerer
    items: Sequence[Item]
    scorer: Scorer
    selection: Selection
    """Where the items come from."""
    seed: int = 0
    epochs: int = 1
    examples: tuple[Example, ...] | None = None
    """The benchmark's exemplar pool; None leaves the choice to the architecture."""
    description: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.items:
            raise UsageError("an evaluation needs items and at least one epoch")
        data = description(
            self.architecture,
            self.selection,
            self.items,
            seed=self.seed,
            epochs=self.epochs,
            examples=self.examples,
        )
        object.__setattr__(self, "description", data)

    @classmethod
    def of(
        cls, architecture: Architecture, benchmark: Benchmark, *, seed: int = 0, epochs: int = 1
    ) -> Evaluation:
        """The evaluation of an architecture on the items of a benchmark.

        Raises
        ------
        UsageError
            A number makes no sense.
        GraphError
            The benchmark's exemplar pool is too small for some node's shots.
        """
        architecture.check_examples(benchmark.examples)
        return cls(
            architecture,
            benchmark.items,
            benchmark.scorer,
            benchmark.selection,
            seed=seed,
            epochs=epochs,
            examples=benchmark.examples,
        )

    def is_finished_in(self, folder: RunFolder, *, keep_errors: bool = False) -> bool:
        """Whether the folder holds this run and nothing is left to ask.

        Parameters
        ----------
        keep_errors
            Failed answers are not asked for again.

        Raises
        ------
        UsageError
            It holds another run; lists where the two differ.
        """
        if not folder.holds_run:
            return False
        folder.check_identity(self.description, IDENTITY)
        run = read_run(folder.path)
        return sum(_is_done(entry.record, keep_errors) for entry in run.entries()) == run.num_runs


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
) -> Report:
    """Ask what is missing in the folder, and report how many answers are right.

    An item whose run fails is recorded with its error and counts as wrong. If the
    evaluation stops, what is finished stays in the folder, and the same call continues from there:
    it asks what is missing, and what failed once more. A new record of an item replaces the failed
    one when it is on the disk.

    Parameters
    ----------
    pool
        The pool of earlier samples; None makes all anew.
    num_items
        Ask the first ``num_items`` items only; another call continues from there.
    keep_errors
        Leave failed items as they are recorded.
    max_errors
        How many answers may fail before the evaluation stops.
    on_progress
        Called after each finished run, in the event loop's thread.

    Raises
    ------
    UsageError
        The folder holds another run, or another process is writing it.
    TooManyErrorsError
        Too many answers failed.
    StorageError
        The disk rejects what is finished.
    """
    if max_concurrent_questions < 1:
        raise UsageError("an evaluation needs at least one question at once")
    with folder.locked():
        if folder.holds_run:
            folder.check_identity(evaluation.description, IDENTITY)
        else:
            folder.write_description({**evaluation.description, "id": uuid.uuid4().hex})
        run = read_run(folder.path)
        try:
            session = _EvalSession(
                evaluation,
                run,
                pool,
                num_items=num_items,
                keep_errors=keep_errors,
                max_errors=max_errors,
                on_progress=on_progress,
            )
            await session.run(max_concurrent_questions)
        except BaseException:
            with contextlib.suppress(StorageError):  # the journal has it all
                folder.write_report(run.report().to_json())
            raise
        report = run.report()
        folder.write_report(report.to_json())
        return report


class _EvalSession:
    """One session of work at a run: the items that are left, and where their answers go."""

    def __init__(
        self,
        evaluation: Evaluation,
        run: Run,
        pool: DrawPool | None,
        *,
        num_items: int | None,
        keep_errors: bool,
        max_errors: MaxErrors,
        on_progress: OnProgress | None,
    ) -> None:
        self._evaluation, self._run, self._pool = evaluation, run, pool
        self._on_progress = on_progress
        self._specification: str = evaluation.description["digest"]
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
        self._error_limit = ErrorLimit(max_errors, self._num_runs)

    async def run(self, max_concurrent_questions: int) -> None:
        """Ask everything that is left, up to ``max_concurrent_questions`` at once."""
        if not self._todo:
            return
        if self._num_kept and self._on_progress is not None:
            self._on_progress(self._progress(0.0))
        waiting, started = iter(self._todo), time.perf_counter()
        writer = JournalWriter(RunFolder(self._run.path).journal)

        async def work() -> None:
            for item, epoch in waiting:
                record, trace = await self._ask(item, epoch)
                seconds = time.perf_counter() - started
                line = encode(self._number, seconds, record, trace)
                await asyncio.wrap_future(writer.append(line))
                self._tally.add(record)
                if self._on_progress is not None:
                    self._on_progress(self._progress(seconds))
                self._error_limit.note(record.error)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(max_concurrent_questions, len(self._todo))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            writer.close()

    async def _ask(self, item: Item, epoch: int) -> tuple[Record, Mapping[str, Any] | None]:
        """The record of one run of an item, and its trace if it gave an answer."""
        evaluation, started = self._evaluation, time.perf_counter()
        kind = evaluation.selection.card.answer
        question = Question(item.question, answer=kind, examples=evaluation.examples)
        try:
            with pooling(self._pool, f"{self._run.description['id']}/{item.id}/{epoch}"):
                answer = await evaluation.architecture.answer(
                    question, seed=evaluation.seed, run=epoch
                )
            text = answer.text
            if answer.candidates:
                text = _text(answer.candidates[0], evaluation.scorer)
            score, draws = self._score(item, answer, text)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # A task below was cancelled, but not by us: this is a failure like any other.
            return self._failure(item, epoch, error, time.perf_counter() - started), None
        except Exception as error:
            return self._failure(item, epoch, error, time.perf_counter() - started), None
        return self._success(item, epoch, answer, score, draws), answer.trace.to_json()

    def _score(
        self, item: Item, answer: Answer, text: str
    ) -> tuple[Score, dict[str, tuple[Draw, ...]]]:
        """The score of the answer and those of every node's texts.

        Raises
        ------
        ScoringError
            The scorer fails or gives no score; the error names the item.
        """
        scorer = self._evaluation.scorer
        try:
            score = scored(scorer, answer.value, text, item.target)
            return score, _draws(answer, scorer, item.target)
        except ScoringError as error:
            raise ScoringError(f"item {item.id!r}: {error}") from error

    def _success(
        self,
        item: Item,
        epoch: int,
        answer: Answer,
        score: Score,
        draws: Mapping[str, tuple[Draw, ...]],
    ) -> Record:
        return self._record(
            item,
            epoch,
            text=answer.text,
            value=score.answer,
            score=score.value,
            explanation=score.explanation,
            cost_tokens=answer.cost_tokens,
            usage=answer.usage,
            seconds=answer.seconds,
            error=None,
            samples=answer.num_samples,
            failed_samples=answer.num_failed_samples,
            draws=draws,
            limited_by=answer.limited_by,
            notes=answer.notes,
            num_reasoning_cut_off=answer.trace.num_reasoning_cut_off,
        )

    def _failure(self, item: Item, epoch: int, error: BaseException, seconds: float) -> Record:
        error = _first(error)
        return self._record(
            item,
            epoch,
            text=None,
            value=None,
            score=0,
            explanation="failed",
            cost_tokens=0,
            usage=Usage(),
            seconds=seconds,
            error=f"{type(error).__name__}: {error}",
        )

    def _record(self, item: Item, epoch: int, **outcome: Any) -> Record:
        return Record(
            specification=self._specification,
            item=item.id,
            epoch=epoch,
            question=item.question,
            target=item.target,
            **outcome,
        )

    def _progress(self, seconds: float) -> EvalProgress:
        return EvalProgress(
            num_done=self._tally.num_runs,
            num_runs=self._num_runs,
            num_right=self._tally.right.total(),
            num_errors=self._tally.num_errors,
            generated_tokens=self._tally.usage.generated_tokens,
            seconds=seconds,
            tally=self._tally,
            num_kept=self._num_kept,
        )


def _draws(answer: Answer, scorer: Scorer, target: str) -> dict[str, tuple[Draw, ...]]:
    """The samples of each node, scored as answers; programs are scored by their results."""
    ran = {
        c.id: c
        for node in answer.trace.nodes.values()
        if NODE_TYPES[node.type].effects.values
        for c in node.outputs
    }
    draws: dict[str, tuple[Draw, ...]] = {}
    for name, node in answer.trace.nodes.items():
        written = (ran.get(c.id, c) for c in node.outputs if c.id.node == name)
        scores = [scored(scorer, c.value, _text(c, scorer), target) for c in written]
        if scores:
            draws[name] = tuple(Draw(score.answer, score.value) for score in scores)
    return draws


def _text(candidate: Candidate, scorer: Scorer) -> str:
    """The text that a scorer may read: empty where the graph read no value from it, so that numbers
    in a program without a result do not count."""
    has_none = has_run(candidate) or scorer is number_exact
    return "" if candidate.value is None and has_none else candidate.text


def _is_done(record: Record, keep_errors: bool) -> bool:
    """Whether a recorded item is not to be asked again."""
    return keep_errors or record.error is None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
