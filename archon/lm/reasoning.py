"""Separate the reasoning from the answer in completions.

Archon's models use ``generate_separated``. For custom models, the graph calls ``generate_answers``.
After separation, ``Completion.text`` contains only the answer, and ``Completion.reasoning``
contains the reasoning.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from archon.lm.base import LM, SplitsReasoning
from archon.lm.tool_calls.stream import send_calls
from archon.reasoning import (
    PUBLISHED_MARKERS,
    Part,
    ReasoningMarkers,
    ReasoningStream,
    split_reasoning,
)
from archon.tracing.spans import call_span, record_completions
from archon.types import Completion, Constraint, Event, OnEvent, Request, TokenDelta

Generate = Callable[[Request, OnEvent | None], Awaitable[list[Completion]]]


async def generate_separated(
    generate: Generate,
    request: Request,
    on_event: OnEvent | None = None,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    *,
    hides_start: bool = False,
    splits_constrained: bool = False,
) -> list[Completion]:
    """Generate completions, and separate reasoning from answers in them and in their events.

    Scored choices and completely constrained texts are returned unchanged. Reasoning that the model
    reports itself, for example in a field of a server's reply, is kept. The text is searched for
    more reasoning.

    Parameters
    ----------
    generate
        The model's method that generates completions, with reasoning in their texts.
    markers
        Markers around the model's reasoning. An empty start marker means that every reply begins
        with reasoning, unless the request turns thinking off.
    hides_start
        Whether the prompt may end with a start marker that is not visible here. If it may, and the
        request turns thinking on, a reply that was cut off without any marker counts as reasoning.
    splits_constrained
        Whether the model may reason before a completely constrained text and separates this
        reasoning in its completions itself. If it does, only its events are separated here.
    """
    is_constrained = constrains_whole_text(request.constraint)
    has_no_reasoning = request.choices is not None or (is_constrained and not splits_constrained)
    if has_no_reasoning or (is_constrained and on_event is None):
        return await generate(request, on_event)
    is_open = False if is_constrained or request.thinking.wanted is False else None
    if on_event is None:
        completions = await generate(request, None)
    else:
        events = _Events(on_event, markers, is_open, may_be_json=is_constrained)
        completions = await generate(request, events)
        events.finish()
    if is_constrained:
        return completions
    completions = [separate(completion, markers, is_open) for completion in completions]
    if hides_start and request.thinking.wanted is True:
        return [
            replace(c, text="", reasoning=c.text, is_reasoning_cut_off=True)
            if c.finish_reason == "length" and not c.reasoning
            else c
            for c in completions
        ]
    return completions


async def generate_answers(
    lm: LM, request: Request, on_event: OnEvent | None = None
) -> list[Completion]:
    """Generate with any LM. Separate reasoning from answers unless the LM does so itself."""
    with call_span(lm, request) as span:
        if isinstance(lm, SplitsReasoning):
            completions = await lm.generate(request, on_event)
        else:
            completions = await generate_separated(lm.generate, request, on_event)
        record_completions(span, completions)
        return completions


def separate(
    completion: Completion,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    is_open: bool | None = None,
) -> Completion:
    """Return a completion with its reasoning separated from its answer.

    A completion that is already separated is not changed.

    Parameters
    ----------
    is_open
        True if the text begins within reasoning, False if it does not, and None if this is unknown.
    """
    if completion.is_reasoning_cut_off or completion.finish_reason in ("choices", "error"):
        return completion
    if completion.reasoning:  # the text does not begin within reasoning
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


def send_completion(completion: Completion, on_event: OnEvent) -> None:
    """Send a completion as events: its reasoning, then its answer, then its tool calls."""
    if completion.reasoning:
        on_event(TokenDelta(completion.draw, completion.reasoning, is_reasoning=True))
    if completion.text:
        on_event(TokenDelta(completion.draw, completion.text))
    send_calls(completion, on_event)


def constrains_whole_text(constraint: Constraint | None) -> bool:
    """Return True if a constraint applies to the complete text, not only after free text."""
    return constraint is not None and constraint.after is None


class _Events:
    """Event listener that separates reasoning in token deltas and forwards all other events."""

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
        self._started: set[int] = set()
        """Numbers of the samples that have any text."""
        self._json: set[int] = set()
        """Numbers of the samples that are JSON. Markers in their strings are ordinary text."""
        self._has_reasoning: set[int] = set()
        """Numbers of the samples whose reasoning the model reports itself."""

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TokenDelta):
            self._on_event(event)
        elif event.is_reasoning:
            self._has_reasoning.add(event.draw)
            self._on_event(event)
        elif self._is_json(event):
            self._on_event(event)
        else:
            if event.draw not in self._streams:
                is_open = False if event.draw in self._has_reasoning else self._is_open
                self._streams[event.draw] = ReasoningStream(self._markers, is_open=is_open)
            self._send(event, self._streams[event.draw].feed(event.text))

    def _is_json(self, event: TokenDelta) -> bool:
        """Return True if the text of the event's sample begins with ``{``."""
        if self._may_be_json and event.draw not in self._started and event.text.strip():
            self._started.add(event.draw)
            if event.text.lstrip().startswith("{"):
                self._json.add(event.draw)
        return event.draw in self._json

    def finish(self) -> None:
        """Send all text that was held back because it could have begun a marker."""
        for draw, stream in self._streams.items():
            self._send(TokenDelta(draw, ""), stream.finish())

    def _send(self, event: TokenDelta, parts: Sequence[Part]) -> None:
        for part in parts:
            self._on_event(replace(event, text=part.text, is_reasoning=part.is_reasoning))
