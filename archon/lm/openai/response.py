"""Turn HTTP responses into completions, for chats and for plain completions.

``receive`` reads a response into a ``ServerReply``, and ``completions_of`` turns it into samples.
Deviations from the protocol are accepted if the text is unambiguous (``docs/guides/servers.md``
lists them). A damaged reply is an error. If only one of several texts is damaged, only its sample
fails.

Errors may quote long replies, which may even contain an API key. Use ``Transport.redacted`` before
displaying them.
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
from archon.lm.openai.tool_calls import ReceivedCalls
from archon.lm.openai.transport import content_type, handle_events, read_body, read_events
from archon.lm.sample_failures import failed_sample
from archon.lm.tool_calls.parsing import called
from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers, split_reasoning
from archon.types import (
    Completion,
    Constraint,
    FinishReason,
    OnEvent,
    Request,
    TokenDelta,
    TokenLogprob,
    Usage,
)

NO_USAGE = "the server reported no token counts; missing counts are recorded as 0"
"""Note on a sample if the server did not report all token counts."""
NO_TOP_LOGPROBS = "the server sent no likely tokens, although 'top_logprobs' asks for them"
NO_ANSWER = "the reply contains reasoning but no answer"
_NO_TYPE = frozenset({"", "text/plain", "application/octet-stream"})
"""Media types that do not identify a reply's format, which is then guessed from the content."""
_START = rb"(?:\xef\xbb\xbf)?\s*+"
_JSON = re.compile(_START + rb"[{\[]")
_EVENTS = re.compile(_START + rb"(?:data|event|id|retry)?:")
REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Keys of a message that may contain its reasoning.

Some servers repeat the reasoning under several keys, so only the first key with text is read."""
_DETAILS = "reasoning_details"
_TEXT_PARTS = (None, "text", "output_text")
_REASONING_PARTS = ("thinking", "reasoning", "reasoning_text")
_MAX_COUNT = 10**9
_BYTE_ORDER_MARK = "\ufeff"
_DIGITS = re.compile("[0-9]{1,10}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class ReplyChoice:
    """One text (``choice``) of a server's reply, which is incomplete until the reply is read."""

    text: str = ""
    reasoning: str = ""
    """The model's reasoning before the text."""
    finish_reason: FinishReason | None = None
    has_empty_reason: bool = False
    """Whether the last finish reason was "", "null" or "none"."""
    logprobs: list[float] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    """The tokens that ``logprobs`` are of, as bytes."""
    top_logprobs: list[tuple[TokenLogprob, ...]] = field(default_factory=list)
    """The likeliest tokens at the positions of ``tokens``."""
    refusal: str = ""
    """The model's explanation if it refuses to answer."""
    has_called_tool: bool = False
    calls: ReceivedCalls = field(default_factory=ReceivedCalls)
    """The model's tool calls, if the request offers tools."""
    notes: list[str] = field(default_factory=list)
    """Deviations from the protocol, and how they were interpreted."""
    error: LMError | None = None
    """The reason why the text is unusable; None if it is usable."""

    def end(self, value: object, *, has_tools: bool = False) -> None:
        """Record the server's finish reason; a later reason does not replace ``length``."""
        self.has_empty_reason = value is not None and not has_ended(value)
        if has_ended(value):
            reason = read_finish_reason(value, has_tools=has_tools)
            if self.finish_reason != "length":
                self.finish_reason = reason


@dataclass(slots=True)
class ServerReply:
    """Contents of a server's reply: texts by index, and token counts.

    Missing and invalid counts are 0.
    """

    num_choices: int
    """Number of requested texts."""
    max_characters: int | None = None
    """Maximum number of characters in a text and its reasoning; None for no limit."""
    is_plain: bool = False
    """Whether the reply is a plain completion, whose texts are not inside messages."""
    has_tools: bool = False
    """Whether the request offers tools."""
    choices: dict[int, ReplyChoice] = field(default_factory=dict)
    is_complete: bool = False
    """Whether the server has marked the end of the reply."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def finished(self) -> list[ReplyChoice]:
        """Return the requested texts in order. Failed and missing texts have their ``error`` set.

        Raises
        ------
        LMError
            No text is complete.
        """
        if not self.choices:
            raise GarbledError(f"the reply has 0 of {self.num_choices} requested texts")
        missing = LMError(
            f"the reply has {len(self.choices)} of {self.num_choices} requested texts; if the "
            'server does not support n, set the card\'s "native_n" to false'
        )
        choices = [
            self._finished(self.choices[index])
            if index in self.choices
            else ReplyChoice(error=missing)
            for index in range(self.num_choices)
        ]
        errors = [choice.error for choice in choices if choice.error is not None]
        if len(errors) == len(choices):
            raise errors[0]
        return choices

    def _finished(self, choice: ReplyChoice) -> ReplyChoice:
        """Return the choice. If the reply left it incomplete or empty, set its ``error``."""
        if choice.error is None and choice.finish_reason is None:
            if self.is_complete and choice.has_empty_reason:
                choice.finish_reason = "stop"
                choice.notes.append("the server sent no finish_reason; 'stop' is assumed")
            else:
                reason = "the reply ended before its text was complete"
                choice.error = LMError(reason, retryable=True)
        if choice.error is None and not choice.text:
            if choice.refusal:
                choice.error = LMError(
                    f"the reply has no text: the model refused ({choice.refusal})"
                )
            elif choice.has_called_tool and not self.has_tools:
                choice.error = LMError("the reply has no text: the model called a tool")
        return choice

    def add(self, choice: ReplyChoice, text: str, *, is_reasoning: bool = False) -> str:
        """Append to a choice's text or reasoning, and return the appended text."""
        # Lone surrogates, which JSON can contain but UTF-8 cannot, become U+FFFD.
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
            raise LMError("the text is much longer than max_tokens allows")
        return text


# ---------------------------------------------------------------------------- HTTP responses


class Deltas:
    """Sends new text to the caller's ``on_event`` callback, if set.

    Once ``has_sent`` is true, a failed request cannot be retried.
    """

    def __init__(self, on_event: OnEvent | None, indices: range) -> None:
        self.has_sent = False
        self._on_event, self._indices = on_event, indices

    def send(self, index: int, text: str, *, is_reasoning: bool = False) -> None:
        """Send new text or new reasoning for choice ``index``."""
        if self._on_event is not None and text:
            self.has_sent = True
            self._on_event(TokenDelta(self._indices[index], text, is_reasoning=is_reasoning))

    def send_calls(self, index: int, choice: ReplyChoice) -> None:
        """Send the parts of tool calls that choice ``index`` has received since the last call."""
        for part in choice.calls.take_new(self._indices[index]):
            if self._on_event is not None:
                self.has_sent = True
                self._on_event(part)


async def receive(response: httpx.Response, reply: ServerReply, deltas: Deltas) -> None:
    """Read a complete response into ``reply``, and send new text to ``deltas``.

    If the server ignores ``stream``, each text is sent as one delta.
    """
    kind = content_type(response)
    is_named = kind not in _NO_TYPE
    content = b""
    if not is_named:
        content = await read_body(response)
        kind = _type_of(content) or kind
    if kind == "application/json":
        read_reply(reply, content or await read_body(response))
        for index, choice in enumerate(reply.finished()):
            if choice.error is None:
                deltas.send(index, choice.reasoning, is_reasoning=True)
                deltas.send(index, choice.text)
                deltas.send_calls(index, choice)
        return
    if kind != "text/event-stream":
        raise GarbledError(f"the reply must have the content type application/json, not {kind!r}")

    def handle(event: bytes) -> None:
        for index, text, is_reasoning in read_chunk(reply, event):
            deltas.send(index, text, is_reasoning=is_reasoning)
        for index, choice in reply.choices.items():
            deltas.send_calls(index, choice)

    if is_named:
        reply.is_complete = await read_events(response, handle)
    else:
        reply.is_complete = handle_events(content, handle)
    reply.finished()


def _type_of(content: bytes) -> str:
    """Guess a reply's media type from its beginning; return "" if it cannot be guessed."""
    if _JSON.match(content):
        return "application/json"
    return "text/event-stream" if _EVENTS.match(content) else ""


def completions_of(
    reply: ServerReply,
    indices: range,
    request: Request,
    prompt: str,
    *,
    is_wrapped: bool = False,
    markers: Sequence[ReasoningMarkers] = PUBLISHED_MARKERS,
) -> list[Completion]:
    """Turn a finished reply into samples.

    Parameters
    ----------
    indices
        Numbers of the samples.
    prompt
        Digest of the prompt.
    is_wrapped
        Whether the texts arrive inside JSON objects (see ``structured_output``).
    markers
        Markers of the reasoning to remove from the beginning of a constrained text.

    Raises
    ------
    LMError
        No sample is usable.
    """
    choices = reply.finished()
    num_usable = sum(choice.error is None for choice in choices)
    share, rest = divmod(reply.completion_tokens, num_usable)
    completions: list[Completion] = []
    errors: list[LMError] = []
    num_counted = 0
    for index, choice in zip(indices, choices, strict=True):
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
            completion = _completion(choice, index, usage, request, prompt, is_wrapped=is_wrapped)
        except LMError as error:
            errors.append(error)
            completion = failed_sample(index, error)
        completions.append(completion)
    if len(errors) == len(completions):
        raise errors[0]
    return completions


def _completion(
    choice: ReplyChoice,
    index: int,
    usage: Usage,
    request: Request,
    prompt: str,
    *,
    is_wrapped: bool,
) -> Completion:
    """Turn one text into a sample.

    Raises
    ------
    LMError
        The text is unusable.
    """
    if choice.error is not None:
        raise choice.error
    assert choice.finish_reason is not None
    if request.logprobs and choice.text and not choice.logprobs:
        raise LMError(
            "the server sent no log-probabilities; if it does not support them, set the card's "
            '"logprobs" to false'
        )
    max_tokens = request.sampling.max_tokens
    if choice.has_empty_reason and max_tokens is not None and usage.completion_tokens >= max_tokens:
        choice.finish_reason = "length"
    notes = list(choice.notes)
    if not usage.prompt_tokens or (choice.text and not usage.completion_tokens):
        notes.append(NO_USAGE)
    is_top = request.logprobs and bool(request.sampling.top_logprobs)
    if is_top and choice.tokens and not any(choice.top_logprobs):
        notes.append(NO_TOP_LOGPROBS)
    calls = choice.calls.finished() if request.offered_tools else ()
    has_no_answer = bool(choice.reasoning) and not choice.text.strip() and not calls
    if choice.finish_reason == "tool_calls" and not calls:
        choice.finish_reason = "stop"
        notes.append("the server reports tool calls but sent none")
    if has_no_answer and choice.finish_reason == "stop":
        notes.append(NO_ANSWER)
    completion = Completion(
        text=_text(choice, request.constraint, is_wrapped),
        draw=index,
        finish_reason=choice.finish_reason,
        usage=usage,
        prompts={prompt: usage.prompt_tokens},
        logprobs=tuple(choice.logprobs) if request.logprobs else None,
        tokens=tuple(choice.tokens) if request.logprobs else None,
        top_logprobs=tuple(choice.top_logprobs) if is_top else None,
        reasoning=choice.reasoning,
        is_reasoning_cut_off=has_no_answer,
        notes=tuple(notes),
    )
    return called(completion, calls, request) if calls else completion


def _split_reasoning(
    choice: ReplyChoice, constraint: Constraint, markers: Sequence[ReasoningMarkers]
) -> None:
    """Move reasoning that precedes a constrained text from ``choice.text`` to ``choice.reasoning``.

    A text that is a JSON object is not changed, because its strings may contain markers.
    """
    is_json = constraint.json_schema is not None or constraint.after is not None
    if is_json and choice.text.lstrip().startswith("{"):
        return
    reply = split_reasoning(choice.text, markers, is_open=False)
    choice.reasoning += reply.reasoning
    choice.text = reply.answer


def _text(choice: ReplyChoice, constraint: Constraint | None, is_wrapped: bool) -> str:
    """Return a choice's text. If it is wrapped in a JSON object, unwrap it.

    Raises
    ------
    LMError
        The text is complete but is not JSON as required.
    """
    has_no_answer = (bool(choice.reasoning) or bool(choice.calls)) and not choice.text.strip()
    if constraint is None or choice.finish_reason == "length" or has_no_answer:
        return choice.text
    try:
        if is_wrapped:
            return unwrapped(constraint, choice.text)
        if constraint.json_schema is not None:
            json.loads(choice.text)
        return choice.text
    except (ValueError, RecursionError):
        reason = 'the server did not apply the schema that the card\'s "constraint" promises'
        raise LMError(reason) from None


# ------------------------------------------------------------------------- JSON objects


def read_reply(reply: ServerReply, content: bytes) -> None:
    """Read the body of a reply without streaming."""
    data = _json_object(content)
    _read_usage(reply, data)
    raw_choices = data.get("choices")
    if not isinstance(raw_choices, list):
        raise GarbledError("the reply lacks a list of choices")
    reply.is_complete = True
    for _, choice, raw in _choices(reply, raw_choices, is_streamed=False):
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
                if reply.has_tools:
                    choice.calls.add(message)
            except ContentError as error:
                raise LMError(f"the reply has no text: {error}") from None
            for text, is_reasoning in texts:
                reply.add(choice, text, is_reasoning=is_reasoning)
            if raw.get("finish_reason") is None:
                raise LMError("the reply has the finish_reason null: its text may be incomplete")
            choice.end(raw["finish_reason"], has_tools=reply.has_tools)
            _read_logprobs(choice, raw)


def read_chunk(reply: ServerReply, content: bytes) -> Iterator[tuple[int, str, bool]]:
    """Add a chunk of a streamed reply to ``reply``.

    Yields
    ------
    For each piece of new text: the index of its choice, the text, and whether it is reasoning.
    """
    data = _json_object(content)
    _read_usage(reply, data)
    raw_choices = data.get("choices")
    if raw_choices is None:  # token counts, or a keep-alive
        return
    if not isinstance(raw_choices, list):
        raise GarbledError("'choices' in the streamed reply must be a list")
    for index, choice, raw in _choices(reply, raw_choices, is_streamed=True):
        if choice.error is not None:
            continue
        with _failing_alone(reply, choice):
            _check_no_error(raw)
            for text, is_reasoning in _new_texts(reply, choice, raw):
                yield index, reply.add(choice, text, is_reasoning=is_reasoning), is_reasoning
            _read_logprobs(choice, raw)
            if reply.has_tools:
                _read_calls(choice, raw)
            choice.end(raw.get("finish_reason"), has_tools=reply.has_tools)


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
    reply: ServerReply, raw_choices: list[Any], *, is_streamed: bool
) -> Iterator[tuple[int, ReplyChoice, dict[str, Any]]]:
    """Yield the index, the ``ReplyChoice`` and the JSON object of each choice in a reply or chunk.

    A choice that is missing from ``reply`` is added to it.
    """
    has_fixed_order = not is_streamed or reply.num_choices == 1
    indices = [
        _index(raw, position if has_fixed_order else None)
        for position, raw in enumerate(raw_choices)
    ]
    if not is_streamed and len(set(indices)) < len(indices):  # some servers number them all 0
        indices = list(range(len(indices)))
    for index, raw in zip(indices, raw_choices, strict=True):
        if not isinstance(raw, dict) or index is None or not 0 <= index < reply.num_choices:
            raise GarbledError("the reply has a choice that is not an object or was not requested")
        yield index, reply.choices.setdefault(index, ReplyChoice()), raw


def _index(raw: object, default: int | None) -> int | None:
    """Return a choice's ``index``: ``default`` if it is missing, or None if it is invalid."""
    index = raw.get("index") if isinstance(raw, dict) else None
    return default if index is None else _integer(index)


def _check_no_error(raw: dict[str, Any]) -> None:
    """Raise an error if a choice contains one. Gateways report errors of upstream services there.

    Raises
    ------
    LMError
        The choice contains an error.
    """
    if raw.get("error"):
        reason = error_text(json.dumps({"error": raw["error"]}).encode())
        raise LMError(f"the server reports an error: {reason}", retryable=True)


@contextmanager
def _failing_alone(reply: ServerReply, choice: ReplyChoice) -> Iterator[None]:
    """Record an ``LMError`` of the block in ``choice``; raise it if that is the only one."""
    try:
        yield
    except LMError as error:
        if reply.num_choices == 1:
            raise
        choice.error = error


def _texts(
    choice: ReplyChoice, message: dict[str, Any], *, is_plain: bool
) -> list[tuple[str, bool]]:
    """Return a message's or delta's texts as pairs (text, is reasoning), with reasoning first.

    Refusals and tool calls are recorded in ``choice``.

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
    """Return the texts that a chunk adds to a choice, as pairs (text, is reasoning).

    The list is empty if the chunk contains no text, but only, for example, the results of a filter.
    """
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
            raise GarbledError("each delta in the streamed reply must be an object")
        return _texts(choice, delta, is_plain=reply.is_plain)
    except ContentError as error:
        reason = f"the streamed reply has content that is not text: {error}"
        raise GarbledError(reason) from None


def _read_calls(choice: ReplyChoice, raw: dict[str, Any]) -> None:
    """Read the tool calls of a chunk. A complete message at the end of a stream repeats them."""
    delta, message = raw.get("delta"), raw.get("message")
    if isinstance(delta, dict):
        choice.calls.add(delta)
    elif isinstance(message, dict) and not choice.calls:
        choice.calls.add(message)


def _rest(choice: ReplyChoice, text: str, is_reasoning: bool) -> str:
    """Return the part of a complete text that has not been streamed yet."""
    streamed = choice.reasoning if is_reasoning else choice.text
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if text and not text.startswith(streamed):
        raise GarbledError("the final text of the streamed reply differs from the streamed text")
    return text[len(streamed) :]


# -------------------------------------------------------------------------- message content


class ContentError(ValueError):
    """The content of a message is not text."""


def content_of(value: object) -> tuple[str, str]:
    """Return the text and the reasoning in a message's content: a string, null, or a list of parts.

    >>> content_of([{"type": "thinking", "thinking": "2 + 3"}, {"type": "text", "text": "5"}])
    ('5', '2 + 3')
    >>> content_of(["4", {"text": "2"}])
    ('42', '')

    Raises
    ------
    ContentError
        The content, or a part of it, does not have one of these types, or the model refused to
        answer.
    """
    if value is None:
        return "", ""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, list):
        raise ContentError("its content must be a string or a list of parts")
    text, reasoning = "", ""
    for part in value:
        if isinstance(part, str):
            text += part
            continue
        fields = part if isinstance(part, dict) else {}
        kind = fields.get("type")
        if kind in _TEXT_PARTS and isinstance(fields.get("text"), str):
            text += fields["text"]
        elif kind in _REASONING_PARTS:
            reasoning += "".join(_nested_texts(fields))
        elif kind == "refusal":
            raise ContentError(f"the model refused ({fields.get('refusal')})")
        else:
            raise ContentError(f"its content has a part of the type {str(kind)[:40]!r}")
    return text, reasoning


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Return a message's reasoning that is not in its ``content``, or "" if there is none.

    >>> reasoning_of({"content": None, "reasoning_content": "2 + 3", "reasoning": "2 + 3"})
    '2 + 3'
    """
    for key in (*REASONING_KEYS, _DETAILS):
        found = "".join(_nested_texts(message.get(key)))
        if found:
            return found
    return ""


def _nested_texts(value: object, depth: int = 4) -> Iterator[str]:
    """Yield the texts in a value under a reasoning key, such as ``[{"text": "2 + 3"}]``.

    Other fields of its objects, such as encrypted reasoning, are skipped.
    """
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
    """Read the log-probabilities of a choice.

    A chat has one object per token. A plain completion has a list of values and a list of tokens.
    """
    logprobs = raw.get("logprobs")
    if not isinstance(logprobs, dict):
        return
    try:
        if logprobs.get("token_logprobs") is not None:
            pairs = list(zip(logprobs["token_logprobs"], logprobs["tokens"], strict=True))
            top = [_likeliest(one) for one in logprobs.get("top_logprobs") or ()]
        else:
            content = logprobs.get("content") or ()
            pairs = [(token["logprob"], token) for token in content]
            top = [_likeliest(token.get("top_logprobs")) for token in content]
        read = [(float(value), _token_bytes(token)) for value, token in pairs]
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError):
        raise LMError("the reply's log-probabilities have an unknown format") from None
    if any(math.isnan(value) or value > 1e-3 for value, _ in read):
        raise LMError("the reply's log-probabilities must be numbers that are at most 0")
    choice.logprobs += [value for value, _ in read]
    choice.tokens += [token for _, token in read]
    choice.top_logprobs += top if len(top) == len(read) else [()] * len(read)


def _likeliest(value: Any) -> tuple[TokenLogprob, ...]:
    """Return the likeliest tokens at a position, likeliest first; none if they are unreadable.

    Chats have a list of objects, plain completions an object of tokens and their log-probabilities.
    """
    try:
        is_object = isinstance(value, dict)
        pairs = value.items() if is_object else [(one, one["logprob"]) for one in value or ()]
        read = [TokenLogprob(float(logprob), token=_token_bytes(token)) for token, logprob in pairs]
    except (TypeError, KeyError, ValueError, OverflowError):
        return ()
    if any(math.isnan(one.logprob) or one.logprob > 1e-3 for one in read):
        return ()
    return tuple(sorted(read, key=lambda one: -one.logprob))


def _token_bytes(token: Any) -> bytes:
    """Return the bytes of a token, which may end inside a character (a string or an object)."""
    if isinstance(token, dict):
        if isinstance(token.get("bytes"), list):
            return bytes(token["bytes"])
        token = token.get("token", "")
    if not isinstance(token, str):
        raise TypeError("a token must be a string")
    return token.encode("utf-8", "replace")


# ------------------------------------------------------------------------------------ usage


def _read_usage(reply: ServerReply, data: dict[str, Any]) -> None:
    """Record token counts. Later counts of a stream replace earlier ones unless they are 0."""
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
    number = _integer(value)
    return number if number is not None and 0 <= number <= _MAX_COUNT else 0


def _integer(value: object) -> int | None:
    """Convert an integer, an integral float or a string of digits to an integer, others to None.

    >>> [_integer(value) for value in (5, 5.0, "5", 5.5, "five", True)]
    [5, 5, 5, None, None, None]
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if type(value) is int else None
