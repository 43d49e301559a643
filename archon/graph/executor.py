"""Execution of a graph on one question: a task per node, started when its inputs are available."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeVar

from archon.errors import BudgetError, LMError, NodeError, UnsupportedError
from archon.graph.budget import CallSize, Grant, Meter, most_tokens
from archon.graph.candidates import join, join_tests
from archon.graph.conditions import holds
from archon.graph.model_bindings import ModelUse, NestedLM
from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.registry import method_of
from archon.graph.trace import CallTrace, NodeTrace, Trace
from archon.graph.validation.build import Graph
from archon.lm.base import LM, most_prompt_tokens, prompts_of, supports
from archon.lm.concurrency import run_all
from archon.lm.reasoning import answered
from archon.lm.reward import RewardModel
from archon.lm.sample_failures import Failures, require_all
from archon.types import (
    DEFAULT_SAMPLING,
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
    SamplingParams,
    TokenDelta,
    UnitTest,
)

T = TypeVar("T")

_LONGEST = SamplingParams(max_tokens=DEFAULT_SAMPLING.max_tokens)


@dataclass(frozen=True, slots=True)
class Run:
    """What the nodes share while one question is answered."""

    question: Question
    seed: int
    index: int
    """The number of the run, which selects its samples."""
    uses: Mapping[str, ModelUse]
    constraint: Constraint | None
    """The constraint on the output node's text."""
    on_event: OnEvent | None
    meter: Meter
    trace: Trace
    started: float
    hold: Hold = field(default_factory=Hold)
    """Makes the models keep the prompts of this question while nodes may read them again."""
    refusals: list[BudgetError] = field(default_factory=list)
    """Calls that the budget did not allow, in order."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What goes along an edge."""

    candidates: list[Candidate]
    tests: tuple[UnitTest, ...] = ()
    """Of the question, from every node that wrote some on the way."""


async def execute(graph: Graph, nodes: Mapping[str, GraphNode], run: Run) -> list[Candidate]:
    """The candidates of the output node.

    Where the budget runs out, nodes make fewer calls or none, and what they read passes them by:
    so the output has a candidate if any node has.

    Raises
    ------
    NodeError
        A node failed; the others were cancelled.
    BudgetError
        Tokens, calls or seconds were used up before there was any candidate.
    """
    loop = asyncio.get_running_loop()
    passed_on: dict[str, asyncio.Future[Passed]] = {
        name: loop.create_future() for name in graph.order
    }

    asking = set(run.uses)

    async def step(name: str) -> None:
        inputs = [await passed_on[source] for source in graph.inputs[name]]
        passed_on[name].set_result(await _run_node(name, graph, nodes[name], inputs, run))
        asking.discard(name)
        if not asking:
            run.hold.release()

    try:
        await run_all(step(name) for name in graph.order)
    finally:
        run.hold.release()
    candidates = passed_on[graph.spec.output].result().candidates
    if not candidates and run.refusals:
        raise run.refusals[0]
    return candidates


async def _run_node(
    name: str, graph: Graph, node: GraphNode, inputs: Sequence[Passed], run: Run
) -> Passed:
    spec = graph.spec.nodes[name]
    candidates = join([source.candidates for source in inputs])
    tests = join_tests(source.tests for source in inputs)
    start = perf_counter()
    trace = NodeTrace(name, spec.type, start - run.started, tuple(c.id for c in candidates))
    run.trace.nodes[name] = trace
    outputs = candidates
    trace.bypassed = spec.when is not None and not holds(spec.when, candidates)
    if not trace.bypassed:
        if run.on_event is not None:
            run.on_event(NodeStarted(name))
        try:
            use = run.uses.get(name)
            if use is not None and not isinstance(use.lm, NestedLM):
                calls = method_of(spec).calls(spec, len(candidates))
                run.meter.require_calls(calls.minimum)
            outputs = await node.run(
                Context(name, name == graph.spec.output, run, trace, tests), candidates
            )
        except BudgetError as error:  # its inputs pass it by
            trace.cut = error.limit
            run.refusals.append(error)
        except Exception as error:
            raise NodeError(name, error) from error
    trace.outputs = tuple(outputs)
    trace.seconds = perf_counter() - start
    if run.on_event is not None:
        run.on_event(
            NodeFinished(name, len(outputs), trace.usage, trace.seconds, trace.bypassed, trace.cut)
        )
    return Passed(outputs, join_tests([tests, trace.tests]))


class Context:
    """What one node sees of a run (``archon.graph.nodes.base.NodeContext``)."""

    def __init__(
        self,
        node: str,
        is_output: bool,
        run: Run,
        trace: NodeTrace,
        tests: tuple[UnitTest, ...] = (),
    ) -> None:
        self.question, self.tests = run.question, tests
        self._node, self._run, self._trace = node, run, trace
        self._constraint = run.constraint if is_output else None
        self._on_event = None if run.on_event is None else self._relay
        self._failures = Failures()

    def can(self, capability: str) -> bool:
        """See ``NodeContext.can``."""
        return capability in self._run.uses[self._node].lm.capabilities

    async def ask(
        self,
        messages: tuple[Message, ...],
        n: int = 1,
        *,
        answer: AnswerKind = "text",
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> list[Completion]:
        """See ``NodeContext.ask``.

        Raises
        ------
        BudgetError
            The budget does not allow the call.
        LMError
            The model did not answer.
        """
        request = self._request(messages, n, answer, constraint, choices)
        lm, request, grant = await self._granted(request, least=n)
        start = perf_counter()
        completions = require_all(await self._send(lm, request))
        self._enter(request, grant, completions, start)
        return completions

    async def draw(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0, answer: AnswerKind
    ) -> list[Completion]:
        """See ``NodeContext.draw``.

        What a call turns out to need less of is used for the draws that had to wait for it.

        Raises
        ------
        LMError, NodeError
            Not one sample of the node has succeeded.
        """
        completions: list[Completion] = []
        num_asked = 0
        while num_asked < n:
            request = self._request(messages, n - num_asked, answer)
            request = replace(request, first_draw=request.first_draw + skip + num_asked)
            try:
                lm, request, grant = await self._granted(request)
            except BudgetError as error:
                self._cut_by(error)
                break
            start = perf_counter()
            drawn = await self._send_draws(lm, request)
            self._enter(request, grant, drawn, start)
            completions += drawn
            num_asked += request.n
            if len(drawn) < request.n:
                break
        if completions:
            self._failures.check(list(self._trace.completions()))
        return completions

    def _request(
        self,
        messages: tuple[Message, ...],
        n: int,
        answer: AnswerKind,
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> Request:
        run, use = self._run, self._run.uses[self._node]
        if constraint and (use.sampling.beams or not supports(use.lm.capabilities, constraint)):
            constraint = None
        return Request(
            messages=messages,
            n=n,
            first_draw=use.draws.start(run.index),
            seed=run.seed,
            sampling=use.sampling,
            choices=choices,
            constraint=self._constraint or constraint,
            logprobs=use.logprobs,
            answer=answer,
            thinking=use.thinking,
            hold=run.hold,
        )

    async def _granted(self, request: Request, least: int = 1) -> tuple[LM, Request, Grant | None]:
        """Whom to ask, for as many draws as the budget has room for, and that room.

        An architecture takes no room itself: the nodes within it do.
        """
        lm, meter = self._run.uses[self._node].lm, self._run.meter
        if isinstance(lm, NestedLM):
            return lm.within(meter), request, None
        size = CallSize((id(lm), request.messages, request.thinking.key))
        if meter.counts_tokens:
            if request.sampling.max_tokens is None:  # no card says what the model would take
                request = replace(request, sampling=request.sampling.over(_LONGEST))
            prompts = await prompts_of(lm, request.messages, request.thinking)
            bound = most_prompt_tokens(request.messages)
            size = CallSize(size.key, most_tokens(request), prompts, bound)
        grant = meter.grant(request.n, size, least=least)
        return lm, replace(request, n=grant.count), grant

    async def _send_draws(self, lm: LM, request: Request) -> list[Completion]:
        """Each draw on its own where some may not come to an end, so that the others are kept.

        A sample that failed is kept in its place.
        """
        if self._run.meter.deadline is None and not isinstance(lm, NestedLM):
            draws = range(request.first_draw, request.first_draw + request.n)
            return await self._failures.catch(lambda: self._send(lm, request), draws)

        async def send(draw: int) -> list[Completion]:
            one = replace(request, n=1, first_draw=draw)
            try:
                return await self._failures.catch(
                    lambda: self._send(lm, one), range(draw, draw + 1)
                )
            except BudgetError as error:
                self._cut_by(error)
                return []

        draws = range(request.first_draw, request.first_draw + request.n)
        return [c for drawn in await run_all(map(send, draws)) for c in drawn]

    async def _send(self, lm: LM, request: Request) -> list[Completion]:
        """The completions, unless the time is up first; an architecture minds that itself."""
        call = answered(lm, request, self._on_event)
        completions = await (call if isinstance(lm, NestedLM) else self._before_deadline(call))
        if len(completions) != request.n:
            raise LMError(f"the model returned {len(completions)} completions for {request.n}")
        return completions

    async def _before_deadline(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self._run.meter.deadline) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():  # its own
                raise
            raise self._run.meter.out_of_time() from None

    async def in_time(self, work: Awaitable[T]) -> T:
        """See ``NodeContext.in_time``."""
        try:
            return await self._before_deadline(work)
        except BudgetError as error:
            self._cut_by(error)
            raise

    def _enter(
        self, request: Request, grant: Grant | None, completions: list[Completion], start: float
    ) -> None:
        """Write what came of a call into budget and trace."""
        if grant is not None:  # nobody knows what a sample that failed has spent
            grant.settle([c for c in completions if c.error is None])
        if not completions:
            return
        for completion in completions:
            if isinstance(completion.trace, Trace) and self._trace.cut is None:
                self._trace.cut = completion.trace.limited_by
        self._trace.calls.append(
            CallTrace(
                request.messages,
                request.sampling,
                request.first_draw,
                completions,
                start - self._run.started,
                perf_counter() - start,
            )
        )

    def _cut_by(self, error: BudgetError) -> None:
        self._trace.cut = self._trace.cut or error.limit
        self._run.refusals.append(error)

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """See ``NodeContext.reward``.

        Raises
        ------
        LMError
            The model gave none.
        """
        lm = self._run.uses[self._node].lm
        if not isinstance(lm, RewardModel):
            raise UnsupportedError("the node's model is no reward model")
        return await lm.score(messages, texts)

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """See ``NodeContext.drop``."""
        self._trace.dropped += tuple(candidates)

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """See ``NodeContext.add_tests``."""
        self._trace.tests += tuple(tests)

    def _relay(self, event: Event) -> None:
        """Pass an event of the model on, under the name of this node."""
        assert self._run.on_event is not None
        if isinstance(event, TokenDelta):
            event = replace(event, node=self._node)
        else:  # a node of the architecture that is this node's model
            event = replace(event, node=f"{self._node}/{event.node}")
        self._run.on_event(event)
