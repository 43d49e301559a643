"""A failed sample costs its question one sample and is reported."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graph_doubles import make_architecture

from archon.errors import LMError, NodeError, RefusedError
from archon.graph.answer import Answer
from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM
from archon.lm.sample_failures import failed_sample
from archon.types import Completion, Event, Message, OnEvent, Question, Request, TokenDelta, Usage

USED = Usage(5, 0, 2, 2, 0, 1)
QUESTION = Question("What is 2 + 3?")


class Partly:
    """A model of which some samples fail, each with the others or in its place."""

    capabilities = frozenset({"chat", "stream"})

    def __init__(self, *failing: int, error: Exception | None = None, streams: int = 0) -> None:
        self.failing, self.error, self.streams = failing, error or LMError("lost"), streams

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        await asyncio.sleep(0)
        draws = range(request.first_draw, request.first_draw + request.n)
        if on_event is not None and self.streams:
            for draw in draws:
                on_event(TokenDelta(draw, "x" * self.streams))
        if isinstance(self.error, RefusedError) or all(draw in self.failing for draw in draws):
            raise self.error
        return [
            failed_sample(draw, self.error)
            if draw in self.failing
            else Completion(
                f"The answer is {draw}.", draw, "stop", Usage(5, 0, 2, 2, 0, 1), {"p": 5}
            )
            for draw in draws
        ]


def nodes(samples: int = 4, **more: Any) -> dict[str, Any]:
    return {"draft": {"type": "generator", "model": "solver", "samples": samples, **more}}


async def answered(lm: LM, spec: dict[str, Any], **more: Any) -> Answer:
    architecture = make_architecture(spec, "draft", lm, **more)
    return await architecture.answer(QUESTION)


@pytest.mark.parametrize("budget", [None, {"max_seconds": 100}, {"max_tokens": 100_000}])
@pytest.mark.parametrize("failing", [(0,), (1, 2), (3,)])
async def test_the_others_are_kept(failing: tuple[int, ...], budget: dict[str, Any] | None) -> None:
    answer = await answered(Partly(*failing), nodes(), budget=budget)
    assert [c.id.draw for c in answer.candidates] == [k for k in range(4) if k not in failing]
    assert (answer.trace.num_samples, answer.trace.num_failed_samples) == (4, len(failing))
    assert answer.usage.calls == 4 - len(failing)
    assert answer.limited_by is None
    data = answer.trace.to_json()
    assert data["failed_samples"] == len(failing)
    [call] = data["nodes"][0]["calls"]
    assert [c.get("error") for c in call["completions"]] == [
        "lost" if k in failing else None for k in range(4)
    ]


@pytest.mark.parametrize("budget", [None, {"max_seconds": 100}])
async def test_a_node_of_which_every_sample_fails_fails(budget: dict[str, Any] | None) -> None:
    with pytest.raises(NodeError, match="lost"):
        await answered(Partly(*range(4)), nodes(), budget=budget)


async def test_a_refusal_of_every_request_fails_the_node() -> None:
    with pytest.raises(NodeError, match="wrong key"):
        await answered(Partly(error=RefusedError("wrong key")), nodes())


@pytest.mark.parametrize("failing", [(0, 1), (2, 3), (4, 5)])
async def test_a_round_of_failed_samples_keeps_the_earlier_ones(
    failing: tuple[int, ...],
) -> None:
    spec = nodes(6, stop_when={"confidence": 1, "round": 2})
    if 0 in failing:  # there is nothing yet
        with pytest.raises(NodeError, match="lost"):
            await answered(Partly(*failing), spec)
        return
    answer = await answered(Partly(*failing), spec)
    assert [c.id.draw for c in answer.candidates] == [k for k in range(6) if k not in failing]


async def test_a_fuser_passes_on_what_succeeded() -> None:
    spec = nodes(2) | {
        "merged": {"type": "fuser", "model": "fuser", "inputs": ["draft"], "samples": 3}
    }
    architecture = make_architecture(spec, "merged", {"solver": Partly(), "fuser": Partly(1)})
    answer = await architecture.answer(QUESTION)
    assert [c.id.draw for c in answer.candidates] == [0, 2]
    assert (answer.trace.num_samples, answer.trace.num_failed_samples) == (5, 1)


async def test_a_judge_whose_call_fails_fails_the_node() -> None:
    spec = nodes(2) | {"notes": {"type": "critic", "model": "judge", "inputs": ["draft"]}}
    architecture = make_architecture(spec, "notes", {"solver": Partly(), "judge": Partly(0)})
    with pytest.raises(NodeError, match=r"'notes'.*lost"):
        await architecture.answer(QUESTION)


async def test_a_run_of_a_nested_architecture_that_fails_costs_one_sample() -> None:
    inner = make_architecture(nodes(1), "draft", Partly(1))
    answer = await answered(ArchitectureLM(inner), nodes(3))
    assert [c.id.draw for c in answer.candidates] == [0, 2]
    assert answer.trace.num_failed_samples == 1
    partly = make_architecture(nodes(2), "draft", Partly(1))
    answer = await answered(ArchitectureLM(partly), nodes(2))
    assert answer.trace.num_failed_samples == 1, "that of the nested trace"


async def test_an_architecture_as_a_model_answers_from_the_successful_samples() -> None:
    lm = ArchitectureLM(make_architecture(nodes(3), "draft", Partly(0)))
    heard: list[Event] = []
    [reply] = await lm.generate(Request((Message("user", "2 + 3?"),)), heard.append)
    assert (reply.text, reply.error) == ("The answer is 1.", None)
    deltas = [event.text for event in heard if isinstance(event, TokenDelta)]
    assert "".join(deltas) == reply.text


async def test_a_failure_of_the_streamed_sample_is_an_error() -> None:
    lm = ArchitectureLM(make_architecture(nodes(3), "draft", Partly(0, streams=5)))
    with pytest.raises(LMError, match="the streamed sample failed: lost"):
        await lm.generate(Request((Message("user", "2 + 3?"),)), lambda event: None)
