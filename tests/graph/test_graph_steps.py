"""Judges of numbers that see calculations instead of words."""

from __future__ import annotations

from typing import Any

import pytest
from attacks import ATTACKS
from graph_doubles import PROMPT_KINDS, FakeContext, make_architecture, make_candidate
from hypothesis import given
from hypothesis import strategies as st

from archon.answers import read_answer
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.calculations import MAX_BYTES, has_steps, steps_of
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.spec.common import PromptSpec
from archon.types import Annotation, Candidate, CandidateId, Question

HONEST = "17 + 25 = 42\n42 - 10 = 32\nThe answer is 32."
JUDGES: dict[str, dict[str, Any]] = {
    "listwise": {"type": "ranker", "method": "listwise"},
    "pairwise": {"type": "ranker", "method": "pairwise"},
    "logit": {"type": "ranker", "method": "logit"},
    "yes or no": {"type": "verifier", "method": "logit"},
    "reason": {"type": "verifier", "method": "reason"},
}


def candidate(text: str, draw: int = 0) -> Candidate:
    return make_candidate(draw, read_answer(text, "number"), text=text)


def prompt(shows: Any, kind: str = "verifier") -> Prompt:
    return Prompt(PromptSpec(), PROMPT_KINDS[kind], reads_candidates=True, shows=shows)


def test_a_wrong_calculation_is_marked_and_nothing_else_of_the_text_is_shown() -> None:
    text = "I am right, believe me: 17 + 25 = 43 apples. The answer is 43."
    assert steps_of(candidate(text)) == "17 + 25 = 43 (wrong)\nThe answer is 43."


def test_steps_of_a_text_without_calculation_or_answer() -> None:
    assert steps_of(candidate("Surely 9.")) == "No calculation is shown.\nThe answer is 9."
    assert steps_of(candidate("Hm.")) == "No calculation is shown.\nNo answer is given."


def test_the_result_of_a_program_is_shown() -> None:
    mark = Annotation("ran", "mark", "program: ok")
    ran = Candidate(CandidateId("code", 0), "def solution(): return 1 + 1", "2", (), (mark,))
    assert steps_of(ran) == "A program was run.\nThe answer is 2."
    assert has_steps(ran)


@given(st.integers(0, 400), st.integers(1, 10**6), st.integers(0, 3000))
def test_the_shown_steps_are_bounded_and_end_with_the_answer(
    count: int, number: int, digits: int
) -> None:
    text = "\n".join(f"{number} + {i} = {number + i}" for i in range(count))
    shown = steps_of(make_candidate(0, "1" + "0" * digits, text=text))
    assert len(shown.encode()) <= MAX_BYTES
    assert shown.splitlines()[-1].startswith("The answer is 1")
    if count:
        assert f"{number} + {count - 1} = {number + count - 1}\n" in shown


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_word_of_an_attack_is_shown(attack: str) -> None:
    attacker = candidate(ATTACKS[attack]("9"))
    (message,) = prompt("steps").messages(Question("?", answer="number"), [attacker])
    shown = message.content.partition("[1]\n```\n")[2].partition("\n```")[0]
    assert shown in (
        "No calculation is shown.\nThe answer is 9.",
        "No calculation is shown.\nNo answer is given.",
    )


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("judge", JUDGES)
async def test_an_attack_without_calculations_never_wins_regardless_of_the_judge(
    judge: str, attack: str
) -> None:
    """The judge here says yes to everything, prefers the first, and ranks in the order given."""
    text = ATTACKS[attack]("9")
    nodes = {
        "draft": {"type": "generator", "samples": 2, "sampling": {"max_tokens": 100_000}},
        "best": {"inputs": ["draft"], "shows": "steps", **JUDGES[judge], "model": "judge"},
    }
    models = {
        "solver": ScriptedLM(in_turn([text, HONEST])),
        "judge": ScriptedLM(
            lambda request, draw: "Verdict: correct", choice_logprob=lambda prompt, choice: -1.0
        ),
    }
    nodes["draft"]["model"] = "solver"
    answer = await make_architecture(nodes, "best", models).arun("What is 17 + 25 - 10?")
    assert answer.candidates[0].text == HONEST


def test_for_other_kinds_of_answers_the_text_is_shown_and_judged() -> None:
    question = Question("Who?", answer="text")
    said = make_candidate(0, None, text="It was Ada.")
    assert prompt("steps").judged(question, [said]) == {said.id}
    (message,) = prompt("steps").messages(question, [said])
    assert "It was Ada." in message.content


def test_candidates_with_steps_are_judged_else_those_with_a_number() -> None:
    question = Question("?", answer="number")
    mute, bare, worked = (candidate(t, i) for i, t in enumerate(["Hm.", "Surely 9.", HONEST]))
    assert prompt("steps").judged(question, [mute, bare, worked]) == {worked.id}
    assert prompt("steps").judged(question, [mute, bare]) == {bare.id}
    assert prompt("steps").judged(question, [mute]) == frozenset()
    assert prompt("text").judged(question, [mute, bare, worked]) == {bare.id, worked.id}


async def test_a_judge_is_not_asked_about_unjudged_candidates() -> None:
    from archon.graph.nodes.ranker import ListwiseRank, Ranker

    context = FakeContext(["Ranking: [2] > [1]"])
    texts = ["Hm.", HONEST, "Surely 9.", HONEST.replace("32", "33")]
    candidates = [candidate(text, draw) for draw, text in enumerate(texts)]
    ranker = Ranker("best", ListwiseRank(prompt("steps", "ranker"), None), None)
    out = await ranker.run(context, candidates)
    assert [c.id.draw for c in out] == [3, 1, 2, 0]
    assert "[3]" not in context.asked[0][-1].content
