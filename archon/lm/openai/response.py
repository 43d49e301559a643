"""Server replies to chats and plain completions: from HTTP responses to completions.

``receive`` reads a response into a ``ServerReply``, and ``completions_of`` makes the samples.
Servers differ in details, which are accepted where they leave no doubt about the text
(``docs/guides/servers.md`` lists them). A damaged reply is refused; where only one text is damaged,
only that sample fails. A reader raises an ``LMError`` that says what is wrong. It may quote the
server at length, and with it a key: ``Transport.redacted`` prepares it for display.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from archon.errors import LMError
from archon.lm.openai.finish_reasons import has_ended, read_finish_reason
from archon.lm.openai.server_errors import GarbledError, ReportedError, error_text
from archon.lm.openai.structured_output import unwrapped
from archon.lm.openai.transport import content_type, handle_events, read_body, read_events
from archon.lm.sample_failures import failed_sample
from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers, split_reasoning
from archon.types import (
    Completion,
    Constraint,
    FinishReason,
    OnEvent,
    Request,
    TokenDelta,
    Usage,
)

NO_USAGE = "the server reported no count of tokens; what is missing counts as 0"
"""The note on a sample of unknown cost."""
NO_ANSWER = "the reply holds reasoning and no answer"
_NO_TYPE = frozenset({"", "text/plain", "application/octet-stream"})
"""Media types that do not say what a reply is."""
_START = rb"(?:\xef\xbb\xbf)?\s*+"
_JSON = re.compile(_START + rb"[{\[]")
_EVENTS = re.compile(_START + rb"(?:data|event|id|retry)?:")
REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Keys of a message for its reasoning; content parts of the type ``thinking`` are reasoning, too.
Where several keys are present they repeat one text, so the first that has any is read."""
_DETAILS = "reasoning_details"
_TEXT_PARTS = frozenset({"text", "output_text"})
_REASONING_PARTS = frozenset({"thinking", "reasoning", "reasoning_text"})
_MAX_COUNT = 10**9
_BYTE_ORDER_MARK = "\ufeff"
_DIGITS = re.compile("[0-9]{1,10}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class ReplyChoice:
    """One text of a reply, complete or as far as it has been received."""

    text: str = ""
    reasoning: str = ""
    """The reasoning before the text; not part of it."""
    finish_reason: FinishReason | None = None
    has_empty_reason: bool = False
    """The last finish reason was an empty string: the server gives none."""
    logprobs: list[float] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    """The tokens of ``logprobs``."""
    refusal: str = ""
    """The model's words where it refused to answer."""
    has_called_tool: bool = False
    notes: list[str] = field(default_factory=list)
    """How the reply was read where it deviates from the protocol."""
    error: LMError | None = None
    """Why there is no usable text."""

    def end(self, value: object) -> None:
        """Record a finish reason; ``length`` is never replaced."""
        self.has_empty_reason = value is not None and not has_ended(value)
        if has_ended(value):
            reason = read_finish_reason(value)
            if self.finish_reason != "length":
                self.finish_reason = reason


@dataclass(slots=True)
class ServerReply:
    """What a server replied: texts by index, and token counts.

    Counts that are missing or invalid are 0.
    """

    num_choices: int
    """Number of texts requested."""
    max_characters: int | None = None
    """Limit of one text."""
    is_plain: bool = False
    """A plain completion: texts are not contained in messages."""
    choices: dict[int, ReplyChoice] = field(default_factory=dict)
    is_complete: bool = False
    """The server has ended the reply."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def finished(self) -> list[ReplyChoice]:
        """The texts in order; a failed or missing one has its ``error`` set.

        Raises
        ------
        LMError
            No text is complete.
        """
        if not self.choices:
            raise GarbledError(f"{self.num_choices} texts were asked for, 0 came")
        choices = [self.choices.get(index) for index in range(self.num_choices)]
        num_came = sum(choice is not None for choice in choices)
        ended = [self._missing(num_came) if c is None else self._ended(c) for c in choices]
        errors = [choice.error for choice in ended if choice.error is not None]
        if len(errors) == len(ended):
            raise errors[0]
        return ended

    def _ended(self, choice: ReplyChoice) -> ReplyChoice:
        """The choice after the end of the reply."""
        if choice.error is None and choice.finish_reason is None:
            if self.is_complete and choice.has_empty_reason:
                choice.finish_reason = "stop"
                choice.notes.append("the server gave no finish_reason; taken as 'stop'")
            else:
                choice.error = LMError("the reply ended before its text did", retryable=True)
        if choice.error is None and not choice.text:
            if choice.refusal:
                choice.error = LMError(
                    f"the reply has no text: the model refused ({choice.refusal})"
                )
            elif choice.has_called_tool:
                choice.error = LMError("the reply has no text: the model called a tool")
        return choice

    def _missing(self, num_came: int) -> ReplyChoice:
        hint = "; does the server know n, as its card's native_n says?"
        reason = f"{self.num_choices} texts were asked for, {num_came} came{hint}"
        return ReplyChoice(error=LMError(reason))

    def add(self, choice: ReplyChoice, text: str, *, is_reasoning: bool = False) -> str:
        """Append to a choice's text or reasoning, and return what was appended."""
        # Lone surrogates, which JSON can contain, become U+FFFD: they could not be encoded.
        if _SURROGATE.search(text) is not None:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if not (choice.reasoning if is_reasoning else choice.text):
            text = text.removeprefix(_BYTE_ORDER_MARK)
        if is_reasoning:
            choice.reasoning += text
        else:
            choice.text += text
        num_characters = len(choice.text) + len(choice.reasoning)
        if self.max_characters is not None and num_characters > self.max_characters:
            raise LMError("the text is far longer than max_tokens allows")
        return text


# ------------------------------------------------------------------------ from the wire


class Deltas:
    """Sends text as events. Text that has been sent rules out another attempt."""

    def __init__(self, on_event: OnEvent, draws: range) -> None:
        self.has_begun = False
        self._on_event, self._draws = on_event, draws

    def send(self, index: int, text: str, *, is_reasoning: bool = False) -> None:
        """Send more text of the choice ``index``, or more of its reasoning."""
        self.has_begun = True
        self._on_event(TokenDelta(self._draws[index], text, is_reasoning=is_reasoning))


async def receive(response: httpx.Response, reply: ServerReply, deltas: Deltas | None) -> None:
    """Read a complete response; a server that ignores ``stream`` yields one delta per text."""
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
    """The media type of a reply whose server names none; empty if unknown."""
    if _JSON.match(content):
        return "application/json"
    return "text/event-stream" if _EVENTS.match(content) else ""


def completions_of(
    reply: ServerReply,
    draws: range,
    request: Request,
    prompt: str,
    *,
    is_wrapped: bool = False,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
) -> list[Completion]:
    """Make the samples of a finished reply.

    Parameters
    ----------
    draws
        Numbers of the samples.
    prompt
        Digest of the prompt.
    is_wrapped
        Texts arrive inside JSON objects (see ``structured_output``).
    markers
        Around reasoning that may precede a constrained text.

    Raises
    ------
    LMError
        No sample is usable.
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
                _split_reasoning(choice, request.constraint, markers)
            completion = _completion(choice, draw, usage, request, prompt, is_wrapped=is_wrapped)
        except LMError as error:
            errors.append(error)
            completion = failed_sample(draw, error)
        completions.append(completion)
    if len(errors) == len(completions):
        raise errors[0]
    return completions


def _completion(
    choice: ReplyChoice, draw: int, usage: Usage, request: Request, prompt: str, *, is_wrapped: bool
) -> Completion:
    """Make one sample.

    Raises
    ------
    LMError
        It is unusable.
    """
    if choice.error is not None:
        raise choice.error
    assert choice.finish_reason is not None
    if request.logprobs and choice.text and not choice.logprobs:
        raise LMError("the server sent no log-probabilities, although its card promises them")
    max_tokens = request.sampling.max_tokens
    if choice.has_empty_reason and max_tokens is not None and usage.completion_tokens >= max_tokens:
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


def _split_reasoning(
    choice: ReplyChoice, constraint: Constraint, markers: Sequence[ReasoningMarkers]
) -> None:
    """Move the reasoning before a constrained text out of the text.

    A JSON object stays unchanged: its strings may contain markers.
    """
    is_json = constraint.json_schema is not None or constraint.after is not None
    if is_json and choice.text.lstrip().startswith("{"):
        return
    reply = split_reasoning(choice.text, markers, is_open=False)
    choice.reasoning += reply.reasoning
    choice.text = reply.answer


def _text(choice: ReplyChoice, constraint: Constraint | None, is_wrapped: bool) -> str:
    """The text; refuse invalid JSON where JSON was requested, unless it was cut off."""
    has_no_answer = bool(choice.reasoning) and not choice.text.strip()
    if constraint is None or choice.finish_reason == "length" or has_no_answer:
        return choice.text
    try:
        if is_wrapped:
            return unwrapped(constraint, choice.text)
        if constraint.json_schema is not None:
            json.loads(choice.text)
        return choice.text
    except (ValueError, RecursionError):
        reason = "the server did not apply the schema, although its card promises it"
        raise LMError(reason) from None


# ------------------------------------------------------------------------- JSON objects


def read_reply(reply: ServerReply, content: bytes) -> None:
    """Read a reply that is not streamed."""
    data = _json_object(content)
    _read_usage(reply, data)
    raw_choices = data.get("choices")
    if not isinstance(raw_choices, list):
        raise GarbledError("the reply has no list of choices")
    reply.is_complete = True
    for _, choice, raw in _choices(reply, raw_choices, is_whole=True):
        with _failing_alone(reply, choice):
            _check_no_error(raw)
            message = raw if reply.is_plain else raw.get("message")
            if message is None and isinstance(raw.get("text"), str):
                message = {"content": raw["text"]}
            if not isinstance(message, dict):
                raise GarbledError("the reply has a choice without a message")
            if reply.is_plain and "text" not in message:
                raise LMError("the reply has no text")
            try:
                texts = _texts(choice, message, is_plain=reply.is_plain)
            except ContentError as error:
                raise LMError(f"the reply has no text: {error}") from None
            for text, is_reasoning in texts:
                reply.add(choice, text, is_reasoning=is_reasoning)
            if raw.get("finish_reason") is None:
                raise LMError("the reply has the finish_reason null: its text may be incomplete")
            choice.end(raw["finish_reason"])
            _read_logprobs(choice, raw)


def read_chunk(reply: ServerReply, content: bytes) -> Iterator[tuple[int, str, bool]]:
    """Add a chunk of a streamed reply.

    Yields
    ------
    Index of the choice, new text, and whether the text is reasoning.
    """
    data = _json_object(content)
    _read_usage(reply, data)
    raw_choices = data.get("choices")
    if raw_choices is None:  # token counts, or a keep-alive
        return
    if not isinstance(raw_choices, list):
        raise GarbledError("the streamed reply has choices that are no list")
    for index, choice, raw in _choices(reply, raw_choices):
        if choice.error is not None:
            continue
        with _failing_alone(reply, choice):
            _check_no_error(raw)
            for text, is_reasoning in _new_texts(reply, choice, raw):
                added = reply.add(choice, text, is_reasoning=is_reasoning)
                if added:
                    yield index, added, is_reasoning
            _read_logprobs(choice, raw)
            choice.end(raw.get("finish_reason"))


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        start = " ".join(content[:4096].decode("utf-8", "replace").split())
        raise GarbledError(f"the reply is not valid JSON: {start or '(nothing)'}") from None
    if not isinstance(data, dict):
        raise GarbledError("the reply is not a JSON object")
    is_error = data.get("object") == "error" or ("detail" in data and "choices" not in data)
    if data.get("error") or is_error:
        raise ReportedError(f"the server reports an error: {error_text(content)}", content=content)
    return data


# ---------------------------------------------------------------------------------- choices


def _choices(
    reply: ServerReply, raw_choices: list[Any], *, is_whole: bool = False
) -> Iterator[tuple[int, ReplyChoice, dict[str, Any]]]:
    """Yield the index of each choice, the choice (added to ``reply`` if new), and its JSON."""
    indices = [
        _index(raw, place if is_whole or reply.num_choices == 1 else None)
        for place, raw in enumerate(raw_choices)
    ]
    if is_whole and len(set(indices)) < len(indices):  # some servers number them all 0
        indices = list(range(len(indices)))
    for index, raw in zip(indices, raw_choices, strict=True):
        if not isinstance(raw, dict) or index is None or not 0 <= index < reply.num_choices:
            raise GarbledError("the reply has a choice that is no object, or that nobody asked for")
        yield index, reply.choices.setdefault(index, ReplyChoice()), raw


def _index(raw: object, place: int | None) -> int | None:
    """The number of a choice; ``place`` if it has none."""
    index = raw.get("index") if isinstance(raw, dict) else None
    if index is None:
        return place
    return _whole_number(index)


def _check_no_error(raw: dict[str, Any]) -> None:
    """Check for an upstream error, which gateways report inside a choice.

    Raises
    ------
    LMError
        The choice has an error.
    """
    if raw.get("error"):
        reason = error_text(json.dumps({"error": raw["error"]}).encode())
        raise LMError(f"the server reports an error: {reason}", retryable=True)


@contextmanager
def _failing_alone(reply: ServerReply, choice: ReplyChoice) -> Iterator[None]:
    """Record an error on its choice if the reply has others; raise it otherwise."""
    try:
        yield
    except LMError as error:
        if reply.num_choices == 1:
            raise
        choice.error = error


def _texts(
    choice: ReplyChoice, message: dict[str, Any], *, is_plain: bool
) -> list[tuple[str, bool]]:
    """The texts of a message or a delta, and whether each is reasoning.

    Raises
    ------
    ContentError
        The content cannot be read.
    """
    text, reasoning = content_of(message.get("text" if is_plain else "content"))
    if isinstance(message.get("refusal"), str):
        choice.refusal += message["refusal"]
    choice.has_called_tool |= bool(message.get("tool_calls") or message.get("function_call"))
    return [(reasoning or reasoning_of(message), True), (text, False)]


def _new_texts(
    reply: ServerReply, choice: ReplyChoice, raw: dict[str, Any]
) -> list[tuple[str, bool]]:
    """What a chunk adds to a choice; nothing if it is about something else, such as a filter."""
    delta: object = raw if reply.is_plain else raw.get("delta")
    message: object = raw.get("message") if delta is None else None
    try:
        if isinstance(message, dict):  # the complete text again, at the end of a stream
            texts = _texts(choice, message, is_plain=False)
            return [(_rest(choice, *text), text[1]) for text in texts]
        if delta is None and isinstance(raw.get("text"), str):
            return [(raw["text"], False)]
        if delta is None:
            return []
        if not isinstance(delta, dict):
            raise GarbledError("the streamed reply has a delta that is no object")
        return _texts(choice, delta, is_plain=reply.is_plain)
    except ContentError as error:
        reason = f"the streamed reply has content that is not text: {error}"
        raise GarbledError(reason) from None


def _rest(choice: ReplyChoice, text: str, is_reasoning: bool) -> str:
    """The part of a complete text that has not been streamed."""
    known = choice.reasoning if is_reasoning else choice.text
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if text and not text.startswith(known):
        raise GarbledError("the streamed reply ends with another text than it streamed")
    return text[len(known) :]


# -------------------------------------------------------------------------- message content


class ContentError(ValueError):
    """The content of a message cannot be read."""


def content_of(value: object) -> tuple[str, str]:
    """The text and the reasoning in the content of a message: a string, null, or a list of parts.

    >>> content_of([{"type": "thinking", "thinking": "2 + 3"}, {"type": "text", "text": "5"}])
    ('5', '2 + 3')
    >>> content_of(["4", {"text": "2"}])
    ('42', '')

    Raises
    ------
    ContentError
        It is something else, or has a part of another type.
    """
    if value is None:
        return "", ""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, list):
        raise ContentError("its content is neither text nor a list of parts")
    text, reasoning = "", ""
    for part in value:
        if isinstance(part, str):
            text += part
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if (kind is None or kind in _TEXT_PARTS) and _has_text(part):
            text += part["text"]
        elif kind in _REASONING_PARTS:
            reasoning += "".join(_nested_texts(part))
        elif kind == "refusal":
            raise ContentError(f"the model refused ({part.get('refusal')})")
        else:
            raise ContentError(f"its content has a part of the type {str(kind)[:40]!r}")
    return text, reasoning


def _has_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The reasoning of a message under keys other than ``content``; "" if there is none.

    >>> reasoning_of({"content": None, "reasoning_content": "2 + 3", "reasoning": "2 + 3"})
    '2 + 3'
    """
    for key in (*REASONING_KEYS, _DETAILS):
        found = "".join(_nested_texts(message.get(key)))
        if found:
            return found
    return ""


def _nested_texts(value: object, depth: int = 4) -> Iterator[str]:
    """Yield every text in nested objects and lists; encrypted data is not text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _nested_texts(item, depth - 1)
    elif isinstance(value, dict) and depth:
        for key in ("text", "thinking", "content", "reasoning", "summary"):
            if value.get(key):
                yield from _nested_texts(value[key], depth - 1)
                return


# ----------------------------------------------------------------------- log-probabilities


def _read_logprobs(choice: ReplyChoice, raw: dict[str, Any]) -> None:
    """Read the log-probabilities: chats have an object per token, plain completions two lists."""
    logprobs = raw.get("logprobs")
    if not isinstance(logprobs, dict):
        return
    try:
        if logprobs.get("token_logprobs") is not None:
            pairs = list(zip(logprobs["token_logprobs"], logprobs["tokens"], strict=True))
        else:
            pairs = [(token["logprob"], token) for token in logprobs.get("content") or ()]
        read = [(float(value), _token_bytes(token)) for value, token in pairs]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise LMError("the reply has log-probabilities that cannot be read") from None
    if any(math.isnan(value) or value > 1e-3 for value, _ in read):
        raise LMError("the reply has log-probabilities that are none")
    choice.logprobs += [value for value, _ in read]
    choice.tokens += [token for _, token in read]


def _token_bytes(token: Any) -> bytes:
    """The bytes of a token, which may be part of a character that its text cannot show."""
    if isinstance(token, dict):
        if isinstance(token.get("bytes"), list):
            return bytes(token["bytes"])
        token = token.get("token", "")
    if not isinstance(token, str):
        raise TypeError("a token is text")
    return token.encode("utf-8", "replace")


# ------------------------------------------------------------------------------------ usage


def _read_usage(reply: ServerReply, data: dict[str, Any]) -> None:
    """Record the token counts. The last of a stream applies; 0 replaces none."""
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    reply.prompt_tokens = prompt or reply.prompt_tokens
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict):
        cached = min(_count(details.get("cached_tokens")), reply.prompt_tokens)
        reply.cached_tokens = cached or reply.cached_tokens
    details = usage.get("completion_tokens_details")
    if isinstance(details, dict):
        reasoning = _count(details.get("reasoning_tokens"))
        total = prompt + completion + reasoning
        if total == _count(usage.get("total_tokens")):  # some services count reasoning separately
            completion += reasoning
    reply.completion_tokens = completion or reply.completion_tokens


def _count(value: object) -> int:
    number = _whole_number(value)
    return number if number is not None and 0 <= number <= _MAX_COUNT else 0


def _whole_number(value: object) -> int | None:
    """An integer, also one written as a string or a float.

    >>> [_whole_number(value) for value in (5, 5.0, "5", 5.5, "five", True)]
    [5, 5, 5, None, None, None]
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if type(value) is int else None
