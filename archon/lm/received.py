"""From what comes over the wire to completions."""

from __future__ import annotations

import json

import httpx

from archon.errors import LMError
from archon.lm.closing import unwrapped
from archon.lm.protocol import Choice, GarbledError, Reply, read_chunk, read_reply
from archon.lm.transport import content_type, read_body, read_events
from archon.types import Completion, Constraint, OnEvent, Request, TokenDelta, Usage


class Deltas:
    """Passes text on as events. Once some is sent it cannot be taken back by another try."""

    def __init__(self, on_event: OnEvent, draws: range) -> None:
        self.has_begun = False
        self._on_event, self._draws = on_event, draws

    def send(self, index: int, text: str) -> None:
        """More text of the choice ``index``."""
        self.has_begun = True
        self._on_event(TokenDelta(self._draws[index], text))


async def receive(response: httpx.Response, reply: Reply, deltas: Deltas | None) -> None:
    """Read a reply in full; a server that does not stream although asked to sends one delta."""
    kind = content_type(response)
    if kind == "application/json":
        read_reply(reply, await read_body(response))
        for index, choice in enumerate(reply.finished()):
            if deltas is not None and choice.text:
                deltas.send(index, choice.text)
        return
    if kind != "text/event-stream" or deltas is None:
        raise GarbledError(f"the reply is of the type {kind!r}, not application/json")

    def handle(event: bytes) -> None:
        for index, text in read_chunk(reply, event):
            deltas.send(index, text)

    await read_events(response, handle)
    reply.finished()


def completions_of(
    reply: Reply, draws: range, request: Request, prompt: str, *, is_wrapped: bool = False
) -> list[Completion]:
    """The draws that a finished reply brings; ``prompt`` is the prompt's digest.

    ``is_wrapped`` says that texts come as JSON objects (``archon.lm.closing``).
    """
    share, rest = divmod(reply.completion_tokens, len(draws))
    completions = []
    for index, (draw, choice) in enumerate(zip(draws, reply.finished(), strict=True)):
        assert choice.finish_reason is not None
        if request.logprobs and choice.text and not choice.logprobs:
            raise LMError("the server sent no log-probabilities, although its card promises them")
        text = _text(choice, request.constraint, is_wrapped)
        num_tokens = share + (index < rest)
        usage = Usage(
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=num_tokens,
            generated_tokens=num_tokens,
            calls=1,
        )
        completions.append(
            Completion(
                text=text,
                draw=draw,
                finish_reason=choice.finish_reason,
                usage=usage,
                prompts={prompt: reply.prompt_tokens},
                logprobs=tuple(choice.logprobs) if request.logprobs else None,
                tokens=tuple(choice.tokens) if request.logprobs else None,
            )
        )
    return completions


def _text(choice: Choice, form: Constraint | None, is_wrapped: bool) -> str:
    """Refuse what was to be JSON and is none; a text that was cut off cannot be."""
    if form is None or choice.finish_reason == "length":
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
