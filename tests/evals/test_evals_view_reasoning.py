"""The page of a run shows reasoning apart from the answers."""

from __future__ import annotations

from archon import api
from archon.evals.view.flow import Flow
from archon.evals.view.texts import SharedTexts, Texts
from archon.lm.scripted.lm import ScriptedLM, in_turn

REASONING, ANSWER = "<think>\nIs it 4?\n</think>\n\n", "The answer is 5."


def test_completions_and_candidates_have_their_reasoning() -> None:
    lm = ScriptedLM(in_turn([REASONING + ANSWER, "The answer is 6."]))
    trace = api.load("self-consistency", models={"solver": lm}).run("2 + 3?").trace.to_json()
    texts = Texts(SharedTexts())
    flow = Flow.of(trace).to_json(texts)
    number = texts.number(REASONING)
    completions = flow["nodes"][0]["calls"][0]["completions"]
    assert [c.get("reasoning") for c in completions[:2]] == [number, None]
    assert [c.get("reasoning") for c in flow["candidates"][:2]] == [number, None]
    assert flow["candidates"][0]["text"] == texts.number(ANSWER)


def test_notes_of_completions_are_shown() -> None:
    lm = ScriptedLM(in_turn([ANSWER]))
    trace = api.load("single", models={"solver": lm}).run("2 + 3?").trace.to_json()
    trace["nodes"][0]["calls"][0]["completions"][0]["notes"] = ["a note"]
    flow = Flow.of(trace).to_json(Texts(SharedTexts()))
    assert flow["nodes"][0]["calls"][0]["completions"][0]["notes"] == ["a note"]
