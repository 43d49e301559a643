"""``ArchitectureLM``, which makes an architecture usable as a language model."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import replace
from typing import Any

from archon.errors import LMError, UnsupportedError
from archon.graph.answer import Answer
from archon.graph.architecture import Architecture
from archon.graph.budget import Meter
from archon.graph.candidates import reply_text
from archon.graph.model_bindings import ModelUse
from archon.graph.sample_allocation import Member, SamplePlan
from archon.lm.base import check_request
from archon.lm.concurrency import run_all
from archon.reasoning import ReasoningMarkers
from archon.types import (
    AnswerKind,
    Completion,
    Event,
    Example,
    FinishReason,
    NodeDelta,
    OnEvent,
    Question,
    Request,
    SamplingParams,
    TokenDelta,
    ToolCallDelta,
)

_MAX_CACHED = 64
_PASSED_ON = frozenset({"constraint", "schema", "regex", "closing", "logprobs"})
"""Capabilities that the architecture has if the output node's model has them."""


class ArchitectureLM:
    """A language model whose samples are runs of an architecture; sample k is run k.

    The last message, from the user, is the question; the messages before it are the history. The
    request's sampling parameters apply to the nodes in ``sampled_nodes``. Every answer ends before
    the request's stop strings, no matter which node wrote it.

    If the output node writes the answer, the request's ``constraint`` and ``logprobs`` apply to
    that node, and its tokens are streamed. If it chooses among candidates, requests with these
    parameters are rejected, and the answer is streamed as one delta. Events of the nodes are passed
    on in both cases.

    Parameters
    ----------
    architecture
        The architecture to run.
    plan
        The nodes' sample indices. The outer graph passes them if the architecture is a node's
        model.
    """

    reasoning_markers: tuple[ReasoningMarkers, ...] = ()
    """Empty, because the models of the nodes have already separated reasoning from answers."""

    def __init__(self, architecture: Architecture, plan: SamplePlan | None = None) -> None:
        self.architecture = architecture
        self.generates = architecture.models.generates
        self.sampled_nodes = architecture.models.sampled_nodes
        passed_on = architecture.models.output_capabilities & _PASSED_ON
        self.capabilities = frozenset({"chat", "stream"}) | passed_on
        self._plan = plan
        self._outer: Meter | None = None
        self._uses: dict[tuple[SamplingParams, bool], dict[str, ModelUse]] = {}

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Run the architecture ``request.n`` times, concurrently; return one completion per run.

        Raises
        ------
        UnsupportedError
            The architecture does not support the request.
        NodeError
            A node failed.
        BudgetError
            A run used up its budget before any node produced a candidate.
        """
        check_request(request, self.capabilities, self.architecture.name)
        self.check_sampling(request.sampling)
        question = self._question(request)
        uses = self._uses_for(request.sampling, request.logprobs)
        runs = range(request.first_draw, request.first_draw + request.n)
        return await run_all(self._run(request, question, uses, run, on_event) for run in runs)

    def check_sampling(self, sampling: SamplingParams) -> None:
        """Check that the nodes can apply all parameters.

        Raises
        ------
        UnsupportedError
            A parameter can be set only in the nodes; the error names it.
        """
        if sampling.logit_bias and (count := self.architecture.models.num_sampled_models) > 1:
            reason = (
                f"the nodes that logit_bias would apply to have {count} models, and a token id "
                "belongs to one; set logit_bias in the nodes"
            )
            raise UnsupportedError(f"{self.architecture.name}: {reason}", field="logit_bias")

    def members(self, sampling: SamplingParams) -> tuple[Member, ...]:
        """See ``NestedLM.members``."""
        return self.architecture.models.members(sampling)

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None, ending: bool = True
    ) -> dict[str, Any]:
        """See ``Architecture.specification``."""
        return self.architecture.specification(answer, examples, ending)

    def weights_digests(self, opened: Collection[str] = ()) -> dict[str, str]:
        """See ``Architecture.weights_digests``."""
        return self.architecture.weights_digests(opened)

    def with_plan(self, plan: SamplePlan) -> ArchitectureLM:
        """See ``NestedLM.with_plan``."""
        return ArchitectureLM(self.architecture, plan)

    def with_meter(self, meter: Meter) -> ArchitectureLM:
        """See ``NestedLM.with_meter``."""
        inner = copy(self)
        inner._outer = meter
        return inner

    def _question(self, request: Request) -> Question:
        if not request.messages or request.messages[-1].role != "user":
            reason = "the last message must have the role 'user', because it is the question"
            raise UnsupportedError(f"{self.architecture.name}: {reason}", field="messages")
        *history, last = request.messages
        answer = request.answer or self.architecture.spec.answer
        return Question(last.content, tuple(history), answer, ending=request.ending)

    def _uses_for(self, sampling: SamplingParams, logprobs: bool) -> dict[str, ModelUse]:
        uses = self._uses.get((sampling, logprobs))
        if uses is None:
            if len(self._uses) >= _MAX_CACHED:  # a server's clients choose the sampling
                self._uses.clear()
            uses = self.architecture.models.uses(sampling, self._plan)
            if logprobs or sampling.top_logprobs:
                output = self.architecture.spec.output
                of_answer = SamplingParams(top_logprobs=sampling.top_logprobs)
                sampling_of_output = of_answer.over(uses[output].sampling)
                uses[output] = replace(uses[output], logprobs=True, sampling=sampling_of_output)
            self._uses[sampling, logprobs] = uses
        return uses

    async def _run(
        self,
        request: Request,
        question: Question,
        uses: dict[str, ModelUse],
        run: int,
        on_event: OnEvent | None,
    ) -> Completion:
        stream = None if on_event is None else self._stream(uses, run, on_event)
        answer = await self.architecture.answer(
            question,
            seed=request.seed,
            run=run,
            on_event=stream,
            uses=uses,
            constraint=request.constraint,
            around=self._outer,
        )
        if stream is not None:
            stream.check(answer)
        text, written = answer.text, _completion_of(answer)
        reasoning = "" if written is None else written.reasoning
        finish_reason: FinishReason = "stop" if written is None else written.finish_reason
        if answer.candidates:
            first = answer.candidates[0]
            if first.id.node != self.architecture.spec.output and self.sampled_nodes:
                # The writer's request may not have had the stop strings.
                first = replace(first, text=_before(first.text, request.sampling.stop or ()))
                finish_reason = "stop" if first.text != answer.text else finish_reason
            text = reply_text(first, question)
        if stream is not None:
            stream.finish(text, reasoning)
        completion = Completion(
            text=text,
            draw=run,
            finish_reason=finish_reason,
            usage=answer.usage,
            prompts=answer.trace.prompts,
            notes=answer.notes,
            reasoning=reasoning,
            is_reasoning_cut_off=written is not None and written.is_reasoning_cut_off,
            trace=answer.trace,
        )
        if written is None or not (request.logprobs or request.sampling.top_logprobs):
            return completion
        return replace(
            completion,
            token_ids=written.token_ids,
            logprobs=written.logprobs,
            tokens=written.tokens,
            top_logprobs=written.top_logprobs if request.sampling.top_logprobs else None,
        )

    def _stream(self, uses: dict[str, ModelUse], run: int, on_event: OnEvent) -> _Stream:
        output = self.architecture.spec.output
        index = uses[output].sample_range.start(run) if self.generates else None
        return _Stream(output, index, run, on_event)


class _Stream:
    """Event handler that converts the events of a run to the events of one sample of the LM.

    Every token delta of a node becomes a ``NodeDelta``. Token deltas of the answer, which is sample
    ``answer_index`` of the output node, are also forwarded as the LM's own; none are if
    ``answer_index`` is None.
    """

    def __init__(self, output: str, answer_index: int | None, run: int, on_event: OnEvent) -> None:
        self._output, self._answer_index = output, answer_index
        self._run, self._on_event = run, on_event
        self._has_text = self._has_reasoning = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, ToolCallDelta):
            return  # nodes offer no tools
        if not isinstance(event, TokenDelta):
            self._on_event(replace(event, run=self._run))
            return
        delta = NodeDelta(event.node, event.draw, event.text, event.is_reasoning, self._run)
        self._on_event(delta)
        if event.node == self._output and event.draw == self._answer_index:
            self._has_text = self._has_text or not event.is_reasoning
            self._has_reasoning = self._has_reasoning or event.is_reasoning
            self._on_event(TokenDelta(self._run, event.text, is_reasoning=event.is_reasoning))

    def finish(self, text: str, reasoning: str) -> None:
        """Send the answer and its reasoning as one delta each, unless they were streamed before."""
        if reasoning and not (self._has_reasoning or self._has_text):
            self._on_event(TokenDelta(self._run, reasoning, is_reasoning=True))
        if text and not self._has_text:
            self._on_event(TokenDelta(self._run, text))

    def check(self, answer: Answer) -> None:
        """Check that the sample that was streamed did not fail afterwards.

        Raises
        ------
        LMError
            The sample failed. Its text has already been sent and cannot be replaced.
        """
        if not self._has_text:
            return
        for completion in answer.trace.nodes[self._output].completions():
            if completion.draw == self._answer_index and completion.error is not None:
                raise LMError(f"the streamed sample failed: {completion.error}")


def _before(text: str, stops: tuple[str, ...]) -> str:
    """Return the text before the first stop string."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]


def _completion_of(answer: Answer) -> Completion | None:
    """Return the completion whose text is the answer; None if there is no answer."""
    if answer.candidates:
        identity = answer.candidates[0].id
        for completion in answer.trace.nodes[identity.node].completions():
            if completion.draw == identity.draw:
                return completion
    return None
