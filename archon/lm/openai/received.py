"""From what comes over the wire to completions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import httpx

from archon.errors import LMError
from archon.lm.openai.failed import failed_sample
from archon.lm.openai.response import Choice, GarbledError, Reply, read_chunk, read_reply
from archon.lm.openai.structured_output import unwrapped
from archon.lm.openai.transport import content_type, handle_events, read_body, read_events
from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers, split_reasoning
from archon.types import Completion, Constraint, OnEvent, Request, TokenDelta, Usage

NO_USAGE = "the server reported no count of tokens; what is missing counts as 0"
"""The note on a sample whose cost is not known."""
NO_ANSWER = "the reply holds reasoning and no answer"


_NO_TYPE = frozenset({"", "text/plain", "application/octet-stream"})
"""Media types that say nothing of what a reply is."""
_START = rb"(?:\xef\xbb\xbf)?\s*+"
_JSON = re.compile(_START + rb"[{\[]")
_EVENTS = re.compile(_START + rb"(?:data|event|id|retry)?:")


class Deltas:
    """Passes text on as events. Once some is sent it cannot be taken back by another try."""

    def __init__(self, on_event: OnEvent, draws: range) -> None:
        self.has_begun = False
        self._on_event, self._draws = on_event, draws

    def send(self, index: int, text: str, *, is_reasoning: bool = False) -> None:
        """More text of the choice ``index``, or more of the reasoning before it."""
        self.has_begun = True
        self._on_event(TokenDelta(self._draws[index], text, is_reasoning=is_reasoning))


async def receive(response: httpx.Response, reply: Reply, deltas: Deltas | None) -> None:
    """Read a reply in full; a server that does not stream although asked to sends one delta."""
    kind = content_type(response)
    is_named = kind not in _NO_TYPE
    content = b""
    if not is_named:
        content = await read_body(response)
        kind = _type_of(content) or kind
    if kind == "application/json":
        read_reply(reply, content or await read_body(response))
        for index, choice in enumerate(reply.finished()):
            if deltas is not None and choice.error is None:
                if choice.reasoning:
                    deltas.send(index, choice.reasoning, is_reasoning=True)
                if choice.text:
                    deltas.send(index, choice.text)
        return
    if kind != "text/event-stream":
        raise GarbledError(f"the reply is of the type {kind!r}, not application/json")

    def handle(event: bytes) -> None:
        for index, text, is_reasoning in read_chunk(reply, event):
            if deltas is not None:
                deltas.send(index, text, is_reasoning=is_reasoning)

    if is_named:
        reply.is_complete = await read_events(response, handle)
    else:
        reply.is_complete = handle_events(content, handle)
    reply.finished()


def _type_of(content: bytes) -> str:
    """The media type of a reply whose server names none; empty where it is none of ours."""
    if _JSON.match(content):
        return "application/json"
    return "text/event-stream" if _EVENTS.match(content) else ""


def completions_of(
    reply: Reply,
    draws: range,
    request: Request,
    prompt: str,
    *,
    is_wrapped: bool = False,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
) -> list[Completion]:
    """The samples that a finished reply brings; ``prompt`` is the prompt's digest.

    ``is_wrapped`` says that texts come as JSON objects (see ``structured_output``). ``markers`` are
    those of the reasoning that may stand in front of a text with a form.

    Raises
    ------
    LMError : not one of them can be used.
    """
    choices = reply.finished()
    num_whole = sum(choice.error is None for choice in choices)
    share, rest = divmod(reply.completion_tokens, num_whole)
    completions: list[Completion] = []
    errors: list[LMError] = []
    num_counted = 0
    for draw, choice in zip(draws, choices, strict=True):
        num_tokens = share + (num_counted < rest)
        num_counted += choice.error is None
        usage = Usage(
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=num_tokens,
            generated_tokens=num_tokens,
            calls=1,
        )
        try:
            if request.constraint is not None and choice.error is None:
                _split(choice, request.constraint, markers)
            completion = _completion(choice, draw, usage, request, prompt, is_wrapped=is_wrapped)
        except LMError as error:
            errors.append(error)
            completion = failed_sample(draw, error)
        completions.append(completion)
    if len(errors) == len(completions):
        raise errors[0]
    return completions


def _completion(
    choice: Choice, draw: int, usage: Usage, request: Request, prompt: str, *, is_wrapped: bool
) -> Completion:
    """One sample.

    Raises
    ------
    LMError : it cannot be used.
    """
    if choice.error is not None:
        raise choice.error
    assert choice.finish_reason is not None
    if request.logprobs and choice.text and not choice.logprobs:
        raise LMError("the server sent no log-probabilities, although its card promises them")
    most = request.sampling.max_tokens
    if choice.has_empty_reason and most is not None and usage.completion_tokens >= most:
        choice.finish_reason = "length"
    notes = list(choice.notes)
    if not usage.prompt_tokens or (choice.text and not usage.completion_tokens):
        notes.append(NO_USAGE)
    has_no_answer = bool(choice.reasoning) and not choice.text.strip()
    if has_no_answer and choice.finish_reason == "stop":
        notes.append(NO_ANSWER)
    return Completion(
        text=_text(choice, request.constraint, is_wrapped),
        draw=draw,
        finish_reason=choice.finish_reason,
        usage=usage,
        prompts={prompt: usage.prompt_tokens},
        logprobs=tuple(choice.logprobs) if request.logprobs else None,
        tokens=tuple(choice.tokens) if request.logprobs else None,
        reasoning=choice.reasoning,
        is_reasoning_cut_off=has_no_answer,
        notes=tuple(notes),
    )


def _split(choice: Choice, form: Constraint, markers: Sequence[ReasoningMarkers]) -> None:
    """Take the reasoning in front of a text that has a form out of the text.

    JSON that is whole stays as it is: its strings may hold anything.
    """
    is_json = form.json_schema is not None or form.after is not None
    if is_json and choice.text.lstrip().startswith("{"):
        return
    reply = split_reasoning(choice.text, markers, is_open=False)
    choice.reasoning += reply.reasoning
    choice.text = reply.answer


def _text(choice: Choice, form: Constraint | None, is_wrapped: bool) -> str:
    """Refuse what was to be JSON and is none; a text that was cut off cannot be."""
    has_no_answer = bool(choice.reasoning) and not choice.text.strip()
    if form is None or choice.finish_reason == "length" or has_no_answer:
        return choice.text
    try:
        if is_wrapped:
            return unwrapped(form, choice.text)
        if form.json_schema is not None:
            json.loads(choice.text)
        return choice.text
    except (ValueError, RecursionError):
        reason = "the server held the text to no schema, although its card promises it"
        raise LMError(reason) from None
