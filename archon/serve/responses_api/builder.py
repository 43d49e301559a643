"""Build a response of the Responses API, and the events that report its construction.

An answer's reasoning, text and calls of functions are output items, in the order in which the model
writes them::

    response.created → response.in_progress
        → for each item: output_item.added → (part added → deltas → part done) → output_item.done
        → response.completed, response.incomplete or response.failed
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from archon.serve.errors import Failure
from archon.serve.responses import answer_details, choice_logprobs, usage
from archon.serve.responses_api.objects import (
    IncompleteDetails,
    InputTokensDetails,
    ItemStatus,
    LikelyToken,
    OutputFunctionCall,
    OutputLogprob,
    OutputMessage,
    OutputReasoning,
    OutputText,
    OutputTokensDetails,
    ReasoningSettings,
    ReasoningText,
    ResponseBody,
    ResponseFailure,
    ResponseUsage,
    SummaryText,
    TextSettings,
)
from archon.serve.responses_api.request import ResponsesRequest
from archon.serve.responses_api.tools import NamedFunction
from archon.types import Completion, ToolCallDelta

Event = dict[str, Any]
"""An event's JSON data; its ``type`` is also the event's name."""


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess, such as ``resp_…``."""
    return f"{prefix}_{secrets.token_hex(24)}"


@dataclass(slots=True)
class _Item:
    """An output item, while the model writes it."""

    id: str
    kind: Literal["reasoning", "message", "function_call"]
    call: ToolCallDelta | None = None
    """First part of a call, with its id and name."""
    pieces: list[str] = field(default_factory=list)
    status: ItemStatus = "in_progress"
    logprobs: list[OutputLogprob] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_reasoning(self) -> bool:
        return self.kind == "reasoning"


class ResponseBuilder:
    """Builds the response to one request. Every method returns the events to send."""

    def __init__(self, asked: ResponsesRequest) -> None:
        self.id = new_id("resp")
        self._asked = asked
        self._created_at = int(time.time())
        self._items: list[_Item] = []
        self._num_events = 0

    @property
    def is_started(self) -> bool:
        """True if there are events, so that a failure must be an event too."""
        return self._num_events > 0

    def start(self) -> list[Event]:
        """Begin the stream."""
        body = self._body("in_progress").to_json()
        return [
            self._event("response.created", response=body),
            self._event("response.in_progress", response=body),
        ]

    def add(self, text: str, *, is_reasoning: bool = False) -> list[Event]:
        """Add new text, or new reasoning, and open an item for it if necessary."""
        events: list[Event] = []
        kind: Literal["reasoning", "message"] = "reasoning" if is_reasoning else "message"
        if not self._items or self._items[-1].kind != kind:
            events += self._close("completed")
            events += self._open(kind)
        item = self._items[-1]
        item.pieces.append(text)
        logprobs: dict[str, Any] = {} if is_reasoning else {"logprobs": []}
        name = f"response.{self._text_kind(item)}.delta"
        return [*events, self._event(name, **self._place(item), delta=text, **logprobs)]

    def add_call(self, part: ToolCallDelta) -> list[Event]:
        """Add a part of a call of a function, and open an item for it if necessary."""
        events: list[Event] = []
        call = self._items[-1].call if self._items else None
        if call is None or call.index != part.index:
            events += self._close("completed")
            item = _Item(new_id("fc"), "function_call", part)
            self._items.append(item)
            place = self._place(item)
            added = self._output(item).to_json()
            at = place["output_index"]
            events.append(self._event("response.output_item.added", output_index=at, item=added))
        item = self._items[-1]
        if part.arguments:
            item.pieces.append(part.arguments)
            name = "response.function_call_arguments.delta"
            events.append(self._event(name, **self._place(item), delta=part.arguments))
        return events

    def finish(self, completion: Completion) -> tuple[ResponseBody, list[Event]]:
        """Add what was not streamed, and complete the response."""
        events: list[Event] = []
        has_text = any(item.kind == "message" for item in self._items)
        has_calls = any(item.kind == "function_call" for item in self._items)
        if completion.reasoning and not self._items:
            events += self.add(completion.reasoning, is_reasoning=True)
        if completion.text and not has_text:
            events += self.add(completion.text)
        if self._items and self._items[-1].kind == "message":
            self._items[-1].logprobs = _logprobs(completion)
        for at, call in enumerate(() if has_calls else completion.tool_calls):
            events += self.add_call(ToolCallDelta(0, at, call.arguments, call.id, call.name))
        if not self._items:
            events += self._open("message")
        is_complete = completion.finish_reason in ("stop", "tool_calls", "choices")
        events += self._close("completed" if is_complete else "incomplete")
        body = self._body("completed" if is_complete else "incomplete", completion)
        return body, [*events, self._event(f"response.{body.status}", response=body.to_json())]

    def fail(self, error: Failure) -> Event:
        """Return the last event of a response that failed."""
        if not self.is_started:
            return self._event("error", code=error.code, message=error.message, param=error.param)
        code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"] = "invalid_prompt"
        if error.status == 429:
            code = "rate_limit_exceeded"
        elif error.status >= 500:
            code = "server_error"
        failed = ResponseFailure(code=code, message=error.message)
        body = self._body("failed").model_copy(update={"error": failed})
        return self._event("response.failed", response=body.to_json())

    # ------------------------------------------------------------------------------------ items

    def _open(self, kind: Literal["reasoning", "message"]) -> list[Event]:
        item = _Item(new_id("rs" if kind == "reasoning" else "msg"), kind)
        self._items.append(item)
        place, added = self._place(item), self._output(item).to_json()
        parts = added["summary" if self._is_summary(item) else "content"]
        [part] = parts
        parts.clear()  # the next event adds it
        at = place["output_index"]
        return [
            self._event("response.output_item.added", output_index=at, item=added),
            self._event(f"response.{self._part_kind(item)}.added", **place, part=part),
        ]

    def _close(self, status: ItemStatus) -> list[Event]:
        """Complete the last item, if there is one."""
        if not self._items:
            return []
        item = self._items[-1]
        item.status = status
        done = self._output(item).to_json()
        if item.kind == "function_call":
            place = self._place(item)
            values = {"arguments": item.text, "name": done["name"]}
            return [
                self._event("response.function_call_arguments.done", **place, **values),
                self._event(
                    "response.output_item.done", output_index=len(self._items) - 1, item=done
                ),
            ]
        [part] = done["summary" if self._is_summary(item) else "content"]
        logprobs = {} if item.is_reasoning else {"logprobs": part["logprobs"]}
        place = self._place(item)
        kind = self._text_kind(item)
        at = place["output_index"]
        return [
            self._event(f"response.{kind}.done", **place, text=item.text, **logprobs),
            self._event(f"response.{self._part_kind(item)}.done", **place, part=part),
            self._event("response.output_item.done", output_index=at, item=done),
        ]

    def _output(self, item: _Item) -> OutputReasoning | OutputMessage | OutputFunctionCall:
        if item.call is not None:
            return OutputFunctionCall(
                id=item.id,
                type="function_call",
                status=item.status,
                call_id=item.call.id,
                name=item.call.name,
                arguments=item.text,
            )
        if item.kind == "message":
            text = OutputText(
                type="output_text", text=item.text, annotations=[], logprobs=item.logprobs
            )
            return OutputMessage(
                id=item.id, type="message", role="assistant", status=item.status, content=[text]
            )
        is_summary = self._is_summary(item)
        return OutputReasoning(
            id=item.id,
            type="reasoning",
            status=item.status,
            summary=[SummaryText(type="summary_text", text=item.text)] if is_summary else [],
            content=[] if is_summary else [ReasoningText(type="reasoning_text", text=item.text)],
        )

    def _is_summary(self, item: _Item) -> bool:
        return item.is_reasoning and self._asked.summary is not None

    def _text_kind(self, item: _Item) -> str:
        if not item.is_reasoning:
            return "output_text"
        return "reasoning_summary_text" if self._is_summary(item) else "reasoning_text"

    def _part_kind(self, item: _Item) -> str:
        return "reasoning_summary_part" if self._is_summary(item) else "content_part"

    def _place(self, item: _Item) -> dict[str, Any]:
        """Return the fields that identify an item's part in an event."""
        place = {"item_id": item.id, "output_index": len(self._items) - 1}
        if item.kind == "function_call":
            return place
        return {**place, "summary_index" if self._is_summary(item) else "content_index": 0}

    def _event(self, kind: str, **values: Any) -> Event:
        number = self._num_events
        self._num_events += 1
        return {"type": kind, "sequence_number": number, **values}

    # --------------------------------------------------------------------------------- response

    def _body(self, status: Any, completion: Completion | None = None) -> ResponseBody:
        incomplete = None
        if status == "incomplete" and completion is not None:
            is_limit = completion.finish_reason == "length"
            incomplete = IncompleteDetails(reason="max_output_tokens" if is_limit else None)
        values = _settings(self._asked)
        if self._asked.wants_trace and completion is not None:
            values["archon"] = answer_details(completion)
        return ResponseBody(
            id=self.id,
            object="response",
            created_at=self._created_at,
            completed_at=int(time.time()) if status == "completed" else None,
            status=status,
            error=None,
            incomplete_details=incomplete,
            output=[self._output(item) for item in self._items],
            usage=None if completion is None else response_usage(completion),
            **values,
        )


def _settings(asked: ResponsesRequest) -> dict[str, Any]:
    """Return the fields of a response that repeat the settings of its request."""
    choice = asked.tool_choice or "auto"
    text_format: dict[str, Any] = {"type": "text"}
    if asked.text is not None and asked.text.format is not None:
        text_format = asked.text.format.model_dump(by_alias=True, exclude_none=True)
    return {
        "model": asked.model,
        "previous_response_id": asked.previous_response_id,
        "store": asked.store is not False,
        "background": False,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens or asked.max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_logprobs": asked.top_logprobs or 0,
        "text": TextSettings(format=text_format),
        "reasoning": ReasoningSettings(effort=asked.effort, summary=asked.summary),
        "tools": [tool.model_dump() for tool in asked.tools or ()],
        "tool_choice": choice.model_dump() if isinstance(choice, NamedFunction) else choice,
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "truncation": "disabled",
        "service_tier": "default",
        "metadata": _labels(asked.metadata),
        **{
            name: None if (value := getattr(asked, name)) is None else _label(value)
            for name in ("user", "safety_identifier", "prompt_cache_key")
        },
    }


def _labels(metadata: Any) -> dict[str, str]:
    values = metadata if isinstance(metadata, dict) else {}
    return {key: _label(value) for key, value in values.items()}


def _label(value: Any) -> str:
    """Return a label as the string that clients expect; any other value as JSON text."""
    return value if isinstance(value, str) else json.dumps(value)


def response_usage(completion: Completion) -> ResponseUsage:
    """Return the token counts, summed over all nodes."""
    used = usage([completion])
    cached = used.prompt_tokens_details.cached_tokens
    return ResponseUsage(
        input_tokens=used.prompt_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=0),
        output_tokens=used.completion_tokens,
        output_tokens_details=OutputTokensDetails(
            reasoning_tokens=num_reasoning_tokens(completion)
        ),
        total_tokens=used.total_tokens,
    )


def num_reasoning_tokens(completion: Completion) -> int:
    """Return the number of tokens of an answer's reasoning.

    It is exact if the completion has the bytes of its tokens. Otherwise it is the reasoning's share
    of the characters of a single call; it is 0 if there were several calls.
    """
    if not completion.reasoning:
        return 0
    if completion.tokens is not None:
        return _num_tokens_before_answer(completion)
    used = completion.usage
    total = used.completion_tokens if used.calls == 1 else len(completion.token_ids or ())
    if completion.is_reasoning_cut_off:
        return total
    characters = len(completion.reasoning), len(completion.text)
    return round(total * characters[0] / sum(characters))


def _num_tokens_before_answer(completion: Completion) -> int:
    remaining = len(completion.reasoning.encode("utf-8", "replace"))
    for at, token in enumerate(completion.tokens or ()):
        if remaining <= 0:
            return at
        remaining -= len(token)
    return len(completion.tokens or ())


def _logprobs(completion: Completion) -> list[OutputLogprob]:
    """Return the log-probabilities of the answer's tokens, without those of the reasoning."""
    if completion.reasoning and completion.tokens is not None:
        start = _num_tokens_before_answer(completion)
        top, ids, logprobs = completion.top_logprobs, completion.token_ids, completion.logprobs
        completion = replace(
            completion,
            tokens=completion.tokens[start:],
            token_ids=None if ids is None else ids[start:],
            logprobs=None if logprobs is None else logprobs[start:],
            top_logprobs=None if top is None else top[start:],
        )
    found = choice_logprobs(completion)
    return [
        OutputLogprob(
            token=one.token,
            logprob=one.logprob,
            bytes=one.bytes or [],
            top_logprobs=[
                LikelyToken(token=top.token, logprob=top.logprob, bytes=top.bytes or [])
                for top in one.top_logprobs
            ],
        )
        for one in ([] if found is None else found.content)
    ]
