from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from graph_doubles import Gate, make_architecture, make_completion

from archon.errors import GraphError, LMError, NodeError
from archon.graph.answer import Answer
from archon.graph.prompts.listing import list_texts
from archon.lm.scripted.lm import ScriptedLM
from archon.types import (
    Completion,
    Event,
    Example,
    Message,
    NodeFinished,
    NodeStarted,
    OnEvent,
    Question,
    Request,
    TokenDelta,
)


def bare(name: str, **node: Any) -> dict[str, Any]:
    """A generator whose prompt is its name, so that its calls can be distinguished."""
    return {"type": "generator", "prompt": {"text": f"{name} {{question}}"}, **node}


def five(request: Request, draw: int) -> str:
    return "2 + 3 = 5. The answer is 5."


def leftover_tasks() -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


class Failing:
    """A model that raises the given error."""

    capabilities = frozenset({"chat"})

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        raise self.error


async def test_writers_request_the_question_s_kind_of_answer_and_judges_text() -> None:
    asked: dict[str, str | None] = {}

    def script(request: Request, draw: int) -> str:
        asked[request.messages[-1].content.split()[0]] = request.answer
        return "2 + 3 = 5. The answer is 5."

    nodes = {
        "a": bare("a"),
        "b": {"type": "critic", "prompt": {"text": "b {question} {candidates}"}, "inputs": ["a"]},
        "c": {"type": "fuser", "prompt": {"text": "c {question} {candidates}"}, "inputs": ["b"]},
    }
    for kind in ("number", "code"):
        await make_architecture(nodes, "c", script).answer(Question("?", answer=kind))
        assert asked == {"a": kind, "b": "text", "c": kind}


# ---------------------------------------------------------------------------- order and overlap


async def test_nodes_with_all_inputs_run_concurrently_and_others_wait() -> None:
    gate = Gate()
    nodes = {
        "a": bare("a"),
        "b": bare("b"),
        "a2": bare("a2", inputs=["a"]),
        "c": bare("c", inputs=["a2", "b"]),
    }
    arch = make_architecture(nodes, "c", gate)
    answering = asyncio.create_task(arch.arun("?"))
    await gate.until_waiting("a ?", "b ?")
    gate.open("a ?")
    await gate.until_waiting("b ?", "a2 ?")  # a2 did not wait for b
    gate.open("a2 ?")
    await gate.until_waiting("b ?")  # c waits for b
    gate.open("b ?")
    await gate.until_waiting("c ?")
    gate.open("c ?")
    answer = await answering
    assert [c.id.node for c in answer.candidates] == ["a", "a2", "b", "c"]


async def test_prompts_are_pinned_until_the_last_model_node_is_done() -> None:
    gate, holds = Gate(), []
    nodes = {
        "a": bare("a"),
        "b": bare("b", inputs=["a"]),
        "best": {"type": "vote", "inputs": ["b"]},
    }

    class Watched:
        capabilities = gate.capabilities

        async def generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
            assert request.hold is not None
            holds.append(request.hold)
            return await gate.generate(request, on_event)

    arch = make_architecture(nodes, "best", Watched())
    released: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, NodeFinished):
            released.append(holds[0].released)

    answering = asyncio.create_task(arch.answer(Question("?"), on_event=on_event))
    await gate.until_waiting("a ?")
    gate.open("a ?")
    await gate.until_waiting("b ?")
    assert not holds[0].released
    gate.open("b ?")
    await answering
    assert released == [False, False, True]  # the vote reads no prompt
    assert holds[0] is holds[1]


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_a_run_that_ends_early_pins_no_prompt(how: str) -> None:
    reached = asyncio.Event()
    holds = []

    class Stuck:
        capabilities = frozenset({"chat"})

        async def generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
            holds.append(request.hold)
            reached.set()
            if how == "failed":
                raise LMError("no")
            await asyncio.Event().wait()
            raise AssertionError

    nodes = {"a": bare("a"), "b": bare("b", inputs=["a"])}
    answering = asyncio.create_task(make_architecture(nodes, "b", Stuck()).arun("?"))
    await reached.wait()
    answering.cancel()
    with pytest.raises((asyncio.CancelledError, NodeError)):
        await answering
    assert [hold is not None and hold.released for hold in holds] == [True]


async def test_cancellation_leaves_no_tasks() -> None:
    gate = Gate()
    nodes = {
        "a": bare("a"),
        "b": bare("b"),
        "check": {"type": "verifier", "inputs": ["a", "b"]},
    }
    arch = make_architecture(nodes, "check", {"solver": gate})
    answering = asyncio.create_task(arch.arun("?"))
    await gate.until_waiting("a ?", "b ?")
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert gate.cancelled == 2
    assert leftover_tasks() == set()


async def test_calls_of_one_node_overlap_and_are_cancelled_together() -> None:
    judge = Gate()
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "check": {
            "type": "verifier",
            "model": "judge",
            "inputs": ["draft"],
            "prompt": {"text": "{question} {candidates}"},
            "shows": "text",
        },
    }
    lms = {"solver": ScriptedLM(lambda request, draw: f"text {draw}"), "judge": judge}
    arch = make_architecture(nodes, "check", lms)
    answering = asyncio.create_task(arch.arun("?"))
    await judge.until_waiting(*(f"? [1]\n```\ntext {i}\n```" for i in range(3)))
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    assert judge.cancelled == 3
    assert leftover_tasks() == set()


# ------------------------------------------------------------------------------------ failures


async def test_the_error_of_a_node_has_its_name_and_cause() -> None:
    gate, cause = Gate(), LMError("the server is gone", retryable=True)
    nodes = {
        "a": bare("a"),
        "b": bare("b", model="bad"),
        "v": {"type": "vote", "inputs": ["a", "b"]},
    }
    arch = make_architecture(nodes, "v", {"solver": gate, "bad": Failing(cause)})
    with pytest.raises(NodeError) as caught:
        await arch.arun("?")
    assert caught.value.node == "b"
    assert caught.value.__cause__ is cause
    assert str(caught.value) == "node 'b': the server is gone"
    assert leftover_tasks() == set()


async def test_too_few_completions_of_a_model_are_an_error() -> None:
    class Short:
        capabilities = frozenset({"chat"})

        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            return [make_completion("5")]

    arch = make_architecture({"a": bare("a", samples=3)}, "a", Short())
    with pytest.raises(NodeError, match="1 completions instead of 3"):
        await arch.arun("?")


# ---------------------------------------------------------------------------------------- when


def make_gated(when: dict[str, Any], output: str = "extra") -> dict[str, Any]:
    return {
        "draft": {"type": "generator", "samples": 4},
        "extra": bare("extra", inputs=["draft"], when=when),
    }


async def test_a_false_condition_passes_the_inputs_on() -> None:
    lm, events = ScriptedLM(five), list[Event]()
    arch = make_architecture(make_gated({"agreement_below": 0.6}), "extra", lm)
    answer = await arch.answer(Question("?"), on_event=events.append)
    assert [c.id.node for c in answer.candidates] == ["draft"] * 4
    assert len(lm.requests) == 1
    assert answer.trace.nodes["extra"].bypassed
    (last,) = [e for e in events if getattr(e, "node", "") == "extra"]
    assert isinstance(last, NodeFinished)
    assert (last.bypassed, last.candidates, last.usage.calls) == (True, 4, 0)


async def test_a_true_condition_runs_the_node() -> None:
    lm = ScriptedLM(lambda request, draw: f"The answer is {draw}.")
    arch = make_architecture(make_gated({"agreement_below": 0.6}), "extra", lm)
    answer = await arch.arun("?")
    assert [c.id.node for c in answer.candidates] == ["draft"] * 4 + ["extra"]
    assert not answer.trace.nodes["extra"].bypassed


async def test_a_bypassed_fuser_keeps_the_annotations() -> None:
    nodes = {
        "draft": {"type": "generator"},
        "check": {"type": "verifier", "inputs": ["draft"]},
        "merged": {"type": "fuser", "inputs": ["check"], "when": {"num_passed": 0}},
    }
    arch = make_architecture(nodes, "merged", lambda request, draw: "It is 5.\nVerdict: correct")
    (candidate,) = (await arch.arun("?")).candidates
    assert (candidate.id.node, candidate.score) == ("draft", 1.0)


# ------------------------------------------------------------------------- events and the trace


async def test_events_report_nodes_and_tokens_in_order() -> None:
    events: list[Event] = []
    nodes = {"a": bare("a"), "v": {"type": "vote", "inputs": ["a"]}}
    arch = make_architecture(nodes, "v", lambda request, draw: "It is 5")
    answer = await arch.answer(Question("?"), on_event=events.append)
    assert events[0] == NodeStarted("a")
    deltas = [e for e in events if isinstance(e, TokenDelta)]
    assert {(d.node, d.draw) for d in deltas} == {("a", 0)}
    assert "".join(d.text for d in deltas) == answer.text
    finished = [e for e in events if isinstance(e, NodeFinished)]
    assert [(f.node, f.candidates, f.usage.calls) for f in finished] == [("a", 1, 1), ("v", 1, 0)]


async def test_without_a_listener_no_tokens_are_streamed() -> None:
    class Deaf(ScriptedLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            assert on_event is None
            return await super().generate(request, on_event)

    await make_architecture({"a": bare("a")}, "a", Deaf(five)).arun("?")


async def test_history_precedes_every_node_s_messages_unchanged() -> None:
    lm = ScriptedLM(five)
    history = (
        Message("system", "Speak {question}."),
        Message("user", "Hi"),
        Message("assistant", ""),
    )
    nodes = {"a": bare("a"), "merged": {"type": "fuser", "inputs": ["a"]}}
    await make_architecture(nodes, "merged", lm).arun(Question("?", history))
    assert [r.messages[:3] for r in lm.requests] == [history, history]


async def test_requests_have_seed_sample_indices_sampling_and_kind_of_answer() -> None:
    lm = ScriptedLM(five)
    nodes = {
        "a": bare("a", samples=2, sampling={"temperature": 0.3}),
        "check": {"type": "verifier", "inputs": ["a"]},
    }
    arch = make_architecture(nodes, "check", lm)
    await arch.answer(Question("?", answer="code"), seed=7, run=3)
    draft, *checks = lm.requests
    assert (draft.seed, draft.n, draft.first_draw, draft.answer) == (7, 2, 6, "code")
    assert draft.sampling.temperature == 0.3
    assert {(r.n, r.first_draw, r.answer) for r in checks} == {(1, 3, "text")}


async def test_the_trace_contains_everything_as_plain_data() -> None:
    nodes = {
        "draft": {"type": "generator", "samples": 2},
        "notes": {"type": "critic", "inputs": ["draft"]},
        "merged": {"type": "fuser", "inputs": ["notes"]},
    }
    lm = ScriptedLM(lambda request, draw: f"[1] So it is {draw}.")
    answer = await make_architecture(nodes, "merged", lm).arun("What is 2 + 3?")
    data = json.loads(json.dumps(answer.trace.to_json()))
    assert (data["version"], data["architecture"], data["output"]) == (1, "tested", "merged")
    assert data["question"]["text"] == "What is 2 + 3?"
    draft, notes, merged = data["nodes"]
    assert [n["node"] for n in (draft, notes, merged)] == ["draft", "notes", "merged"]
    assert notes["inputs"] == [{"node": "draft", "draw": 0}, {"node": "draft", "draw": 1}]
    assert notes["outputs"][0]["annotations"][0]["kind"] == "critique"
    assert merged["outputs"][0]["parents"] == notes["inputs"]
    (call,) = draft["calls"]
    assert call["messages"][0]["content"].startswith("Question: What is 2 + 3?")
    assert [c["text"] for c in call["completions"]] == ["[1] So it is 0.", "[1] So it is 1."]
    assert sum(n["usage"]["calls"] for n in data["nodes"]) == data["usage"]["calls"] == 4
    assert data["cost_tokens"] == answer.cost_tokens
    assert 0 <= call["start_seconds"] <= call["start_seconds"] + call["seconds"] <= data["seconds"]


async def test_the_fuser_s_prompt_shows_the_inputs_in_its_trace() -> None:
    lm = ScriptedLM(lambda request, draw: f"The answer is {draw}.")
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "m": {"type": "fuser", "inputs": ["draft"]},
    }
    answer = await make_architecture(nodes, "m", lm).arun("?")
    listed = list_texts([c.text for c in answer.trace.nodes["draft"].outputs])
    assert listed in lm.requests[-1].messages[-1].content


# ---------------------------------------------------------------------------------- the surface


def test_run_works_repeatedly_without_a_loop() -> None:
    arch = make_architecture({"a": bare("a")}, "a", five)
    assert [arch.run("?").value for _ in range(3)] == ["5"] * 3


async def test_run_is_safe_inside_a_running_loop() -> None:
    arch = make_architecture({"a": bare("a")}, "a", five)
    assert arch.run("?").value == (await arch.arun("?")).value == "5"


async def test_astream_yields_events_and_then_the_answer() -> None:
    arch = make_architecture({"a": bare("a")}, "a", five)
    seen = [event async for event in arch.astream("?")]
    assert isinstance(seen[0], NodeStarted)
    assert isinstance(seen[-2], NodeFinished)
    assert isinstance(seen[-1], Answer)
    assert seen[-1].value == "5"


async def test_leaving_astream_early_cancels_the_run() -> None:
    gate = Gate()
    stream = make_architecture({"a": bare("a")}, "a", gate).astream("?")
    assert await anext(stream) == NodeStarted("a")
    await gate.until_waiting("a ?")
    await stream.aclose()
    assert gate.cancelled == 1
    assert leftover_tasks() == set()


async def test_astream_raises_an_error_after_the_events_before_it() -> None:
    arch = make_architecture({"a": bare("a")}, "a", Failing(LMError("gone")))
    stream = arch.astream("?")
    assert await anext(stream) == NodeStarted("a")
    with pytest.raises(NodeError, match="gone"):
        await anext(stream)


def test_all_invalid_prompts_are_refused_with_their_paths() -> None:
    with pytest.raises(GraphError) as caught:
        make_architecture(
            {"a": bare("a", prompt={"shots": 50, "examples": "arithmetic"})}, "a", five
        )
    assert caught.value.path == "$.nodes.a.prompt"


def test_a_benchmarks_pool_can_be_checked_before_anything_runs() -> None:
    arch = make_architecture({"a": {"type": "generator", "prompt": {"shots": 2}}}, "a", five)
    arch.check_examples(None)
    with pytest.raises(GraphError, match="2 shots") as caught:
        arch.check_examples((Example("1 + 1?", "", "2"),))
    assert caught.value.path == "$.nodes.a.prompt"
