"""The contract of ``Scorer``, run over registered scorers and over a custom one.

A new declaration is run as it is if it needs no process and compares canonical values; the others
have tests of their own (``tests/evals/scorers``). A new kind of answer
needs a row in ``ANSWERS``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

import archon
from archon.answers import read_answer
from archon.errors import ScoringError, SpecError, UsageError
from archon.evals.benchmarks.function import load_python
from archon.evals.benchmarks.opening import Benchmark, open_benchmark
from archon.evals.scorers import (
    KINDS,
    SCORERS,
    Score,
    Scorer,
    custom_scorer,
    find_scorer,
    plain_scorer,
)
from archon.spec.benchmark import BenchmarkCard
from archon.spec.reader import load_benchmark
from archon.types import AnswerKind


@dataclass(frozen=True)
class Answers:
    """Right and wrong answers of one kind."""

    text: str
    """A text that states an answer at ``{}`` in every way that a registered scorer reads."""
    target: str
    """The target as a row of a data set has it."""
    canonical: str
    """The same target as the value that scorers are given."""
    wrong: str
    unsuitable: str
    """A target that is no answer of this kind."""


ANSWERS: dict[AnswerKind, Answers] = {
    "number": Answers("So she has {0}. The answer is {0}.\n#### {0}", "1,200", "1200", "1300", "?"),
    "text": Answers("It is the capital. The answer is {}.", "Paris", "paris", "London", "**"),
    "choice": Answers("It is the capital. The answer is ({}).", "b", "B", "C", "??"),
    "json": Answers("```json\n{}\n```", "[1.0]", "[1]", "[2]", "{"),
}


def custom(kind: AnswerKind) -> Callable[[str, str], float]:
    """A user's function, which is given the target as the row has it."""

    def judge(text: str, target: str) -> float:
        if target == ANSWERS[kind].unsuitable:
            raise ValueError(f"unsuitable target {target!r}")
        return read_answer(text, kind) == read_answer(target, kind)

    return judge


@dataclass(frozen=True)
class Case:
    """One scorer, registered or custom, and the kind of answer that it judges."""

    name: str
    kind: AnswerKind
    is_custom: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def scorer(self) -> Scorer:
        if self.is_custom:
            return custom_scorer(custom(self.kind), self.kind)
        return plain_scorer(self.name)

    @property
    def answers(self) -> Answers:
        return ANSWERS[self.kind]

    @property
    def right_text(self) -> str:
        return self.answers.text.format(self.answers.canonical)

    @property
    def wrong_text(self) -> str:
        return self.answers.text.format(self.answers.wrong)

    def score(self, value: str | None, text: str) -> Score:
        return self.scorer(value, text, self.answers.canonical)

    def open(self, target: str, folder: Path) -> Benchmark:
        """A benchmark with this scorer, all of whose rows have the target."""
        rows = [{"question": f"Question {n}?", "answer": target} for n in range(10)]
        if self.is_custom:
            made = archon.PythonBenchmark(rows, "t", answer=self.kind, score=custom(self.kind))
            return open_benchmark(load_python(made), split="test")
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        card = card_of(self.kind, score=self.name).model_dump(mode="json", exclude_unset=True)
        (folder / "card.json").write_text(json.dumps(card))
        return open_benchmark(load_benchmark(str(folder / "card.json")), split="test")


def card_of(kind: AnswerKind, **fields: str) -> BenchmarkCard:
    source = {"jsonl": "rows.jsonl"}
    card = {"version": 1, "name": "t", "source": source, "answer": kind}
    return BenchmarkCard.model_validate(card | fields)


CASES = [
    *(
        Case(name, KINDS[name])
        for name, scorer in SCORERS.items()
        if not scorer.is_async and not scorer.reads_row_targets
    ),
    *(Case(f"custom-{kind}", kind, is_custom=True) for kind in ANSWERS),
]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_every_registered_scorer_names_its_kind_of_answer() -> None:
    assert KINDS.keys() == SCORERS.keys()
    assert {case.kind for case in CASES} <= ANSWERS.keys() <= set(get_args(AnswerKind))
    assert set(KINDS.values()) <= set(get_args(AnswerKind))


class TestScorer:
    def test_a_text_with_the_answer_is_right(self, case: Case) -> None:
        score = case.score(None, case.right_text)
        assert (score.value, score.answer) == (1, case.answers.canonical)
        assert score.explanation

    def test_a_text_with_another_answer_is_wrong(self, case: Case) -> None:
        score = case.score(None, case.wrong_text)
        wrong = read_answer(case.wrong_text, case.kind)
        assert (score.value, score.answer) == (0, wrong)
        assert score.explanation

    def test_a_registered_scorer_explains_a_wrong_answer_with_both_values(self, case: Case) -> None:
        if case.is_custom:
            pytest.skip("explains with the score alone")
        score = case.score(None, case.wrong_text)
        assert score.answer is not None
        assert score.answer in score.explanation
        assert case.answers.canonical in score.explanation

    def test_a_text_without_an_answer_is_wrong_and_has_no_value(self, case: Case) -> None:
        score = case.score(None, "")
        assert (score.value, score.answer) == (0, None)
        assert score.explanation

    def test_the_value_of_the_answer_is_reported_if_the_text_states_the_same(
        self, case: Case
    ) -> None:
        score = case.score(case.answers.canonical, case.right_text)
        assert (score.value, score.answer) == (1, case.answers.canonical)

    @pytest.mark.parametrize("text", ["", "\x00", "\ud800", "#### ", "The answer is", "=" * 5000])
    def test_any_text_gets_a_score_of_0_or_1(self, case: Case, text: str) -> None:
        assert case.score(None, text).value in (0, 1)

    def test_equal_arguments_get_equal_scores(self, case: Case) -> None:
        for text in (case.right_text, case.wrong_text, ""):
            for value in (None, case.answers.canonical):
                assert case.score(value, text) == case.score(value, text)

    def test_scores_are_valid_for_a_report(self, case: Case) -> None:
        for text in (case.right_text, case.wrong_text, ""):
            score = case.score(None, text)
            assert type(score.value) is int

    def test_a_benchmark_gives_it_a_target_that_it_can_compare(
        self, case: Case, tmp_path: Path
    ) -> None:
        benchmark = case.open(case.answers.target, tmp_path)
        item = benchmark.items[0]
        raw_or_canonical = case.answers.target if case.is_custom else case.answers.canonical
        assert item.target == raw_or_canonical
        assert benchmark.scorer(None, case.right_text, item.target).value == 1
        assert benchmark.scorer(None, case.wrong_text, item.target).value == 0

    def test_an_unsuitable_target_is_an_error_that_says_where(
        self, case: Case, tmp_path: Path
    ) -> None:
        if case.is_custom:
            benchmark = case.open(case.answers.unsuitable, tmp_path)
            with pytest.raises(ScoringError, match=r"test_scorer_contract\.py:\d+: .*unsuitable"):
                benchmark.scorer(None, case.right_text, benchmark.items[0].target)
        else:
            with pytest.raises(SpecError, match=f"no {case.kind} can be read") as error:
                case.open(case.answers.unsuitable, tmp_path)
            assert re.search(r"rows\.jsonl:\d", str(error.value))

    def test_a_registered_scorer_is_found_for_its_kind_of_answer_alone(self, case: Case) -> None:
        if case.is_custom:
            pytest.skip("has no name")
        for kind in ANSWERS:
            card, unnamed = card_of(kind, score=case.name), card_of(kind)
            if kind == case.kind:
                found = (find_scorer(card), find_scorer(unnamed, name=case.name))
                assert {scorer.type for scorer in found} == {case.scorer.type}
                continue
            with pytest.raises(SpecError, match=f"{case.name} judges a {case.kind}"):
                find_scorer(card)
            with pytest.raises(UsageError, match=f"{case.name} judges a {case.kind}"):
                find_scorer(unnamed, name=case.name)
