"""Harmless things that servers do in their replies: none of them may change a text.

An oddity of a stream takes the events of a good reply and a place, and gives the bytes to send. An
oddity of a whole reply changes the JSON object.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Events = list[Object]
PLACES = ("first", "middle", "last")
REASONING = "let me see: 2 + 3"


def encoded(data: object, start: bytes = b"data: ", end: bytes = b"\n") -> bytes:
    return start + json.dumps(data).encode() + end + end


# --------------------------------------------------------------- events between the others

HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def choice(**values: Any) -> Object:
    return {**HEAD, "choices": [{"index": 0, "finish_reason": None, **values}]}


INSERTED: dict[str, bytes] = {
    "comment": b": keep-alive\n\n",
    "comment_before_an_event": b": processing\n",
    "blank_lines": b"\n\n\n",
    "empty_data": b"data:\n\n",
    "named_event": b"event: ping\nid: 7\nretry: 10\ndata: {}\n\n",
    "choice_without_delta": encoded(
        choice(content_filter_results={}, content_filter_offsets={"check_offset": 4})
    ),
    "delta_null": encoded(choice(delta=None)),
    "delta_empty": encoded(choice(delta={})),
    "delta_of_nulls": encoded(
        choice(delta={"role": None, "content": None, "tool_calls": None, "refusal": None})
    ),
    "role_again": encoded(choice(delta={"role": "assistant", "content": ""})),
    "no_choices": encoded({**HEAD, "usage": None}),
    "choices_null": encoded({**HEAD, "choices": None}),
    "choices_empty": encoded({**HEAD, "choices": [], "prompt_filter_results": [{"index": 0}]}),
    "reason_empty": encoded(choice(delta={}, finish_reason="")),
    "reason_null_as_text": encoded(choice(delta={}, finish_reason="null")),
    "reasoning_content": encoded(choice(delta={"content": None, "reasoning_content": REASONING})),
    "reasoning": encoded(choice(delta={"content": "", "reasoning": REASONING})),
    "reasoning_twice": encoded(
        choice(
            delta={
                "reasoning": REASONING,
                "reasoning_details": [{"type": "reasoning.text", "text": REASONING}],
            }
        )
    ),
    "reasoning_part": encoded(
        choice(
            delta={
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": REASONING}]}]
            }
        )
    ),
}


def inserted(events: Events, place: str, extra: bytes) -> bytes:
    """The events with another between them: before the first, in the middle, or after the last."""
    at = {"first": 0, "middle": len(events) // 2, "last": len(events)}[place]
    return b"".join([*map(encoded, events[:at]), extra, *map(encoded, events[at:])])


# ------------------------------------------------------------------- events sent otherwise


def _delta(event: Object) -> Object:
    return event["choices"][0]["delta"] if event["choices"] else {}


def with_parts(event: Object) -> Object:
    delta = _delta(event)
    if "content" in delta:
        delta["content"] = [{"type": "text", "text": delta["content"]}]
    return event


def without_index(event: Object) -> Object:
    for one in event["choices"]:
        del one["index"]
    return event


def index_null(event: Object) -> Object:
    for one in event["choices"]:
        one["index"] = None
    return event


def without_finish_reason(event: Object) -> Object:
    for one in event["choices"]:
        if one["finish_reason"] is None:
            del one["finish_reason"]
    return event


def with_more_keys(event: Object) -> Object:
    for one in event["choices"]:
        one |= {"logprobs": None, "matched_stop": None, "stop_reason": 2, "token_ids": None}
        one["delta"] |= {"provider_specific_fields": None, "audio": None, "annotations": []}
    return {**event, "system_fingerprint": "", "service_tier": None, "error": None, "x_groq": {}}


def many_lines(event: Object) -> bytes:
    """The object over several lines, each of them a line of data."""
    lines = json.dumps(event, indent=1).encode().split(b"\n")
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


CHANGED: dict[str, Callable[[Object], Object]] = {
    "content_of_parts": with_parts,
    "no_index": without_index,
    "index_null": index_null,
    "no_finish_reason": without_finish_reason,
    "more_keys": with_more_keys,
}
WIRE: dict[str, Callable[[Object], bytes]] = {
    "crlf": lambda event: encoded(event, end=b"\r\n"),
    "no_space": lambda event: encoded(event, start=b"data:"),
    "many_lines": many_lines,
    "no_blank_line": lambda event: encoded(event)[:-1],
    "byte_order_mark": lambda event: b"\xef\xbb\xbf" + encoded(event),
}


def at_place(events: Events, place: str, name: str) -> bytes:
    """The events, of which one is sent otherwise."""
    at = {"first": 0, "middle": len(events) // 2, "last": len(events) - 1}[place]
    if name == "byte_order_mark":
        at = 0
    change, wire = CHANGED.get(name), WIRE.get(name)
    sent = [encoded(event) for event in events]
    event = copy.deepcopy(events[at])
    sent[at] = wire(event) if wire is not None else encoded(change(event) if change else event)
    return b"".join(sent)


# -------------------------------------------------------------------------- ends of streams


def ended_otherwise(events: Events, name: str) -> bytes:
    """The events with another end; the good end has no text, a usage event after it, and DONE."""
    *texts, end, usage = copy.deepcopy(events)
    done = b"data: [DONE]\n\n"
    match name:
        case "text_in_the_last":
            texts[-1]["choices"][0]["finish_reason"] = "stop"
            return b"".join(map(encoded, [*texts, usage])) + done
        case "usage_in_the_last":
            return b"".join(map(encoded, [*texts, end | {"usage": usage["usage"]}])) + done
        case "text_after_the_end":
            texts.insert(-1, end)
            return b"".join(map(encoded, [*texts, usage])) + done
        case "end_twice":
            return b"".join(map(encoded, [*texts, end, end, usage])) + done
        case "no_done":
            return b"".join(map(encoded, [*texts, end, usage]))
        case "done_without_blank_line":
            return b"".join(map(encoded, [*texts, end, usage])) + b"data: [DONE]"
        case "whole_message_at_the_end":
            text = "".join(_delta(event).get("content") or "" for event in texts)
            last = choice(message={"role": "assistant", "content": text}, finish_reason="stop")
            return b"".join(map(encoded, [*texts, last, usage])) + done
        case "reason_empty_to_the_end":
            for event in [*texts, end]:
                event["choices"][0]["finish_reason"] = ""
            return b"".join(map(encoded, [*texts, end, usage])) + done
    raise ValueError(name)


ENDS = (
    "text_in_the_last", "usage_in_the_last", "text_after_the_end", "end_twice", "no_done",
    "done_without_blank_line", "whole_message_at_the_end", "reason_empty_to_the_end",
)  # fmt: skip
STREAMED = (*INSERTED, *CHANGED, *WIRE)


def stream(events: Events, name: str, place: str) -> bytes:
    """The good events with one oddity at a place."""
    if name in ENDS:
        return ended_otherwise(events, name)
    done = b"data: [DONE]\n\n"
    if name in INSERTED:
        return inserted(events, place, INSERTED[name]) + done
    return at_place(events, place, name) + done


# ------------------------------------------------------------------------- whole replies


def _changed(reply: Object, choice: Object | None = None, message: Object | None = None) -> Object:
    [old] = reply["choices"]
    new = {**old, **(choice or {}), "message": {**old["message"], **(message or {})}}
    return {**reply, "choices": [new]}


def _without(reply: Object, key: str) -> Object:
    [old] = reply["choices"]
    return {**reply, "choices": [{k: v for k, v in old.items() if k != key}]}


WHOLE: dict[str, Callable[[Object], Object]] = {
    "content_of_parts": lambda r: _changed(
        r, message={"content": [{"type": "text", "text": r["choices"][0]["message"]["content"]}]}
    ),
    "no_index": lambda r: _without(r, "index"),
    "index_null": lambda r: _changed(r, {"index": None}),
    "no_logprobs": lambda r: _without(r, "logprobs"),
    "reason_empty": lambda r: _changed(r, {"finish_reason": ""}),
    "reason_null_as_text": lambda r: _changed(r, {"finish_reason": "null"}),
    "reason_eos": lambda r: _changed(r, {"finish_reason": "eos"}),
    "reason_in_capitals": lambda r: _changed(r, {"finish_reason": "STOP"}),
    "more_keys": lambda r: _changed(
        {**r, "system_fingerprint": None, "error": None, "provider": "x"},
        {"stop_reason": 2, "content_filter_results": {}},
        {"tool_calls": [], "refusal": None, "audio": None, "annotations": []},
    ),
    "reasoning_content": lambda r: _changed(r, message={"reasoning_content": REASONING}),
    "reasoning": lambda r: _changed(r, message={"reasoning": REASONING}),
    "reasoning_twice": lambda r: _changed(
        r,
        message={
            "reasoning": REASONING,
            "reasoning_details": [{"type": "reasoning.text", "text": REASONING}],
        },
    ),
}


def is_about_reasoning(name: str) -> bool:
    return name.startswith("reasoning")
