"""Evaluation: many questions in flight, every finished answer on disk at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon.errors import UsageError
from archon.evals.benchmarks import Item, Selection
from archon.evals.description import Answerer, description, headings
from archon.evals.folder import Draw, Record, RunFolder
from archon.evals.report import Report, Tally
from archon.evals.scorers import Score, Scorer
from archon.graph.architecture import Answer
from archon.types import AnswerKind, Example, Question, Usage

DEFAULT_CONCURRENT_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is."""

    num_done: int
    """Finished runs of items, those of earlier sittings included."""
    num_runs: int
    """All runs of items: items times epochs."""
    num_right: int
    num_errors: int
    generated_tokens: int
    seconds: float
    """Of this sitting."""
    tally: Tally
    """What all of this is counted from, and the interval of the accuracy; it goes on counting."""
    num_kept: int = 0
    """Of ``num_done``, those that earlier sittings had finished."""


OnProgress = Callable[[Progress], None]


async def evaluate(
    architecture: Answerer,
    items: Sequence[Item],
    scorer: Scorer,
    *,
    selection: Selection,
    folder: RunFolder,
    seed: int = 0,
    epochs: int = 1,
    max_concurrent_questions: int = DEFAULT_CONCURRENT_QUESTIONS,
    examples: tuple[Example, ...] | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Ask every item ``epochs`` times and report how many answers were right.

    An item whose run fails is recorded with its error and counts as wrong. When the evaluation is
    cancelled, what is finished stays in the folder, with a report on it.

    Parameters
    ----------
    selection : where the items come from; it goes into the run's folder and the report.
    examples : the benchmark's exemplar pool; None leaves the choice to the architecture.
    on_progress : told after each finished run, in the event loop's thread.

    Raises
    ------
    UsageError : a number makes no sense, or the folder cannot be written.
    """
    if epochs < 1 or max_concurrent_questions < 1 or not items:
        raise UsageError("an evaluation needs items, at least one epoch and one question at once")
    folder.write_run(
        {
            **description(architecture, selection),
            "seed": seed,
            "epochs": epochs,
            "max_concurrent_questions": max_concurrent_questions,
        }
    )
    asker = _Asker(architecture, scorer, selection.card.answer, examples, seed)
    todo = [(item, epoch) for epoch in range(epochs) for item in items]
    started, interrupted, tally = time.perf_counter(), True, Tally()
    with folder.writer() as writer:

        def keep(record: Record, trace: Mapping[str, Any] | None) -> None:
            writer.append(record, trace)
            tally.add(record)
            if on_progress is not None:
                on_progress(_progress(tally, len(todo), time.perf_counter() - started))

        try:
            await _ask_all(asker, todo, max_concurrent_questions, keep)
            interrupted = False
        finally:
            report = Report(
                **headings(architecture, selection),
                seed=seed,
                epochs=epochs,
                run=str(folder.path),
                interrupted=interrupted,
                **tally.results(time.perf_counter() - started),
            )
            folder.write_report(report.to_json())
    return report


Keep = Callable[[Record, Mapping[str, Any] | None], None]


async def _ask_all(
    asker: _Asker, todo: Sequence[tuple[Item, int]], max_concurrent_questions: int, keep: Keep
) -> None:
    """Ask everything that is to do, at most so many questions at once."""
    waiting = iter(todo)

    async def work() -> None:
        for item, epoch in waiting:
            keep(*await asker.ask(item, epoch))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(max_concurrent_questions, len(todo))):
                group.create_task(work())
    except ExceptionGroup as errors:
        raise _first(errors) from errors


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks one item and scores what comes of it."""

    architecture: Answerer
    scorer: Scorer
    kind: AnswerKind
    examples: tuple[Example, ...] | None
    seed: int

    async def ask(self, item: Item, epoch: int) -> tuple[Record, Mapping[str, Any] | None]:
        """The record of one run of an item, and its trace if it gave an answer."""
        started = time.perf_counter()
        question = Question(item.question, answer=self.kind, examples=self.examples)
        try:
            answer = await self.architecture.answer(question, seed=self.seed, run=epoch)
            score = self.scorer(answer.value, answer.text, item.target)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something below was cancelled that nobody had asked to cancel: a failure like others.
            return _failure(item, epoch, error, time.perf_counter() - started), None
        except Exception as error:
            return _failure(item, epoch, error, time.perf_counter() - started), None
        draws = self._draws(answer, item.target)
        return _success(item, epoch, answer, score, draws), answer.trace.to_json()

    def _draws(self, answer: Answer, target: str) -> dict[str, tuple[Draw, ...]]:
        """What each node wrote, scored as if it were the answer."""
        draws: dict[str, tuple[Draw, ...]] = {}
        for name, node in answer.trace.nodes.items():
            written = (candidate for candidate in node.outputs if candidate.id.node == name)
            scores = [self.scorer(c.value, c.text, target) for c in written]
            if scores:
                draws[name] = tuple(Draw(score.answer, score.value) for score in scores)
        return draws


def _success(
    item: Item, epoch: int, answer: Answer, score: Score, draws: Mapping[str, tuple[Draw, ...]]
) -> Record:
    return Record(
        item=item.id,
        epoch=epoch,
        question=item.question,
        target=item.target,
        text=answer.text,
        value=score.answer,
        score=score.value,
        explanation=score.explanation,
        cost_tokens=answer.cost_tokens,
        usage=answer.usage,
        seconds=answer.seconds,
        error=None,
        draws=draws,
    )


def _failure(item: Item, epoch: int, error: BaseException, seconds: float) -> Record:
    error = _first(error)
    return Record(
        item=item.id,
        epoch=epoch,
        question=item.question,
        target=item.target,
        text=None,
        value=None,
        score=0,
        explanation="failed",
        cost_tokens=0,
        usage=Usage(),
        seconds=seconds,
        error=f"{type(error).__name__}: {error}",
    )


def _progress(tally: Tally, num_runs: int, seconds: float) -> Progress:
    return Progress(
        num_done=tally.num_runs,
        num_runs=num_runs,
        num_right=tally.right.total(),
        num_errors=tally.num_errors,
        generated_tokens=tally.usage.generated_tokens,
        seconds=seconds,
        tally=tally,
    )
