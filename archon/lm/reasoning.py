"""Separates the reasoning of completions from their answers.

Every model of Archon passes its completions through ``separated``, and a graph does it for models
that applications supply. Everything above, from votes to clients, reads ``Completion.text``, which
is the answer; the reasoning is in ``Completion.reasoning``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from archon.lm.base import LM, SplitsReasoning
from archon.reasoning import (
    PUBLISHED_MARKERS,
    Part,
    ReasoningMarkers,
    ReasoningStream,
    split_reasoning,
)
from archon.types import Completion, Constraint, Event, OnEvent, Request, TokenDelta

Generate = Callable[[Request, OnEvent | None], Awaitable[list[Completion]]]


async def separated(
    generate: Generate,
    request: Request,
    on_event: OnEvent | None = None,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    *,
    hides_start: bool = False,
    splits_constrained: bool = False,
) -> list[Completion]:
    """Generate, and separate reasoning from answers in completions and events.

    A constraint on the complete text and scored choices leave no reasoning. Where the model itself
    reports reasoning, as servers with a field for it do, that is kept, and the text is searched in
    addition.

    Parameters
    ----------
    generate
        The model.
    markers
        The model's markers. An empty start marker means that every reply begins within the
        reasoning, unless the request turns thinking off.
    hides_start
        The start marker may stand in a prompt that is unknown here. A reply for which thinking was
        on, and which ended at ``max_tokens`` without any marker, is then reasoning.
    splits_constrained
        The model may reason before a constrained text, as servers may. It has split its completions
        itself, and its events are split here.
    """
    if request.choices is not None:
        return await generate(request, on_event)
    if constrains_whole_text(request.constraint):
        if not splits_constrained or on_event is None:
            return await generate(request, on_event)
        events = _Events(on_event, markers, is_open=False, may_be_json=True)
        completions = await generate(request, events)
        events.finish()
        return completions
    is_open = False if request.thinking.wanted is False else None
    if on_event is None:
        completions = await generate(request, None)
    else:
        events = _Events(on_event, markers, is_open)
        completions = await generate(request, events)
        events.finish()
    is_hidden = hides_start and request.thinking.wanted is True
    return [
        _cut_off_without_marker(completion)
        if is_hidden and completion.finish_reason == "length" and not completion.reasoning
        else completion
        for completion in (separate(completion, markers, is_open) for completion in completions)
    ]


async def answered(lm: LM, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
    """Generate with any LM, and separate reasoning from answers unless the LM does it."""
    if isinstance(lm, SplitsReasoning):
        return await lm.generate(request, on_event)
    return await separated(lm.generate, request, on_event)


def separate(
    completion: Completion,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    is_open: bool | None = None,
) -> Completion:
    """Separate the reasoning of a completion from its answer, unless that has been done."""
    if completion.is_reasoning_cut_off or completion.finish_reason in ("choices", "error"):
        return completion
    if completion.reasoning:  # then the text does not begin with any
        is_open = False
    reply = split_reasoning(completion.text, markers, is_open=is_open)
    reasoning = completion.reasoning + reply.reasoning
    has_no_answer = completion.finish_reason == "length" and not reply.answer.strip()
    return replace(
        completion,
        text=reply.answer,
        reasoning=reasoning,
        is_reasoning_cut_off=reply.is_cut_off or (bool(reasoning) and has_no_answer),
    )


def _cut_off_without_marker(completion: Completion) -> Completion:
    return replace(completion, text="", reasoning=completion.text, is_reasoning_cut_off=True)


def send_completion(completion: Completion, on_event: OnEvent) -> None:
    """Send a complete sample as events: its reasoning, then its answer."""
    if completion.reasoning:
        on_event(TokenDelta(completion.draw, completion.reasoning, is_reasoning=True))
    if completion.text:
        on_event(TokenDelta(completion.draw, completion.text))


def constrains_whole_text(constraint: Constraint | None) -> bool:
    """Whether a constraint applies to a text from its beginning."""
    return constraint is not None and constraint.after is None


class _Events:
    """Splits the token deltas of each sample; forwards all other events."""

    def __init__(
        self,
        on_event: OnEvent,
        markers: Sequence[ReasoningMarkers],
        is_open: bool | None,
        *,
        may_be_json: bool = False,
    ) -> None:
        self._on_event, self._markers, self._is_open = on_event, markers, is_open
        self._streams: dict[int, ReasoningStream] = {}
        self._may_be_json = may_be_json
        self._begun: set[int] = set()
        """Samples whose text has begun."""
        self._json: set[int] = set()
        """Samples whose text is JSON, whose strings may contain markers."""
        self._has_reasoning: set[int] = set()
        """Samples whose reasoning the model itself reports."""

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TokenDelta):
            self._on_event(event)
        elif event.is_reasoning:
            self._has_reasoning.add(event.draw)
            self._on_event(event)
        elif self._is_json(event):
            self._on_event(event)
        else:
            stream = self._streams.get(event.draw)
            if stream is None:
                is_open = False if event.draw in self._has_reasoning else self._is_open
                stream = ReasoningStream(self._markers, is_open=is_open)
                self._streams[event.draw] = stream
            self._send(event, stream.feed(event.text))

    def _is_json(self, event: TokenDelta) -> bool:
        """Whether the sample's text begins like a JSON object."""
        if self._may_be_json and event.draw not in self._begun and event.text.strip():
            self._begun.add(event.draw)
            if event.text.lstrip().startswith("{"):
                self._json.add(event.draw)
        return event.draw in self._json

    def finish(self) -> None:
        """Send the text that was held back."""
        for draw, stream in self._streams.items():
            self._send(TokenDelta(draw, ""), stream.finish())

    def _send(self, event: TokenDelta, parts: Sequence[Part]) -> None:
        for part in parts:
            self._on_event(replace(event, text=part.text, is_reasoning=part.is_reasoning))
