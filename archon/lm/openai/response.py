"""Reading what servers of the OpenAI protocol reply, to chats and plain completions.

Servers differ in small things, which are accepted where they leave no doubt about the text
(docs/servers.md lists them). What is damaged is refused, for the one text that it concerns where
the others are whole. Nothing here does input or output. A reader raises an ``LMError`` that says
what is wrong. It may quote the server at length, and with it a key: ``Transport.told`` makes it
fit to be shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from archon.errors import LMError
from archon.lm.openai.finish_reasons import has_ended, read_finish_reason
from archon.lm.openai.message_parts import ContentError, content_of, reasoning_of
from archon.types import FinishReason

_MAX_COUNT = 10**9
_BYTE_ORDER_MARK = "\ufeff"
_DIGITS = re.compile("[0-9]{1,10}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class GarbledError(LMError):
    """What came, with status 200, is no reply of the protocol.

    The server or something between is at fault, as with a status of 500: another try may do.
    """

    def __init__(
        self, reason: str, *, retryable: bool = True, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


class ReportedError(LMError):
    """The server reports an error with status 200; ``content`` is its reply."""

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = True,
        retry_after_seconds: float | None = None,
        content: bytes = b"",
    ) -> None:
        self.content = content
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


@dataclass(slots=True)
class Choice:
    """One text of a reply, whole or as far as it has come."""

    text: str = ""
    reasoning: str = ""
    """What the model reasoned before; no part of the text."""
    finish_reason: FinishReason | None = None
    has_empty_reason: bool = False
    """Its last finish reason was an empty string: a server that gives none."""
    logprobs: list[float] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    """Of which the log-probabilities are."""
    refusal: str = ""
    """What the model said where it refused to answer."""
    has_called_tool: bool = False
    notes: list[str] = field(default_factory=list)
    """What was taken in another way than the protocol has it."""
    error: LMError | None = None
    """Why there is no text; None where there is one."""

    def end(self, value: object) -> None:
        """Take in a finish reason. One that says that the text was cut off stands."""
        self.has_empty_reason = value is not None and not has_ended(value)
        if has_ended(value):
            reason = read_finish_reason(value)
            if self.finish_reason != "length":
                self.finish_reason = reason


@dataclass(slots=True)
class Reply:
    """What a server answered: its texts by index, and the tokens that it counted.

    Counts that are missing or make no sense are 0.
    """

    num_choices: int
    """Texts that were asked for."""
    max_characters: int | None = None
    """Of one text; a longer one was not asked for."""
    is_plain: bool = False
    """Texts are not the content of messages, but stand by themselves (plain completions)."""
    choices: dict[int, Choice] = field(default_factory=dict)
    is_complete: bool = False
    """The server said that nothing more comes."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def finished(self) -> list[Choice]:
        """The texts in their order; one that failed or is missing has its ``error`` set.

        Raises
        ------
        LMError : there is not one text that is whole.
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

    def _ended(self, choice: Choice) -> Choice:
        """The choice, once the end of the reply has come."""
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

    def _missing(self, num_came: int) -> Choice:
        hint = "; does the server know n, as its card's native_n says?"
        reason = f"{self.num_choices} texts were asked for, {num_came} came{hint}"
        return Choice(error=LMError(reason))

    def add(self, choice: Choice, text: str, *, is_reasoning: bool = False) -> str:
        """Add to a text of this reply, or to the reasoning before it; what was added."""
        # Half surrogate pairs, which JSON can spell, become U+FFFD: they could not be written out.
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


def read_reply(reply: Reply, content: bytes) -> None:
    """Read a whole reply, not streamed."""
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


def read_chunk(reply: Reply, content: bytes) -> Iterator[tuple[int, str, bool]]:
    """Add a chunk of a streamed reply to the whole.

    Yields
    ------
    Index of the choice, new text, and whether the text is reasoning.
    """
    data = _json_object(content)
    _read_usage(reply, data)
    raw_choices = data.get("choices")
    if raw_choices is None:  # a count of tokens, or a sign of life
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


def error_text(content: bytes) -> str:
    """What an error reply says: the message of a JSON error object, else its text."""
    try:
        data = json.loads(content)
        error = data.get("error", data)
        message = error if isinstance(error, str) else error.get("message") or error.get("detail")
    except (ValueError, AttributeError, RecursionError):
        message = None
    if not isinstance(message, str):
        message = content.decode("utf-8", "replace")
        if "<html" in message.lower():
            return "(an HTML page)"
    return " ".join(message.split())


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
    reply: Reply, raw_choices: list[Any], *, is_whole: bool = False
) -> Iterator[tuple[int, Choice, dict[str, Any]]]:
    """The index of each choice, the choice, and what is said of it.

    ``reply`` gets those that are new.
    """
    indices = [
        _index(raw, place if is_whole or reply.num_choices == 1 else None)
        for place, raw in enumerate(raw_choices)
    ]
    if is_whole and len(set(indices)) < len(indices):  # a server that numbers them all 0
        indices = list(range(len(indices)))
    for index, raw in zip(indices, raw_choices, strict=True):
        if not isinstance(raw, dict) or index is None or not 0 <= index < reply.num_choices:
            raise GarbledError("the reply has a choice that is no object, or that nobody asked for")
        yield index, reply.choices.setdefault(index, Choice()), raw


def _index(raw: object, place: int | None) -> int | None:
    """The number of a choice; ``place`` where it has none."""
    index = raw.get("index") if isinstance(raw, dict) else None
    if index is None:
        return place
    return _whole_number(index)


def _check_no_error(raw: dict[str, Any]) -> None:
    """Gateways report within a choice that the service behind them failed.

    Raises
    ------
    LMError : the choice has an error.
    """
    if raw.get("error"):
        reason = error_text(json.dumps({"error": raw["error"]}).encode())
        raise LMError(f"the server reports an error: {reason}", retryable=True)


@contextmanager
def _failing_alone(reply: Reply, choice: Choice) -> Iterator[None]:
    """Keep an error with the one choice that it concerns, where there are others."""
    try:
        yield
    except LMError as error:
        if reply.num_choices == 1:
            raise
        choice.error = error


def _texts(choice: Choice, message: dict[str, Any], *, is_plain: bool) -> list[tuple[str, bool]]:
    """The texts of a message or a delta, and whether each is reasoning.

    Raises
    ------
    ContentError : the content is none that can be read.
    """
    text, reasoning = content_of(message.get("text" if is_plain else "content"))
    if isinstance(message.get("refusal"), str):
        choice.refusal += message["refusal"]
    choice.has_called_tool |= bool(message.get("tool_calls") or message.get("function_call"))
    return [(reasoning or reasoning_of(message), True), (text, False)]


def _new_texts(reply: Reply, choice: Choice, raw: dict[str, Any]) -> list[tuple[str, bool]]:
    """What a chunk adds to a choice; a chunk may be about something else, such as a filter."""
    delta: object = raw if reply.is_plain else raw.get("delta")
    message: object = raw.get("message") if delta is None else None
    try:
        if isinstance(message, dict):  # the whole once more, at the end of a stream
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


def _rest(choice: Choice, text: str, is_reasoning: bool) -> str:
    """What a text has more than what was streamed of it."""
    known = choice.reasoning if is_reasoning else choice.text
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if text and not text.startswith(known):
        raise GarbledError("the streamed reply ends with another text than it streamed")
    return text[len(known) :]


# ----------------------------------------------------------------------- log-probabilities


def _read_logprobs(choice: Choice, raw: dict[str, Any]) -> None:
    """Chats have an object for each token, plain completions have two lists."""
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
    """A token by itself may be a part of a character, which its text cannot show."""
    if isinstance(token, dict):
        if isinstance(token.get("bytes"), list):
            return bytes(token["bytes"])
        token = token.get("token", "")
    if not isinstance(token, str):
        raise TypeError("a token is text")
    return token.encode("utf-8", "replace")


# ------------------------------------------------------------------------------------ usage


def _read_usage(reply: Reply, data: dict[str, Any]) -> None:
    """Take in the counts. Of several in a stream the last counts; 0 replaces none."""
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
        if total == _count(usage.get("total_tokens")):  # some services count reasoning apart
            completion += reasoning
    reply.completion_tokens = completion or reply.completion_tokens


def _count(value: object) -> int:
    number = _whole_number(value)
    return number if number is not None and 0 <= number <= _MAX_COUNT else 0


def _whole_number(value: object) -> int | None:
    """An integer, also one that is spelled as a string or as a float.

    >>> [_whole_number(value) for value in (5, 5.0, "5", 5.5, "five", True)]
    [5, 5, 5, None, None, None]
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if type(value) is int else None
