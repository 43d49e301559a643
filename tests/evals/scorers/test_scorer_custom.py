"""Custom scorers: their parameters, results, async functions and errors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scorer_doubles import score_of

import archon
from archon.errors import ScoringError, SpecError, UsageError
from archon.evals.scorers import SCORERS, Score, custom_scorer, find_scorer
from archon.spec.benchmark import BenchmarkCard

PARTS: dict[str, Any] = {
    "value": "v",
    "targets": ("first", "second"),
    "question": "q",
    "row": {"subject": "s"},
    "trace": "t",
    "choices": ("a",),
}


def seen_by(function: Callable[..., Any]) -> Any:
    scorer = custom_scorer(function, "text")
    attempt = score_of(scorer, "the text", "canonical", **PARTS)
    return asyncio.run(attempt).metrics


def shape(**seen: Any) -> Score:
    values = {"the text": 1, "first": 2, "v": 3, "q": 4, "t": 5}
    return Score(1, metrics={name: values.get(str(part), 0) for name, part in seen.items()})


FUNCTIONS: list[tuple[Callable[..., Any], dict[str, int]]] = [
    (lambda text, target: shape(a=text, b=target), {"a": 1, "b": 2}),
    (lambda x, y: shape(a=x, b=y), {"a": 1, "b": 2}),
    (lambda value, target: shape(a=value, b=target), {"a": 1, "b": 2}),
    (lambda target, text: shape(a=target, b=text), {"a": 2, "b": 1}),
    (lambda *both: shape(a=both[0], b=both[1]), {"a": 1, "b": 2}),
    (lambda x, y, z=3: shape(a=x, b=y), {"a": 1, "b": 2}),
    (lambda text, row: shape(a=text, b=row["subject"]), {"a": 1, "b": 0}),
    (lambda text, target, row: shape(a=text, b=target), {"a": 1, "b": 2}),
    (lambda x, y, trace: shape(a=x, b=y, c=trace), {"a": 1, "b": 2, "c": 5}),
    (lambda text, target, value: shape(a=value), {"a": 3}),
    (lambda trace, question, text: shape(a=trace, b=question, c=text), {"a": 5, "b": 4, "c": 1}),
    (lambda *, question, text: shape(a=question, b=text), {"a": 4, "b": 1}),
    (lambda text: shape(a=text), {"a": 1}),
    (lambda answer, row, expected: shape(a=answer, b=expected), {"a": 1, "b": 2}),
    (lambda text, target, **others: shape(a=text, b=target), {"a": 1, "b": 2}),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_parameters_receive_the_parts_after_which_they_are_named(number: int) -> None:
    function, seen = FUNCTIONS[number]
    assert seen_by(function) == seen


def test_an_unknown_parameter_is_an_error_that_lists_the_parts() -> None:
    with pytest.raises(SpecError, match=r"parameter 'rows' .* did you mean 'row'"):
        custom_scorer(lambda text, target, rows: 1, "text")


@pytest.mark.parametrize(
    ("given", "value"),
    [(True, 1), (False, 0), (0.25, 0.25), (1, 1), (Score(0.5), 0.5), (Score(True), 1)],
)
async def test_results(given: Any, value: float) -> None:
    async def judge(text: str, target: str) -> Any:
        await asyncio.sleep(0)
        return given

    for function in (lambda text, target: given, judge):
        score = await score_of(custom_scorer(function, "number"), "The answer is 5.", "5")
        assert (score.value, score.answer) == (value, "5")


NAN = float("nan")
INVALID: list[Any] = [None, "1", 2, -1, NAN, Score(2)]
INVALID += [Score(1, metrics=metrics) for metrics in ({"a": NAN}, {"a": "x"}, [1])]  # type: ignore[arg-type]


@pytest.mark.parametrize("given", INVALID)
async def test_invalid_results_are_errors(given: Any) -> None:
    with pytest.raises(ScoringError, match="must return"):
        await score_of(custom_scorer(lambda text, target: given, "text"), "x", "y")


async def test_an_async_failure_names_the_line() -> None:
    async def judge(text: str, target: str) -> float:
        return 1 / 0

    with pytest.raises(ScoringError, match=r"test_scorer_custom\.py:\d+: ZeroDivisionError"):
        await score_of(custom_scorer(judge, "text"), "x", "y")


async def test_output_of_overlapping_functions_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def judge(text: str, target: str) -> float:
        await asyncio.sleep(0.01 * int(text))
        print("judging", text)
        return 1

    scorer, before = custom_scorer(judge, "text"), sys.stdout
    await asyncio.gather(*(score_of(scorer, text, "") for text in "132"))
    assert sys.stdout is before
    assert capsys.readouterr() == ("", "judging 1\njudging 2\njudging 3\n")


def test_a_function_in_a_file_is_a_scorer_of_the_command_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def judge(text, target, row):\n    return text == row['extra']\n")
    scorer = scorer_of_file(f"{file}:judge")
    score = asyncio.run(score_of(scorer, "x", "y", row={"extra": "x"}))
    assert (score.value, scorer.label) == (1, "mine.py:judge")
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}, "score": f"{file}:judge"}
    with pytest.raises(SpecError, match="a card cannot name code, but --score can"):
        find_scorer(BenchmarkCard.model_validate(card))


def scorer_of_file(name: str) -> Any:
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}, "answer": "text"}
    return find_scorer(BenchmarkCard.model_validate(card), name=name)


@pytest.mark.parametrize(
    ("given", "reason"),
    [("number-clos:1", "unknown scorer 'number-clos:1'"),
    ("number-close:x", "followed by a number"),
     ("exact:1", "has no parameter"), ("number-close:2", "relative"),
     ('{"name": 1}', "no 'name'"),
     ("{", "not valid JSON"),
     ('{"name": "number-close", "relativ": 1}', "did you mean 'relative'"),
     ("judge", "model"), ("exact", "judges a text, but the card's 'answer' is 'number'")],
)  # fmt: skip
def test_wrong_scorers_are_usage_errors(given: str, reason: str) -> None:
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}}
    with pytest.raises(UsageError, match=reason):
        find_scorer(BenchmarkCard.model_validate(card), name=given)


def test_scores_are_public() -> None:
    assert archon.Score is Score


def test_the_guide_lists_every_scorer() -> None:
    guide = Path(__file__).parents[3] / "docs/guides/evaluation.md"
    section = guide.read_text().partition("### Scorers")[2].partition("\n## ")[0]
    for name, scorer in SCORERS.items():
        assert f"`{name}`" in section
        assert all(f"(`{alias}`)" in section for alias in scorer.aliases)
