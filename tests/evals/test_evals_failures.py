"""Failed answers: grouped by cause, asked again, and too many of them stop an evaluation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import NUMBER_EXACT, SELECTION, FakeArchitecture, echo, make_items
from hypothesis import given
from hypothesis import strategies as st

import archon
from archon.errors import LMError, TooManyErrorsError, UsageError
from archon.evals.failures import (
    CONSECUTIVE,
    ErrorLimit,
    causes,
    causes_text,
    parse_max_errors,
    same_cause,
)
from archon.evals.folder import RunFolder
from archon.evals.report import Report
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.lm.scripted.lm import ScriptedLM
from archon.types import Question

SERVER = "node 'draft': m: http://127.0.0.1:{port}/v1/chat/completions: cannot connect (draw {k})"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SERVER.format(port=8001, k=3), SERVER.format(port=8002, k=14)),
        ("node 'draft': no answer in 30.5 seconds", "node 'draft_2': no answer in 7 seconds"),
        ("NodeError: node 'a': LMError: gone", "NodeError: node 'a': node 'b': LMError: gone"),
        ("<Lock at 0x7f9a8c1d> is held", "<Lock at 0x7FFF0000> is held"),
        ("request 3f2a9c1b77e0 failed", "request 00ffab12cd34ee failed"),
        ("ScoringError: item 'q-1': f.py:f gives 2", "ScoringError: item 'other': f.py:f gives 3"),
        (
            "id 123e4567-e89b-12d3-a456-426614174000 refused",
            "id 00000000-1111-2222-3333-444444444444 refused",
        ),
    ],
)
def test_messages_that_differ_in_place_and_numbers_have_the_same_cause(
    one: str, other: str
) -> None:
    assert same_cause(one) == same_cause(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LMError: cannot connect", "LMError: no answer"),
        ("LMError: cannot connect", "EngineError: cannot connect"),
        ("status 500: overloaded", "status 500: out of memory"),
        ("no facade", "no decade"),  # letters of digits alone are words
    ],
)
def test_other_messages_are_another_cause(one: str, other: str) -> None:
    assert same_cause(one) != same_cause(other)


@given(st.dictionaries(st.text(max_size=30), st.integers(1, 50), max_size=8))
def test_grouping_counts_every_failure_once(messages: dict[str, int]) -> None:
    found = causes(messages)
    assert sum(cause["count"] for cause in found) == sum(messages.values())
    assert [cause["count"] for cause in found] == sorted(
        (cause["count"] for cause in found), reverse=True
    )
    assert len({same_cause(cause["cause"]) for cause in found}) == len(found)


def test_causes_are_printed_in_one_line_the_most_frequent_first() -> None:
    messages = {"ValueError: odd": 1, SERVER.format(port=1, k=2): 2, SERVER.format(port=2, k=3): 1}
    line = causes_text(causes(messages))
    assert line.startswith("3 × node 'draft': m: http://127.0.0.1:1/v1")
    assert line.endswith("; 1 × ValueError: odd")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0", 0),
        ("20", 20),
        (" 3 ", 3),
        ("0.1", 0.1),
        (".5", 0.5),
        ("10%", 0.1),
        ("2.5 %", 0.025),
        ("1", 1),
        ("1.0", 1.0),
        ("100%", 1.0),
        ("0%", 0.0),
    ],
)
def test_a_limit_is_a_number_or_a_share(text: str, limit: float) -> None:
    found = parse_max_errors(text)
    assert (found, type(found)) == (limit, type(limit))


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "-0.1", "1.5", "101%", "-1%", "%", "nan", "inf", "nan%", "1e3", "3,5"]
)
def test_a_limit_that_is_neither_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(UsageError, match="a number of answers, such as 20, or a share"):
        parse_max_errors(text)


@pytest.mark.parametrize("given", [True, -1, 1.5, float("nan"), "3"])
def test_a_limit_of_a_program_is_checked_too(given: Any) -> None:
    with pytest.raises(UsageError, match="max_errors must be a number of answers"):
        ErrorLimit(given, 10)


def noted(limit: ErrorLimit, outcomes: str) -> int | None:
    """Outcomes until the limit stops: ``.`` succeeds, a letter fails with that cause."""
    for number, outcome in enumerate(outcomes, start=1):
        try:
            limit.note(None if outcome == "." else f"LMError: {outcome} ({number})")
        except TooManyErrorsError:
            return number
    return None


@pytest.mark.parametrize(
    ("max_errors", "outcomes", "stops_at"),
    [
        (None, "a" * 20, CONSECUTIVE),
        (None, "a" * 9 + "." + "a" * 9, None),
        (None, "." * 5 + "a" * 10, 15),
        (None, "ab" * 20, 19),  # none succeeds, though the causes take turns
        (None, "".join(chr(97 + n) for n in range(20)), None),
        (0, "..a", 3),
        (2, "a.a.a", 5),
        (3, "a.a.a", None),
        (0.5, "aaaaaaaaaaa", 11),  # half of twenty may fail
        (1.0, "a" * 20, None),
        (0.0, ".b", 2),
    ],
)
def test_when_an_evaluation_stops(
    max_errors: int | float | None, outcomes: str, stops_at: int | None
) -> None:
    assert noted(ErrorLimit(max_errors, 20), outcomes) == stops_at


# --------------------------------------------------------------------------------- evaluations


async def run(
    reply: Callable[[Question, int], str | BaseException], path: Path, count: int, **options: Any
) -> tuple[Report, FakeArchitecture]:
    architecture = FakeArchitecture(reply)
    evaluation = Evaluation(architecture, make_items(count), NUMBER_EXACT, SELECTION)
    return await evaluate(evaluation, RunFolder.resume(path), **options), architecture


def dead(question: Question, run: int) -> BaseException:
    return LMError(f"cannot connect to port {hash(question.text) % 1000}")


def failing(*numbers: int) -> Callable[[Question, int], str | BaseException]:
    questions = {f"What is {number}?" for number in numbers}
    return lambda question, run: LMError("gone") if question.text in questions else question.text


@pytest.mark.parametrize("concurrent", [1, 3, 64])
async def test_an_evaluation_in_which_nothing_succeeds_stops_and_can_be_resumed(
    tmp_path: Path, concurrent: int
) -> None:
    with pytest.raises(TooManyErrorsError, match=r"10 answers in a row .*: LMError: cannot conn"):
        await run(dead, tmp_path, 200, max_concurrent_questions=concurrent)
    kept = read_run(tmp_path).report()
    assert kept.interrupted
    assert CONSECUTIVE <= kept.num_errors <= CONSECUTIVE + concurrent
    report, architecture = await run(echo, tmp_path, 200)
    assert (report.num_errors, report.num_runs, report.accuracy) == (0, 200, 1.0)
    assert len(architecture.asked) == 200


async def test_only_failed_items_are_asked_again(tmp_path: Path) -> None:
    first, _ = await run(failing(1, 3), tmp_path, 5)
    assert (first.num_errors, first.errors) == (2, [{"cause": "LMError: gone", "count": 2}])
    again, architecture = await run(failing(3), tmp_path, 5)
    assert {question.text for question, _, _ in architecture.asked} == {
        "What is 1?",
        "What is 3?",
    }
    assert (again.num_errors, again.num_runs, again.accuracy) == (1, 5, 0.8)
    last, architecture = await run(echo, tmp_path, 5)
    assert (last.num_errors, last.errors, len(architecture.asked)) == (0, [], 1)
    _, architecture = await run(echo, tmp_path, 5)
    assert not architecture.asked


async def test_a_failure_stays_until_its_new_record_is_written(tmp_path: Path) -> None:
    await run(failing(0, 1, 2), tmp_path, 4)
    with pytest.raises(TooManyErrorsError):
        await run(failing(0), tmp_path, 4, max_errors=0, max_concurrent_questions=1)
    report = read_run(tmp_path).report()
    assert (report.num_runs, report.num_errors) == (4, 3)
    assert len((tmp_path / "journal").read_bytes().splitlines()) == 5


async def test_failed_items_stay_with_keep_errors(tmp_path: Path) -> None:
    await run(failing(2), tmp_path, 3)
    report, architecture = await run(echo, tmp_path, 3, keep_errors=True)
    assert (report.num_errors, architecture.asked) == (1, [])
    evaluation = Evaluation(architecture, make_items(3), NUMBER_EXACT, SELECTION)
    assert evaluation.is_finished_in(RunFolder(tmp_path), keep_errors=True)
    assert not evaluation.is_finished_in(RunFolder(tmp_path))


async def test_every_epoch_of_an_item_is_retried_on_its_own(tmp_path: Path) -> None:
    def reply(question: Question, run: int) -> str | BaseException:
        return LMError("gone") if run == 1 else question.text

    architecture = FakeArchitecture(reply)
    evaluation = Evaluation(architecture, make_items(3), NUMBER_EXACT, SELECTION, epochs=3)
    await evaluate(evaluation, RunFolder.resume(tmp_path))
    architecture.reply = echo
    architecture.asked.clear()
    report = await evaluate(evaluation, RunFolder.resume(tmp_path))
    assert Counter(run for _, _, run in architecture.asked) == {1: 3}
    assert (report.num_runs, report.num_errors) == (9, 0)


def test_a_program_gets_a_clear_exception_and_resumes(tmp_path: Path) -> None:
    def broken(request: object, draw: int) -> str:
        raise LMError("the server is away")

    output = tmp_path / "out"
    architecture = archon.load("single", models={"solver": ScriptedLM(broken)})
    with pytest.raises(TooManyErrorsError, match="the server is away"):
        archon.evaluate(architecture, "smoke", split="test", output=output, cache=False)
    architecture = archon.load("single", models={"solver": ScriptedLM(lambda request, draw: "5")})
    again = {"split": "test", "output": output, "resume": True, "cache": False}
    assert archon.evaluate(architecture, "smoke", **again).num_errors == 0


async def test_a_cancelled_retry_keeps_the_failures(tmp_path: Path) -> None:
    await run(failing(0, 1), tmp_path, 3)

    asked = asyncio.Event()

    class Stuck(FakeArchitecture):
        async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Any:
            asked.set()
            await asyncio.Event().wait()

    evaluation = Evaluation(Stuck(echo), make_items(3), NUMBER_EXACT, SELECTION)
    task = asyncio.create_task(evaluate(evaluation, RunFolder.resume(tmp_path)))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = read_run(tmp_path).report()
    assert (report.num_runs, report.num_errors) == (3, 2)
