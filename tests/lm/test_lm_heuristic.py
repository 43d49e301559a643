import time
from typing import Any

import pytest

from archon.answers import read_program
from archon.graph.judge_output import read_critiques, read_ranking, read_verdict
from archon.lm.scripted.heuristic import HeuristicScript
from archon.types import Message, Request, SamplingParams

SAMPLING = SamplingParams(0.8, 0, 1.0, 0.0, 512, ())


def replies(prompt: str, accuracy: float = 1.0, draws: int = 1) -> list[str]:
    request = Request((Message("user", prompt),), sampling=SAMPLING)
    return [HeuristicScript(accuracy)(request, draw) for draw in range(draws)]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 17 * 23?", "391"),
        ("State the result: 12 + 7 - 3 * 4 =", "7"),
        ("Calculate -5 * (3 - -2).", "-25"),
        ("Calculate (12 + 3) / (4 - 1).", "5"),
        ("Calculate ((2 + 3) * 4).", "20"),
        ("What is 1.5 + 2?", "7/2"),
        ("What is 7 \u00f7 2 \u00d7 4?", "14"),
        ("Q: 1 + 1\nA: The answer is 2.\n\nQ: 40 + 3\nA:", "43"),
        ("40 + 3\n\n[1]\n1 + 1 = 2\n\nWrite one better answer.", "43"),
        ("Tom has 3 apples and gets 12.", "15"),
        ("Divide 3/0 for me.", "0"),
        ("No numbers at all.", "0"),
    ],
)
def test_arithmetic_is_computed(question: str, answer: str) -> None:
    assert replies(question)[0].endswith(f"The answer is {answer}.")


def test_the_share_of_correct_samples_is_the_accuracy() -> None:
    right = [text.endswith("The answer is 43.") for text in replies("40 + 3 =", 0.6, 2000)]
    assert sum(right) / len(right) == pytest.approx(0.6, abs=0.04)


def test_accuracy_0_is_never_correct() -> None:
    assert not any(text.endswith("is 43.") for text in replies("40 + 3 =", 0, 200))


def test_seed_and_temperature_change_the_samples() -> None:
    script = HeuristicScript(0.5)
    messages = (Message("user", "40 + 3 ="),)

    def draws(seed: int, temperature: float) -> list[str]:
        sampling = SamplingParams(temperature, 0, 1.0, 0.0, 512, ())
        request = Request(messages, seed=seed, sampling=sampling)
        return [script(request, draw) for draw in range(8)]

    assert draws(0, 0.8) == draws(0, 0.8)
    assert draws(0, 0.8) != draws(1, 0.8)
    assert draws(0, 0.8) != draws(0, 0.9)


@pytest.mark.parametrize(("claim", "verdict"), [("43", "pass"), ("44", "fail")])
def test_a_verdict_is_correct_if_the_sample_is(claim: str, verdict: str) -> None:
    prompt = f"40 + 3 =\n\n[1]\nThe answer is {claim}.\n\nEnd with 'Verdict: correct' or not."
    assert read_verdict(replies(prompt, 1.0)[0]) == verdict
    assert read_verdict(replies(prompt, 0.0)[0]) != verdict


def test_a_ranking_orders_every_candidate_and_varies() -> None:
    prompt = "Q\n\n[1]\na\n\n[2]\nb\n\n[3]\nc\n\nEnd with [best] > [next best]"
    rankings = [read_ranking(text, 3) for text in replies(prompt, draws=20)]
    assert all(sorted(ranking or []) == [0, 1, 2] for ranking in rankings)
    assert len({tuple(ranking or []) for ranking in rankings}) > 2


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_a_program_is_correct_if_the_sample_is(accuracy: float) -> None:
    prompt = "What is 7 \u00d7 3?\n\nWrite a Python function `solution()`."
    program = read_program(replies(prompt, accuracy)[0]) or ""
    found: dict[str, Any] = {}
    exec(program, found)  # what our own script writes
    assert (found["solution"]() == 21) == (accuracy == 1.0)


def test_a_critique_covers_every_candidate() -> None:
    prompt = "Q\n\n[1]\na\n\n[2]\nb\n\nList strengths and weaknesses."
    assert set(read_critiques(replies(prompt)[0], 2)) == {0, 1}


@pytest.mark.parametrize(
    "text", ["(" * 50_000 + "1" * 50_000, "1+" * 100_000, "(1+1" * 50_000, "1 )" * 70_000]
)
def test_time_is_linear_in_the_prompt(text: str) -> None:
    start = time.process_time()
    replies(text)
    assert time.process_time() - start < 2
