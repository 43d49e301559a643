"""The edge of the models: what a model wrote becomes its reasoning and its answer.

Every model of ours sends its replies through ``separated``, and so does a graph for the models that
programs bring. What is above, from votes to clients, sees ``Completion.text``, the answer alone;
the reasoning stays in ``Completion.reasoning``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from archon.lm.base import LM
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
    splits_forms: bool = False,
) -> list[Completion]:
    """The completions and the events of a model, reasoning and answers told apart.

    A form that binds the whole text, and scored choices, have no reasoning. Where the model tells
    its reasoning by itself, as servers with a field for it do, that stays, and the text is looked
    through all the same.

    Parameters
    ----------
    generate : the model.
    markers : those that it uses. An empty start marker says that every reply begins within the
        reasoning, unless the request asks for none.
    hides_start : the start marker may stand in a prompt that is not known here. A reply that was
        asked to reason, and that ended at ``max_tokens`` without any marker, is then reasoning.
    splits_forms : the model may reason in front of a form of the whole text, as behind servers. Its
        completions are split by then, and its events are split here.
    """
    if request.choices is not None:
        return await generate(request, on_event)
    if is_whole_form(request.constraint):
        if not splits_forms or on_event is None:
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
    """The completions of any model, reasoning and answers told apart: by a model of ours itself,
    which tells its ``reasoning_markers``, and here for one that a program brings."""
    if hasattr(lm, "reasoning_markers"):
        return await lm.generate(request, on_event)
    return await separated(lm.generate, request, on_event)


def separate(
    completion: Completion,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
    is_open: bool | None = None,
) -> Completion:
    """A completion with its reasoning told apart from its answer; one of which that was done stays
    as it is."""
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


def is_whole_form(form: Constraint | None) -> bool:
    """Whether a form binds a text from its beginning to its end."""
    return form is not None and form.after is None


class _Events:
    """Splits the token deltas of each draw; passes everything else on as it is."""

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
        """Draws whose text has begun."""
        self._json: set[int] = set()
        """Draws whose text is JSON: its strings may hold anything."""
        self._told: set[int] = set()
        """Draws whose reasoning the model tells by itself."""

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TokenDelta):
            self._on_event(event)
        elif event.is_reasoning:
            self._told.add(event.draw)
            self._on_event(event)
        elif self._is_json(event):
            self._on_event(event)
        else:
            stream = self._streams.get(event.draw)
            if stream is None:
                is_open = False if event.draw in self._told else self._is_open
                stream = ReasoningStream(self._markers, is_open=is_open)
                self._streams[event.draw] = stream
            self._send(event, stream.feed(event.text))

    def _is_json(self, event: TokenDelta) -> bool:
        """Whether the draw's text begins as a JSON object does."""
        if self._may_be_json and event.draw not in self._begun and event.text.strip():
            self._begun.add(event.draw)
            if event.text.lstrip().startswith("{"):
                self._json.add(event.draw)
        return event.draw in self._json

    def finish(self) -> None:
        """Pass on what was held back."""
        for draw, stream in self._streams.items():
            self._send(TokenDelta(draw, ""), stream.finish())

    def _send(self, event: TokenDelta, parts: Sequence[Part]) -> None:
        for part in parts:
            self._on_event(replace(event, text=part.text, is_reasoning=part.is_reasoning))
