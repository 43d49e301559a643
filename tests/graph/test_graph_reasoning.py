"""Models that reason: nodes see their answers, and the trace keeps everything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from graph_doubles import CARD, make_architecture, make_candidate
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import GraphError
from archon.graph.answer import Answer
from archon.graph.candidates import CUT_OFF_MARK, from_completions
from archon.graph.lm import ArchitectureLM
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import RANKING
from archon.graph.validation.build import build
from archon.graph.validation.models import THINKING_KEYS
from archon.lm.base import LM, LM_CAPABILITIES
from archon.lm.scripted.lm import ScriptedLM
from archon.reasoning import PUBLISHED_MARKERS
from archon.spec.architecture import ArchitectureSpec
from archon.spec.common import PromptSpec
from archon.spec.model import ScriptedCard
from archon.types import (
    Annotation,
    Completion,
    Event,
    Message,
    OnEvent,
    Question,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
    Usage,
)

DRAFT = {"type": "generator", "samples": 4}
VOTE = {"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft"]}}


def thought(reasoning: str, answer: str) -> str:
    return f"<think>\n{reasoning}\n</think>\n\n{answer}"


class OwnLM:
    """A program's own model, which knows nothing of reasoning."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self, replies: list[str]) -> None:
        self._replies = replies

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        completions = []
        for draw in range(request.first_draw, request.first_draw + request.n):
            text = self._replies[draw % len(self._replies)]
            if on_event is not None:
                for letter in text:
                    on_event(TokenDelta(draw, letter))
            completions.append(Completion(text, draw, "stop", Usage(calls=1), {"p": 1}))
        return completions


def answer(nodes: dict[str, Any], output: str, lm: Any, **spec: Any) -> Answer:
    return make_architecture(nodes, output, lm, **spec).run("What is 2 + 3?")


@pytest.mark.parametrize("markers", PUBLISHED_MARKERS, ids=lambda m: m.end)
@pytest.mark.parametrize("is_own", [True, False], ids=["own", "scripted"])
def test_a_vote_counts_answers_and_not_reasoning(markers: Any, is_own: bool) -> None:
    """Four samples that reason that it is 4, of which three answer 5."""
    replies = [
        f"{markers.start}\nThe answer is 4.{markers.end}{markers.lead}\nThe answer is {value}."
        for value in (5, 4, 5, 5)
    ]
    lm: LM = OwnLM(replies) if is_own else ScriptedLM(lambda request, draw: replies[draw])
    result = answer(VOTE, "answer", lm)
    assert (result.value, result.text) == ("5", "The answer is 5.")
    assert result.candidates[0].score == 3


@given(st.lists(st.sampled_from(["5", "6", "-7"]), min_size=1, max_size=6))
def test_a_vote_of_reasoning_models_equals_a_vote_of_their_answers(values: list[str]) -> None:
    nodes = {"draft": {"type": "generator", "samples": len(values)}, "answer": VOTE["answer"]}
    plain = answer(nodes, "answer", lambda _, draw: f"The answer is {values[draw]}.")
    thinking = answer(
        nodes,
        "answer",
        lambda _, draw: thought(f"The answer is {draw}.", f"The answer is {values[draw]}."),
    )
    assert [(c.value, c.score) for c in thinking.candidates] == [
        (c.value, c.score) for c in plain.candidates
    ]


def test_judges_and_fusers_are_shown_answers_alone() -> None:
    nodes = {
        "draft": DRAFT,
        "notes": {"type": "critic", "inputs": ["draft"]},
        "best": {"type": "ranker", "inputs": ["notes"], "shows": "text"},
        "merged": {"type": "fuser", "inputs": ["best"], "samples": 2},
        "check": {"type": "verifier", "inputs": ["merged"], "shows": "text"},
    }
    lm = ScriptedLM(lambda _, draw: thought("SECRET 9", f"2 + 3 = 5. The answer is {draw}."))
    answer(nodes, "check", lm)
    shown = [message.content for request in lm.requests for message in request.messages]
    assert len(lm.requests) >= 5
    assert not any("SECRET" in text or "<think" in text for text in shown)


def test_a_judge_s_verdict_is_read_after_its_reasoning() -> None:
    def script(request: Request, draw: int) -> str:
        if "erdict" in request.messages[-1].content:
            return thought("Verdict: incorrect", "Verdict: correct")
        return "2 + 3 = 5. The answer is 5."

    # A model without constraints: its text is parsed.
    lm = ScriptedLM(script, capabilities=frozenset({"chat"}))
    nodes = {"draft": DRAFT, "check": {"type": "verifier", "inputs": ["draft"]}}
    result = answer(nodes, "check", lm)
    assert all(c.latest("verdict").value == "pass" for c in result.candidates)  # type: ignore[union-attr]


def test_a_ranking_is_read_after_the_reasoning() -> None:
    def script(request: Request, draw: int) -> str:
        if "[4]" in request.messages[-1].content:
            return thought("[1] > [2] > [3] > [4]", "[4] > [3] > [2] > [1]")
        return f"2 + 3 = 5. The answer is {draw}."

    lm = ScriptedLM(script, capabilities=frozenset({"chat"}))
    nodes = {"draft": DRAFT, "best": {"type": "ranker", "inputs": ["draft"], "keep": 1}}
    assert answer(nodes, "best", lm).value == "3"


# ------------------------------------------------------------------------------------- cut off


@pytest.mark.parametrize("kind", ["number", "text", "code"])
def test_a_completion_that_was_cut_off_has_no_value_and_is_marked(kind: Any) -> None:
    cut = Completion(
        "", 0, "length", Usage(), {}, reasoning="The answer is 3", is_reasoning_cut_off=True
    )
    [candidate] = from_completions("draft", [cut], Question("", answer=kind))
    assert (candidate.text, candidate.value) == ("", None)
    assert candidate.annotations == (Annotation("draft", "mark", CUT_OFF_MARK),)


def test_a_candidate_that_was_cut_off_does_not_vote_and_is_counted() -> None:
    replies = ["<think>\nThe answer is 4."] * 3 + [thought("4?", "The answer is 5.")]
    result = answer(VOTE, "answer", lambda _, draw: replies[draw])
    assert [c.value for c in result.candidates] == ["5"]
    assert result.trace.num_reasoning_cut_off == 3
    nested = ArchitectureLM(make_architecture(VOTE, "answer", lambda _, draw: replies[draw % 4]))
    outer = answer({"draft": {"type": "generator", "samples": 2}}, "draft", nested)
    assert outer.trace.num_reasoning_cut_off == 6


def test_if_all_were_cut_off_there_is_no_answer() -> None:
    for kind in ("number", "text"):
        result = answer(VOTE, "answer", lambda _, draw: "<think>\nThe answer is 4.", answer=kind)
        assert (result.text, result.value) == ("", None)


def test_a_fuser_is_shown_the_candidates_that_answer() -> None:
    replies = ["<think>\nThe answer is 4."] + [thought("", "The answer is 5.")] * 3
    nodes = {"draft": DRAFT, "merged": {"type": "fuser", "inputs": ["draft"]}}
    lm = ScriptedLM(lambda _, draw: replies[draw])
    result = answer(nodes, "merged", lm)
    assert "[4]" not in lm.requests[-1].messages[-1].content
    assert len(result.candidates[0].parents) == 3


def test_judges_are_not_asked_about_candidates_that_were_cut_off() -> None:
    cut = make_candidate(0, None, Annotation("draft", "mark", CUT_OFF_MARK), text="")
    whole = make_candidate(1, "5")
    prompt = Prompt(PromptSpec.model_validate({}), RANKING, reads_candidates=True)
    for kind in ("number", "text"):
        question = Question("What is 2 + 3?", answer=kind)  # type: ignore[arg-type]
        assert prompt.judged(question, [cut, whole]) == {whole.id}


# ------------------------------------------------------------------------------- trace and events


def test_the_trace_keeps_the_full_text() -> None:
    reply = thought("Is it 4?", "The answer is 5.")
    result = answer(VOTE, "answer", lambda _, draw: reply)
    calls = result.trace.to_json()["nodes"][0]["calls"]
    [first, *_] = calls[0]["completions"]
    assert first["reasoning"] + first["text"] == reply
    json.dumps(result.trace.to_json())


@pytest.mark.parametrize("output", ["draft", "answer"], ids=["writes", "chooses"])
async def test_an_architecture_streams_reasoning_separately(output: str) -> None:
    nodes = {"draft": {"type": "generator"}}
    if output == "answer":
        nodes = VOTE
    model = ArchitectureLM(
        make_architecture(nodes, output, OwnLM([thought("Is it 4?", "The answer is 5.")]))
    )
    events: list[Event] = []
    [completion] = await model.generate(Request((Message("user", "2 + 3?"),)), events.append)
    assert completion.text == "The answer is 5."
    assert completion.reasoning == "<think>\nIs it 4?\n</think>\n\n"
    deltas = [event for event in events if isinstance(event, TokenDelta)]
    assert "".join(d.text for d in deltas if d.is_reasoning) == completion.reasoning
    assert "".join(d.text for d in deltas if not d.is_reasoning) == completion.text


# -------------------------------------------------------------------------------- what nodes say


def thinking_of(lm: ScriptedLM) -> list[Thinking]:
    return [request.thinking for request in lm.requests]


def test_a_node_s_values_take_precedence_over_its_card_s() -> None:
    values = {"thinking": True, "template_variables": {"a": 1, "b": 1}, "max_thinking_tokens": 60}
    card = ScriptedCard.model_validate({"name": "m", "backend": "scripted"} | values)
    nodes = {
        "plain": {"type": "generator"},
        "own": {
            "type": "generator",
            "inputs": ["plain"],
            "thinking": False,
            "template_variables": {"b": 2},
            "max_thinking_tokens": 30,
        },
        "auto": {"type": "generator", "inputs": ["own"], "thinking": "auto"},
    }
    lm = ScriptedLM(lambda _, draw: "5")
    answer(nodes, "auto", lm, cards={"solver": card})
    variables = {"a": 1, "b": 1}
    assert thinking_of(lm) == [
        Thinking(True, variables, 60),
        Thinking(False, {"a": 1, "b": 2}, 30),
        Thinking("auto", variables, 60),
    ]


def test_nodes_that_reason_differently_do_not_share_samples() -> None:
    nodes = {
        "one": {"type": "generator", "samples": 2, "prompt": {"text": "{question}"}},
        "two": {
            "type": "generator",
            "samples": 2,
            "prompt": {"text": "{question}"},
            "inputs": ["one"],
            "thinking": False,
        },
    }
    lm = ScriptedLM(lambda _, draw: "5")
    answer(nodes, "two", lm, cards={"solver": CARD})
    assert [request.first_draw for request in lm.requests] == [0, 0]


@pytest.mark.parametrize(
    ("keys", "has", "path"),
    [
        ({"thinking": True}, {"chat"}, "thinking"),
        ({"thinking": False}, {"chat"}, "thinking"),
        ({"template_variables": {"a": 1}}, {"chat"}, "template_variables"),
        ({"max_thinking_tokens": 5}, {"chat", "thinking"}, "max_thinking_tokens"),
    ],
)
def test_a_model_without_the_capability_is_refused_at_load(
    keys: dict[str, Any], has: set[str], path: str
) -> None:
    data = {
        "version": 1,
        "name": "tested",
        "models": {"solver": "scripted"},
        "nodes": {"draft": {"type": "generator", "model": "solver", **keys}},
        "output": "draft",
    }
    spec = ArchitectureSpec.model_validate(data)
    build(spec, {"solver": LM_CAPABILITIES})
    with pytest.raises(GraphError, match="does not support") as caught:
        build(spec, {"solver": frozenset(has)})
    assert caught.value.path == f"$.nodes.draft.{path}"


def test_auto_needs_no_capability() -> None:
    data = {
        "version": 1,
        "name": "tested",
        "models": {"solver": "scripted"},
        "nodes": {"draft": {"type": "generator", "model": "solver", "thinking": "auto"}},
        "output": "draft",
    }
    build(ArchitectureSpec.model_validate(data), {"solver": frozenset({"chat"})})


@pytest.mark.parametrize("key", [*THINKING_KEYS])
def test_thinking_keys_need_a_model(key: str) -> None:
    values = {"thinking": True, "template_variables": {"a": 1}, "max_thinking_tokens": 5}
    check = {"type": "verifier", "method": "equations", "inputs": ["draft"], "model": None}
    nodes = {"draft": DRAFT, "check": check | {key: values[key]}}
    with pytest.raises(GraphError, match=f"{key} needs a model"):
        make_architecture(nodes, "check", ScriptedLM(lambda _, draw: "5"))


def test_a_budget_leaves_tokens_for_the_answer() -> None:
    nodes = {
        "draft": {"type": "generator", "max_thinking_tokens": 64, "sampling": {"max_tokens": 64}}
    }
    with pytest.raises(GraphError, match="leave none for an answer") as caught:
        make_architecture(nodes, "draft", ScriptedLM(lambda _, draw: "5"))
    assert caught.value.path == "$.nodes.draft.max_thinking_tokens"
    nodes["draft"]["sampling"] = {"beams": 2}
    with pytest.raises(GraphError, match="beam search"):
        make_architecture(nodes, "draft", ScriptedLM(lambda _, draw: "5"))


def test_an_architecture_as_a_model_has_no_thinking_capabilities() -> None:
    inner = ArchitectureLM(make_architecture(VOTE, "answer", ScriptedLM(lambda _, draw: "5")))
    assert not {"thinking", "thinking_budget"} & inner.capabilities
    assert inner.capabilities == {"chat", "stream"}


def test_likelihoods_are_those_of_reasoning_and_answer_together() -> None:
    nodes = {
        "draft": DRAFT,
        "answer": {"type": "vote", "inputs": ["draft"], "weight": "likelihood"},
    }
    lm = ScriptedLM(
        lambda _, draw: thought("Is it 4?", "The answer is 5."),
        sampling=SamplingParams(max_tokens=50),
    )
    result = answer(nodes, "answer", lm)
    [first, *_] = result.trace.nodes["draft"].calls[0].completions
    assert first.logprobs is not None
    assert len(first.logprobs) == len((first.reasoning + first.text).split())
