"""One question on its way through a graph: a task a node, each begun when its inputs are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from archon.errors import BudgetError, LMError, NodeError, UnsupportedError
from archon.graph.budget import Meter
from archon.graph.build import Graph
from archon.graph.candidates import join
from archon.graph.conditions import holds
from archon.graph.models import ModelUse
from archon.graph.nodes.base import GraphNode
from archon.graph.trace import CallTrace, NodeTrace, Trace
from archon.lm.concurrency import run_all
from archon.lm.reward import RewardModel
from archon.types import (
    AnswerKind,
    Candidate,
    Completion,
    Constraint,
    Event,
    Hold,
    Message,
    NodeFinished,
    NodeStarted,
    OnEvent,
    Question,
    Request,
    TokenDelta,
)


@dataclass(frozen=True, slots=True)
class Run:
    """What the nodes share while one question is answered."""

    question: Question
    seed: int
    index: int
    """The run's number, which tells its draws."""
    uses: Mapping[str, ModelUse]
    constraint: Constraint | None
    """The form that the output node's text must have."""
    on_event: OnEvent | None
    meter: Meter
    trace: Trace
    started: float
    hold: Hold = field(default_factory=Hold)
    """Tells the models to keep the prompts of this question while nodes may read them again."""


async def execute(graph: Graph, nodes: Mapping[str, GraphNode], run: Run) -> list[Candidate]:
    """The candidates of the output node.

    Raises
    ------
    NodeError : a node failed; the others were cancelled.
    BudgetError : the question has used up its tokens, calls or seconds.
    """
    loop = asyncio.get_running_loop()
    passed_on: dict[str, asyncio.Future[list[Candidate]]] = {
        name: loop.create_future() for name in graph.order
    }

    asking = set(run.uses)

    async def step(name: str) -> None:
        inputs = [await passed_on[source] for source in graph.inputs[name]]
        passed_on[name].set_result(await _run_node(name, graph, nodes[name], inputs, run))
        asking.discard(name)
        if not asking:
            run.hold.release()

    max_seconds = None if graph.spec.budget is None else graph.spec.budget.max_seconds
    try:
        async with asyncio.timeout(max_seconds):
            await run_all(step(name) for name in graph.order)
    except TimeoutError:  # a node's own would be a NodeError
        raise BudgetError(f"the budget of {max_seconds:g} seconds is used up") from None
    finally:
        run.hold.release()
    return passed_on[graph.spec.output].result()


async def _run_node(
    name: str, graph: Graph, node: GraphNode, inputs: Sequence[Sequence[Candidate]], run: Run
) -> list[Candidate]:
    spec = graph.spec.nodes[name]
    candidates = join(inputs)
    start = perf_counter()
    trace = NodeTrace(name, spec.type, start - run.started, tuple(c.id for c in candidates))
    run.trace.nodes[name] = trace
    outputs = candidates
    trace.bypassed = spec.when is not None and not holds(spec.when, candidates)
    if not trace.bypassed:
        if run.on_event is not None:
            run.on_event(NodeStarted(name))
        try:
            outputs = await node.run(
                Context(name, name == graph.spec.output, run, trace), candidates
            )
        except BudgetError:
            raise
        except Exception as error:
            raise NodeError(name, error) from error
    trace.outputs = tuple(outputs)
    trace.seconds = perf_counter() - start
    if run.on_event is not None:
        finished = NodeFinished(name, len(outputs), trace.usage, trace.seconds, trace.bypassed)
        run.on_event(finished)
    return outputs


class Context:
    """What one node sees of a run (``archon.graph.nodes.base.NodeContext``)."""

    def __init__(self, node: str, is_output: bool, run: Run, trace: NodeTrace) -> None:
        self.question = run.question
        self._node, self._run, self._trace = node, run, trace
        self._constraint = run.constraint if is_output else None
        self._on_event = None if run.on_event is None else self._relay

    def can(self, capability: str) -> bool:
        """See ``NodeContext.can``."""
        return capability in self._run.uses[self._node].lm.capabilities

    async def ask(
        self,
        messages: tuple[Message, ...],
        n: int = 1,
        *,
        answer: AnswerKind = "text",
        form: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> list[Completion]:
        """See ``NodeContext.ask``.

        Raises
        ------
        BudgetError : the budget does not allow the call.
        LMError : the model did not answer.
        """
        run, use = self._run, self._run.uses[self._node]
        run.meter.start(n)
        is_held = "constraint" in use.lm.capabilities and not use.sampling.beams
        constraint = self._constraint or (form if is_held else None)
        request = Request(
            messages=messages,
            n=n,
            first_draw=use.draws.start(run.index),
            seed=run.seed,
            sampling=use.sampling,
            choices=choices,
            constraint=constraint,
            logprobs=use.logprobs,
            answer=answer,
            hold=run.hold,
        )
        start = perf_counter()
        completions = await use.lm.generate(request, self._on_event)
        seconds = perf_counter() - start
        if len(completions) != n:
            raise LMError(f"the model returned {len(completions)} completions for {n}")
        run.meter.finish(n, completions)
        self._trace.calls.append(
            CallTrace(
                messages,
                use.sampling,
                request.first_draw,
                completions,
                start - run.started,
                seconds,
            )
        )
        return completions

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """See ``NodeContext.reward``.

        Raises
        ------
        LMError : the model gave none.
        """
        lm = self._run.uses[self._node].lm
        if not isinstance(lm, RewardModel):
            raise UnsupportedError("the node's model is no reward model")
        return await lm.score(messages, texts)

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """See ``NodeContext.drop``."""
        self._trace.dropped += tuple(candidates)

    def _relay(self, event: Event) -> None:
        """Pass an event of the model on, under the name of this node."""
        assert self._run.on_event is not None
        if isinstance(event, TokenDelta):
            event = TokenDelta(event.draw, event.text, self._node)
        else:  # a node of the architecture that is this node's model
            event = replace(event, node=f"{self._node}/{event.node}")
        self._run.on_event(event)
