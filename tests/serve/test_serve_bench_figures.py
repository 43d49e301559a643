"""The figures of ``archon bench serve``, and its requests."""

from __future__ import annotations

import pytest

from archon.bench.serve.client import Answers
from archon.bench.serve.overhead import LoadTally, quantile, summary
from archon.bench.serve.questions import questions
from archon.errors import UsageError


def tally(*turns: Answers) -> LoadTally:
    result = LoadTally()
    for turn in turns:
        result.add(turn)
    return result


def turn(seconds: float, tokens: int, clients: float = 0.0, model: float | None = None) -> Answers:
    return Answers(
        seconds=seconds,
        completion_tokens=tokens,
        client_cpu_seconds=clients,
        model_cpu_seconds=model,
        num_answers=1,
    )


def test_rates_are_tokens_of_all_turns_over_their_time() -> None:
    both = tally(turn(1, 100), turn(3, 700))
    assert both.rate() == 200
    assert both.num_answers == 2
    assert tally().rate() is None


def test_the_clients_cpu_time_is_deducted() -> None:
    busy = tally(turn(10, 800, clients=4))
    assert busy.rate() == 80
    assert busy.rate(2) == 100  # of 20 core-seconds they took 4: a fifth
    assert busy.rate(4) == pytest.approx(800 / 9)
    assert tally(turn(1, 800, clients=8)).rate(2) is None, "more than there was"


def test_cpu_per_token_is_unknown_if_a_turn_does_not_report_it() -> None:
    assert tally(turn(1, 100, model=2), turn(1, 300, model=2)).cpu_per_token() == 0.01
    assert tally(turn(1, 100, model=2), turn(1, 300)).cpu_per_token() is None
    assert tally().cpu_per_token() is None


@pytest.mark.parametrize(
    ("share", "value"), [(0, 1.0), (0.2, 1.0), (0.21, 2.0), (0.5, 3.0), (0.95, 5.0), (1, 5.0)]
)
def test_a_quantile_is_one_of_the_values(share: float, value: float) -> None:
    assert quantile([3.0, 1.0, 5.0, 2.0, 4.0], share) == value


def test_a_summary_has_ratios_to_the_engine() -> None:
    engine, whole = tally(turn(2, 2000, model=2)), tally(turn(4, 3600, clients=1, model=4.5))
    streamed = tally(turn(5, 4000, clients=2, model=6))
    streamed.failures.append("gone")
    engine.first_token_seconds, streamed.first_token_seconds = [0.1, 0.2], [0.2, 0.3]
    alone = {"engine": tally(), "streamed": tally()}
    result = summary({"engine": engine, "whole": whole, "streamed": streamed}, alone, cores=2)
    rows = result["loads"]
    assert [row["ratio"] for row in rows.values()] == pytest.approx([1, 0.9, 0.8])
    deducted = [row["ratio_deducted"] for row in rows.values()]
    assert deducted == pytest.approx([1, 3.6 / 3.5, 1])
    assert [row["cpu_ratio"] for row in rows.values()] == pytest.approx([1, 1.25, 1.5])
    assert (rows["streamed"]["requests"], rows["streamed"]["failures"]) == (2, 1)
    assert result["failures"] == ["gone"]
    assert result["first_token"]["loaded"]["p50"]["ratio"] == pytest.approx(2)
    nothing = {"engine_seconds": None, "served_seconds": None, "ratio": None}
    assert result["first_token"]["alone"] == {"p50": nothing, "p95": nothing}


# ------------------------------------------------------------------------------------- questions


def count(text: str) -> int:
    """Count the tokens of a template of 10 tokens around words of mostly one token each."""
    return 10 + sum(3 if word == "people" else 1 for word in text.split())


def test_questions_have_the_requested_tokens_and_a_shared_beginning() -> None:
    made = questions(200, 150, count)
    first, *others = asks = made.asks(1, 9, 3)
    assert [count(ask.question) for ask in asks] == [200] * 9
    assert len({ask.question for ask in asks}) == 3
    assert len({ask.seed for ask in asks}) == 9
    shared = first.question.split()[:140]  # behind the 10 tokens of the template
    assert all(other.question.split()[:140] == shared for other in others)
    assert len({tuple(ask.question.split()[140:]) for ask in asks}) == 3


def test_every_turn_has_its_own_reproducible_questions() -> None:
    made = questions(60, 20, count)
    assert made.asks(1, 5, 1) == questions(60, 20, count).asks(1, 5, 1)
    assert not {a.question for a in made.asks(1, 5, 1)} & {a.question for a in made.asks(2, 5, 1)}


def test_prompts_too_short_for_the_template_are_rejected() -> None:
    with pytest.raises(UsageError, match="--prompt-tokens must be at least 24"):
        questions(23, 0, count)
    assert count(questions(24, 0, count).asks(0, 1, 1)[0].question) == 24
