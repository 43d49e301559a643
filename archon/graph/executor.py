"""Run a graph on one question. Each node is an asyncio task that awaits its inputs."""

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
from archon.graph.model_bindings import ModelUse
from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.trace import CallTrace, NodeTrace, Trace
from archon.graph.validation.build import Graph
from archon.lm.base import LM, most_prompt_tokens, prompts_of, supports
from archon.lm.compute import ComputeModel, collect_scored, compute_of, scored
from archon.lm.concurrency import run_all
from archon.lm.reasoning import generate_answers
from archon.lm.reward import RewardModel
from archon.lm.sample_failures import Failures, require_all
from archon.tracing.spans import node_span, record
from archon.types import (
    DEFAULT_SAMPLING,
    UNNUMBERED,
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
    Request,
    SamplingParams,
    TokenDelta,
    ToolCallDelta,
    UnitTest,
    Usage,
)

T = TypeVar("T")

_DEFAULT_LIMIT = SamplingParams(max_tokens=DEFAULT_SAMPLING.max_tokens)


@dataclass(frozen=True, slots=True)
class Run:
    """State that all nodes share during one run, which answers one question."""

    uses: Mapping[str, ModelUse]
    constraint: Constraint | None
    """The constraint on the text of the output node; other nodes ignore it."""
    on_event: OnEvent | None
    meter: Meter
    trace: Trace
    """Records the run; it also contains the question, the seed and the run number."""
    started: float
    hold: Hold = field(default_factory=Hold)
    """Keeps the question's prompts in the models' caches as long as a node may read them again."""
    refusals: list[BudgetError] = field(default_factory=list)
    """Errors of calls that the budget did not allow, in order."""


@dataclass(frozen=True, slots=True)
class EdgeData:
    """The data that a node passes to the nodes that read it."""

    candidates: list[Candidate]
    tests: tuple[UnitTest, ...] = ()
    """Unit tests of this node and of all nodes upstream of it."""


async def execute(graph: Graph, nodes: Mapping[str, GraphNode], run: Run) -> list[Candidate]:
    """Run all nodes and return the candidates of the output node.

    When the budget runs out, a node makes fewer calls, or makes none and passes on its inputs. The
    output node therefore has candidates if any reached it.

    Raises
    ------
    NodeError
        A node failed; the other nodes were cancelled.
    BudgetError
        Tokens, calls or seconds ran out before any node produced a candidate.
    """
    loop = asyncio.get_running_loop()
    passed_on: dict[str, asyncio.Future[EdgeData]] = {
        name: loop.create_future() for name in graph.order
    }
    unfinished = set(run.uses)

    async def step(name: str) -> None:
        inputs = [await passed_on[source] for source in graph.inputs[name]]
        with node_span(name, graph.spec.nodes[name].type) as span:
            passed_on[name].set_result(await _run_node(name, graph, nodes[name], inputs, run))
            record(span, run.trace.nodes[name].span_attributes)
        unfinished.discard(name)
        if not unfinished:
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
    name: str, graph: Graph, node: GraphNode, inputs: Sequence[EdgeData], run: Run
) -> EdgeData:
    spec = graph.spec.nodes[name]
    candidates = join([source.candidates for source in inputs])
    tests = join_tests(source.tests for source in inputs)
    start = perf_counter()
    trace = NodeTrace(name, spec.type, start - run.started, tuple(c.id for c in candidates))
    run.trace.nodes[name] = trace
    outputs = candidates
    kind = run.trace.question.answer
    trace.bypassed = spec.when is not None and not await holds(spec.when, candidates, kind)
    use = run.uses.get(name)
    if not trace.bypassed:
        trace.notes = tuple(NODE_TYPES[spec.type].unsuited(name, spec, kind))
        if run.on_event is not None:
            run.on_event(NodeStarted(name))
        try:
            if use is not None and use.nested is None:
                calls = method_of(spec).calls(spec, len(candidates))
                run.meter.require_calls(calls.minimum)
            context = Context(run, trace, tests, is_output=name == graph.spec.output)
            with collect_scored() as trace.scored:
                outputs = await node.run(context, candidates)
        except BudgetError as error:
            trace.cut = error.limit
            run.refusals.append(error)
        except Exception as error:
            raise NodeError(name, error) from error
        if use is not None and use.nested is None:
            trace.model, trace.compute_model = use.model, compute_of(use.lm)
    trace.outputs = tuple(outputs)
    trace.seconds = perf_counter() - start
    if run.on_event is not None:
        run.on_event(
            NodeFinished(
                name,
                len(outputs),
                trace.usage,
                trace.seconds,
                trace.bypassed,
                trace.cut,
                trace=trace,
            )
        )
    return EdgeData(outputs, join_tests([tests, trace.tests]))


class Context:
    """A node's interface to the run; implements ``archon.graph.nodes.base.NodeContext``."""

    def __init__(
        self, run: Run, trace: NodeTrace, tests: tuple[UnitTest, ...], *, is_output: bool
    ) -> None:
        self.question, self.tests = run.trace.question, tests
        self._node, self._run, self._trace = trace.node, run, trace
        self._constraint = run.constraint if is_output else None
        self._on_event = None if run.on_event is None else self._relay
        self._failures = Failures()

    @property
    def _use(self) -> ModelUse:
        """The node's model; only nodes that use one ask for it."""
        return self._run.uses[self._node]

    def can(self, capability: str) -> bool:
        """See ``NodeContext.can``."""
        return capability in self._use.lm.capabilities

    async def ask(
        self,
        messages: tuple[Message, ...],
        *,
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> Completion:
        """See ``NodeContext.ask``.

        Raises
        ------
        BudgetError
            The budget does not allow the call.
        LMError
            The model did not answer.
        """
        use = self._use
        if constraint and (use.sampling.beams or not supports(use.lm.capabilities, constraint)):
            constraint = None
        request = replace(
            self._request(messages, answer="text"),
            choices=choices,
            constraint=self._constraint or constraint,
        )
        lm, request, grant = await self._granted(request)
        start = perf_counter()
        completions = require_all(await self._send(lm, request))
        self._record(request, grant, completions, start)
        return completions[0]

    async def sample(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0
    ) -> list[Completion]:
        """See ``NodeContext.sample``.

        If the budget does not allow ``n`` samples at the same time, as many as it allows are
        generated. They may use fewer tokens than were reserved, so the remaining samples are then
        tried.

        Raises
        ------
        LMError, NodeError
            Every sample of the node failed.
        """
        request = self._request(messages, self.question.answer, self.question.ending)
        completions: list[Completion] = []
        num_requested = 0
        while num_requested < n:
            first = request.first_draw + skip + num_requested
            rest = replace(request, n=n - num_requested, first_draw=first)
            try:
                lm, rest, grant = await self._granted(rest)
            except BudgetError as error:
                self._record_limit(error)
                break
            start = perf_counter()
            new = await self._send_samples(lm, rest)
            self._record(rest, grant, new, start)
            completions += new
            num_requested += rest.n
            if len(new) < rest.n:
                break
        if completions:
            self._failures.check(list(self._trace.completions()))
        return completions

    def _request(
        self, messages: tuple[Message, ...], answer: AnswerKind, ending: bool = True
    ) -> Request:
        run, use = self._run, self._use
        return Request(
            messages=messages,
            first_draw=use.sample_range.start(run.trace.run),
            seed=run.trace.seed,
            sampling=use.sampling,
            constraint=self._constraint,
            logprobs=use.logprobs,
            answer=answer,
            ending=ending,
            thinking=use.thinking,
            hold=run.hold,
        )

    async def _granted(self, request: Request) -> tuple[LM, Request, Grant | None]:
        """Reserve budget for a request; return its model, the request and the reservation.

        The request is reduced to the number of samples that the budget allows. Nothing is reserved
        for an architecture, because its nodes reserve budget for their calls.
        """
        use, meter = self._use, self._run.meter
        if use.nested is not None:
            return use.nested.with_meter(meter), request, None
        lm = use.lm
        size = CallSize((id(lm), request.messages, request.thinking.key))
        if meter.counts_tokens:
            if request.sampling.max_tokens is None:  # without a card, the default is unknown
                request = replace(request, sampling=request.sampling.over(_DEFAULT_LIMIT))
            prompts = await prompts_of(lm, request.messages, request.thinking)
            bound = most_prompt_tokens(request.messages)
            model = self._known_compute() if meter.counts_compute else None
            beams = max(1, request.sampling.beams or 0)
            size = CallSize(size.key, most_tokens(request), prompts, bound, model, beams)
        grant = meter.grant(request.n, size)
        return lm, replace(request, n=grant.count), grant

    def _known_compute(self) -> ComputeModel:
        """Return the sizes of the node's model, which a budget of compute needs.

        Raises
        ------
        UnsupportedError
            They are unknown.
        """
        model = compute_of(self._use.lm)
        if model is None:
            raise UnsupportedError(
                f"the budget limits compute, but the number of parameters of {self._use.model} is "
                'not known; add "parameters": {"total": N, "active": N} to the model card'
            )
        return model

    async def _send_samples(self, lm: LM, request: Request) -> list[Completion]:
        """Send a request for samples; return the samples, or errors for those that failed.

        If a deadline or a nested architecture's budget can stop a sample, each sample is a separate
        request, so that finished samples are kept.
        """
        indices = range(request.first_draw, request.first_draw + request.n)
        if self._run.meter.deadline is None and self._use.nested is None:
            return await self._failures.catch(lambda: self._send(lm, request), indices)

        async def send(index: int) -> list[Completion]:
            one = replace(request, n=1, first_draw=index)
            try:
                return await self._failures.catch(
                    lambda: self._send(lm, one), range(index, index + 1)
                )
            except BudgetError as error:
                self._record_limit(error)
                return []

        return [c for completions in await run_all(map(send, indices)) for c in completions]

    async def _send(self, lm: LM, request: Request) -> list[Completion]:
        """Send a request; return its completions, or raise ``BudgetError`` at the deadline.

        A nested architecture enforces the deadline itself.
        """
        call = generate_answers(lm, request, self._on_event)
        is_nested = self._use.nested is not None
        completions = await (call if is_nested else self._before_deadline(call))
        if len(completions) != request.n:
            raise LMError(
                f"the model returned {len(completions)} completions instead of {request.n}"
            )
        if all(completion.draw == UNNUMBERED for completion in completions):
            return [
                replace(completion, draw=request.first_draw + i, usage=_of_one_call(completion))
                for i, completion in enumerate(completions)
            ]
        return completions

    async def _before_deadline(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self._run.meter.deadline) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():  # the work itself timed out
                raise
            raise self._run.meter.out_of_time() from None

    async def in_time(self, work: Awaitable[T]) -> T:
        """See ``NodeContext.in_time``."""
        try:
            return await self._before_deadline(work)
        except BudgetError as error:
            self._record_limit(error)
            raise

    def _record(
        self, request: Request, grant: Grant | None, completions: list[Completion], start: float
    ) -> None:
        """Record a call in the budget and in the trace."""
        if grant is not None:  # the usage of a failed sample is unknown
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

    def _record_limit(self, error: BudgetError) -> None:
        self._trace.cut = self._trace.cut or error.limit
        self._run.refusals.append(error)

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """See ``NodeContext.reward``.

        Raises
        ------
        LMError
            The model did not return a reward for each text.
        """
        lm = self._use.lm
        if not isinstance(lm, RewardModel):
            raise UnsupportedError("the node's model is not a reward model")
        return await scored(lm.score(messages, texts), texts)

    def drop(self, candidates: Sequence[Candidate]) -> None:
        """See ``NodeContext.drop``."""
        self._trace.dropped += tuple(candidates)

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        """See ``NodeContext.add_tests``."""
        self._trace.tests += tuple(tests)

    def _relay(self, event: Event) -> None:
        """Pass on an event of the node's model, with the node's name in it."""
        assert self._run.on_event is not None
        if isinstance(event, ToolCallDelta):
            return  # nodes offer no tools
        if isinstance(event, TokenDelta):
            event = replace(event, node=self._node)
        elif isinstance(event, NodeStarted | NodeFinished):  # of an architecture as the model
            event = replace(event, node=f"{self._node}/{event.node}")
        self._run.on_event(event)


def _of_one_call(completion: Completion) -> Usage:
    """Return the usage of a custom model's completion, which counts at least as one call."""
    return completion.usage if completion.usage.calls else replace(completion.usage, calls=1)
