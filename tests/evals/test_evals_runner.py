"""Evaluations of fakes: every item has a record, whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import (
    CARD,
    NUMBER_EXACT,
    SELECTION,
    USAGE,
    FakeArchitecture,
    echo,
    make_items,
)

import archon
from archon import api
from archon.answers import READING_VERSION
from archon.errors import LMError, ScoringError, UsageError
from archon.evals.benchmarks import Selection
from archon.evals.folder import RunFolder
from archon.evals.records import Record
from archon.evals.report import Report
from archon.evals.run import read_run
from archon.evals.runner import EvalProgress, Evaluation, OnProgress, evaluate
from archon.evals.scorers import Scorer, custom_scorer, find_scorer, plain_scorer
from archon.graph.loading import Loader
from archon.lm.pool import DrawPool
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Example, Question


async def run(
    architecture: FakeArchitecture,
    count: int,
    path: Path,
    *,
    scorer: Scorer = NUMBER_EXACT,
    selection: Selection = SELECTION,
    max_concurrent_questions: int = 64,
    on_progress: OnProgress | None = None,
    **draws: Any,
) -> Report:
    evaluation = Evaluation(architecture, make_items(count), scorer, selection, **draws)
    return await evaluate(
        evaluation,
        RunFolder.resume(path),
        max_concurrent_questions=max_concurrent_questions,
        on_progress=on_progress,
    )


def records_of(path: Path) -> list[Record]:
    return read_run(path).records()


def report_file(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((path / "report.json").read_text(encoding="utf-8"))
    return data


def right_below(limit: int) -> FakeArchitecture:
    """Right on the items before ``item-limit``."""
    return FakeArchitecture(
        lambda question, run: question.text if int(question.text[8:-1]) < limit else "-1"
    )


async def test_the_report_has_accuracy_and_cost(tmp_path: Path) -> None:
    report = await run(right_below(6), 8, tmp_path, seed=3)
    assert (report.architecture, report.benchmark, report.split) == ("fake", "sums", "select")
    assert (report.num_items, report.num_runs, report.num_errors) == (8, 8, 0)
    assert report.accuracy == 6 / 8
    assert report.accuracy_interval == pytest.approx((0.4093, 0.9285), abs=1e-4)
    assert (report.cost_tokens, report.total_cost_tokens) == (15, 120)
    assert report.usage == sum([USAGE] * 7, USAGE)
    assert report.tokens_per_second == pytest.approx(32 / report.wall_seconds)
    assert (report.seed, report.run, report.interrupted) == (3, str(tmp_path), False)
    assert report.models == {"solver": "scripted", "inner": "single", "own": None}


async def test_the_reports_json_has_the_promised_keys_and_is_in_the_folder(tmp_path: Path) -> None:
    report = await run(right_below(1), 2, tmp_path)
    data = report_file(tmp_path)
    assert data == json.loads(json.dumps(report.to_json()))
    assert {
        "architecture", "benchmark", "split", "num_items", "num_errors", "accuracy",
        "accuracy_interval", "cost_tokens", "usage", "wall_seconds", "tokens_per_second", "seed",
        "run",
    } <= set(data)  # fmt: skip
    assert {
        "prompt_tokens", "cached_tokens", "completion_tokens", "generated_tokens", "calls"
    } <= set(data["usage"])  # fmt: skip


async def test_the_folder_describes_the_run(tmp_path: Path) -> None:
    selection = Selection(CARD, "test", 2, Path("mine.jsonl"))
    await run(right_below(9), 2, tmp_path, selection=selection, seed=5, epochs=2)
    data = read_run(tmp_path).description
    specification = data["specification"]
    assert specification["architecture"]["nodes"]["draft"]["samples"] == 1
    assert specification["models"]["solver"]["backend"] == "scripted"
    assert specification["benchmark"]["name"] == "sums"
    assert (data["items"]["split"], data["limit"], data["data"]) == ("test", 2, "mine.jsonl")
    assert (specification["seed"], data["epochs"], data["items"]["count"]) == (5, 2, 2)
    assert data["versions"]["python"]
    assert specification["reading"] == READING_VERSION
    assert data["machine"]["platform"]
    assert data["start_time"].endswith("+00:00")


async def test_every_answer_has_a_record_and_a_trace(tmp_path: Path) -> None:
    await run(right_below(2), 3, tmp_path)
    records = records_of(tmp_path)
    assert [record.item for record in records] == ["item-0", "item-1", "item-2"]
    assert [record.score for record in records] == [1, 1, 0]
    assert records[2].question == "What is 2?"
    assert (records[2].target, records[2].text, records[2].value) == ("2", "-1", "-1")
    assert "'-1' is not '2'" in records[2].explanation
    traces = {entry.record.item: entry.trace for entry in read_run(tmp_path).entries()}
    assert traces == {
        "item-0": {"said": "What is 0?"}, "item-1": {"said": "What is 1?"}, "item-2": {"said": "-1"}
    }  # fmt: skip


async def test_a_failing_item_is_recorded_and_counts_as_wrong(tmp_path: Path) -> None:
    def reply(question: Question, run: int) -> str | BaseException:
        if "3" in question.text:
            return ExceptionGroup("two", [LMError("server gone"), LMError("also")])
        return ValueError("ours") if "2" in question.text else question.text

    report = await run(FakeArchitecture(reply), 4, tmp_path)
    assert (report.num_items, report.num_errors, report.accuracy) == (4, 2, 0.5)
    assert report.cost_tokens == 15
    errors = {record.item: record.error for record in records_of(tmp_path) if record.error}
    assert errors == {"item-3": "LMError: server gone", "item-2": "ValueError: ours"}


async def test_an_answer_that_cannot_be_scored_is_a_failure(tmp_path: Path) -> None:
    def scorer(text: str, target: str) -> float:
        raise ScoringError("no way to tell")

    report = await run(FakeArchitecture(echo), 2, tmp_path, scorer=custom_scorer(scorer, "number"))
    assert (report.num_errors, report.accuracy) == (2, 0)


async def test_a_cancellation_inside_the_architecture_is_a_failure(tmp_path: Path) -> None:
    architecture = FakeArchitecture(lambda question, run: asyncio.CancelledError())
    report = await run(architecture, 5, tmp_path, max_concurrent_questions=2)
    assert (report.num_items, report.num_errors, report.interrupted) == (5, 5, False)


async def test_questions_overlap_up_to_the_limit(tmp_path: Path) -> None:
    architecture = FakeArchitecture(echo)
    await run(architecture, 20, tmp_path, max_concurrent_questions=4)
    assert architecture.most_running == 4


async def test_epochs_ask_every_item_again_as_another_run(tmp_path: Path) -> None:
    architecture = FakeArchitecture(lambda question, run: question.text if run else "-1")
    report = await run(architecture, 3, tmp_path, seed=7, epochs=4)
    assert Counter(index for _, _, index in architecture.asked) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert {seed for _, seed, _ in architecture.asked} == {7}
    assert (report.num_items, report.num_runs, report.accuracy) == (3, 12, 0.75)


async def test_the_question_carries_the_kind_of_answer_and_the_examples(tmp_path: Path) -> None:
    examples = (Example("1 + 1?", "", "2"),)
    selection = Selection(CARD.model_copy(update={"answer": "text"}))
    architecture = FakeArchitecture(echo)
    await run(architecture, 1, tmp_path, selection=selection, examples=examples)
    assert architecture.asked[0][0] == Question("What is 0?", answer="text", examples=examples)


async def test_progress_is_reported_after_every_answer(tmp_path: Path) -> None:
    events: list[EvalProgress] = []
    await run(right_below(2), 3, tmp_path, epochs=2, on_progress=events.append)
    assert [progress.num_done for progress in events] == [1, 2, 3, 4, 5, 6]
    assert (events[-1].num_runs, events[-1].num_right, events[-1].generated_tokens) == (6, 4, 24)
    assert events[-1].tally.accuracy == pytest.approx(2 / 3)
    assert events[-1].num_kept == 0


async def test_a_cancelled_evaluation_keeps_what_is_finished(tmp_path: Path) -> None:
    forever = asyncio.Event()
    finished = asyncio.Event()

    class Stuck(FakeArchitecture):
        async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Any:
            if len(self.asked) == 3:
                await forever.wait()
            return await super().answer(question, seed=seed, run=run)

    def on_progress(progress: EvalProgress) -> None:
        if progress.num_done == 3:
            finished.set()

    options = {"max_concurrent_questions": 1, "on_progress": on_progress}
    task = asyncio.create_task(run(Stuck(echo), 9, tmp_path, **options))
    await finished.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(records_of(tmp_path)) == 3
    report = report_file(tmp_path)
    assert (report["interrupted"], report["num_items"], report["accuracy"]) == (True, 3, 1.0)
    assert len(asyncio.all_tasks()) == 1


async def test_cancelled_before_the_first_answer_the_report_has_no_accuracy(tmp_path: Path) -> None:
    started = asyncio.Event()

    class Stuck(FakeArchitecture):
        async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Any:
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run(Stuck(echo), 9, tmp_path))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = report_file(tmp_path)
    assert (report["num_items"], report["accuracy"], report["accuracy_interval"]) == (0, None, None)


async def test_an_error_outside_the_items_ends_the_run_unchanged(tmp_path: Path) -> None:
    def on_progress(progress: EvalProgress) -> None:
        raise UsageError("no more")

    options: dict[str, Any] = {"max_concurrent_questions": 4, "on_progress": on_progress}
    with pytest.raises(UsageError, match="no more"):
        await run(FakeArchitecture(echo), 40, tmp_path, **options)
    assert report_file(tmp_path)["interrupted"]
    assert read_run(tmp_path).report().interrupted


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"max_concurrent_questions": 0}, {"count": 0}], ids=str
)
def test_an_evaluation_of_nothing_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    options = {"count": 1, **options}
    with pytest.raises(
        UsageError, match=r"an evaluation needs at least|max_concurrent_questions must be"
    ):
        asyncio.run(run(FakeArchitecture(echo), path=tmp_path, **options))
    assert not list(tmp_path.iterdir())


async def test_samples_come_from_the_pool(tmp_path: Path) -> None:
    architecture = archon.load("self-consistency", models={"solver": "scripted"})
    items = api.benchmark("smoke", limit=3)
    with DrawPool(tmp_path / "pool") as pool:
        first = await evaluate(
            Evaluation.of(architecture, items), RunFolder.create(tmp_path / "1", "x"), pool=pool
        )
        again = await evaluate(
            Evaluation.of(architecture, items), RunFolder.create(tmp_path / "2", "x"), pool=pool
        )
        single = archon.load("single", models={"solver": "scripted"})
        asked = Evaluation.of(single, items, epochs=9)
        more = await evaluate(asked, RunFolder.create(tmp_path / "3", "x"), pool=pool)
    assert first.usage.generated_tokens == first.usage.completion_tokens > 0
    assert again.usage == replace(
        first.usage, generated_tokens=0, cached_tokens=first.usage.prompt_tokens
    )
    assert (again.cost_tokens, again.accuracy) == (first.cost_tokens, first.accuracy)
    # Of nine draws an item the first eight were there.
    assert 0 < more.usage.generated_tokens < more.usage.completion_tokens / 4


async def test_programs_are_scored_by_their_results(tmp_path: Path) -> None:
    """No numbers are read from a program before it runs, or from one that fails."""
    right = "```python\ndef solution():\n    return 2 - 1 - 1\n```"
    failing = "```python\ndef solution():\n    return x  # The answer is 0.\n```"
    data = {
        "version": 1,
        "name": "two-programs",
        "models": {"solver": "scripted"},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 2},
            "answer": {"type": "program", "inputs": ["draft"]},
        },
        "output": "answer",
    }
    for replies, accuracy in (([right, failing], 1.0), ([failing, right], 0.0)):
        lm = ScriptedLM(lambda request, draw, replies=replies: replies[draw])
        architecture = archon.load(data, models={"solver": lm})
        report = await run(architecture, 1, tmp_path / str(accuracy))
        assert report.accuracy == accuracy
        (record,) = records_of(tmp_path / str(accuracy))
        assert sorted(d.score for d in record.draws["draft"]) == [0, 1]
        assert {d.value for d in record.draws["draft"]} == {"0", None}


async def test_a_number_that_was_cut_off_is_not_scored(tmp_path: Path) -> None:
    data = {
        "version": 1,
        "name": "short",
        "models": {"solver": "scripted"},
        "nodes": {"draft": {"type": "generator", "model": "solver", "sampling": {"max_tokens": 4}}},
        "output": "draft",
    }
    for reply, value in (("The answer is 0", "0"), ("The answer is 0 . 5", None)):
        lm = ScriptedLM(lambda request, draw, reply=reply: reply)
        architecture = archon.load(data, models={"solver": lm})
        await run(architecture, 1, tmp_path / str(value))
        (record,) = records_of(tmp_path / str(value))
        assert record.value == value
        assert record.score == (value is not None)


async def test_a_card_can_leave_out_the_ending(tmp_path: Path) -> None:
    card = SELECTION.card.model_copy(update={"ending": False})
    assert "ending" not in SELECTION.card.identity()
    assert card.identity()["ending"] is False
    architecture, scorer = FakeArchitecture(echo), plain_scorer("number-exact")
    selection = replace(SELECTION, card=card)
    evaluation = Evaluation(architecture, make_items(1), scorer, selection)
    await evaluate(evaluation, RunFolder.create(tmp_path, "x"))
    ((question, _, _),) = architecture.asked
    assert not question.ending


async def test_the_usage_of_a_judge_is_counted_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lm = ScriptedLM(lambda request, draw: "Verdict: correct")
    lm.capabilities = frozenset({"chat"})  # it would otherwise complete the last line
    monkeypatch.setattr(Loader, "model", lambda self, *arguments: lm)
    scorer = find_scorer(SELECTION.card, name={"name": "judge", "model": "scripted"})
    evaluation = Evaluation(FakeArchitecture(echo), make_items(3), scorer, SELECTION)
    report = await evaluate(evaluation, RunFolder.create(tmp_path / "judged", "x"))
    assert report.scoring_usage.calls == 3
    assert report.to_json()["scoring_usage"]["calls"] == 3
    (entry, *_) = read_run(tmp_path / "judged").entries()
    assert entry.record.scoring_usage.calls == 1
    plain = replace(evaluation, scorer=plain_scorer("number-exact"))
    other = await evaluate(plain, RunFolder.create(tmp_path / "plain", "x"))
    assert (other.usage, other.cost_tokens) == (report.usage, report.cost_tokens)
    assert "scoring_usage" not in other.to_json()
    (entry, *_) = read_run(tmp_path / "plain").entries()
    assert "scoring_usage" not in entry.record.to_json()
