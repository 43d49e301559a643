"""Separate the tool calls of a reply from its text.

Nothing is lost: whatever is not a call of an offered tool stays text. Next to the model's own
format, a reply that consists of nothing but a call in JSON is read as one, also within a code block
or tags, since small models often omit the markers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from archon.lm.tool_calls.formats import ToolFormat
from archon.lm.tool_calls.readers import Call, Cursor, bare_json, typed
from archon.types import Completion, Request, Tool, ToolCall

FENCES = {
    "": "",
    "```json": "```",
    "```": "```",
    "<tools>": "</tools>",
    "<tool_call>": "</tool_call>",
}
"""Text in front of a call in JSON that is the complete reply → text after it."""
ONE_CALL = "the reply has several tool calls; all but the first are omitted (parallel_tool_calls)"


def split_calls(
    text: str, format: ToolFormat, tools: Sequence[Tool]
) -> tuple[str, tuple[ToolCall, ...]]:
    """Return a reply's text without calls, and the calls, which have no ids yet."""
    by_name = {tool.name: tool for tool in tools}
    parts, calls, at, searched = list[str](), list[Call](), 0, 0
    while (opened := _next_begin(text, format, searched)) is not None:
        start, searched = opened
        cursor = Cursor(text, searched)
        try:
            found = _known(format.read(cursor), by_name)
        except ValueError:
            continue
        parts.append(text[at:start])
        calls += found
        at = searched = cursor.at
    if not calls:
        calls = _complete_reply(text, by_name)
        parts, at = [], len(text) if calls else 0
    if not calls:
        return text, ()
    rest = "".join([*parts, text[at:]]).rstrip()
    return rest, tuple(_tool_call(call, by_name) for call in calls)


def with_tool_calls(completion: Completion, format: ToolFormat, request: Request) -> Completion:
    """Return a completion whose calls are separated from its text, with ids.

    Ids follow from the sample, so that the same request has the same ids.
    """
    if completion.error is not None or completion.finish_reason == "choices":
        return completion
    text, calls = split_calls(completion.text, format, request.offered_tools)
    return replace(called(completion, calls, request), text=text) if calls else completion


def called(completion: Completion, calls: Sequence[ToolCall], request: Request) -> Completion:
    """Return a completion with calls, of which each gets an id if it has none."""
    notes = completion.notes
    if not request.parallel_tool_calls and len(calls) > 1:
        calls, notes = calls[:1], (*notes, ONE_CALL)
    sample = f"{sorted(completion.prompts)}/{request.seed}/{completion.draw}"
    numbered = tuple(
        replace(call, id=call.id or f"call_{_digest(f'{sample}/{index}')}")
        for index, call in enumerate(calls)
    )
    reason = "tool_calls" if completion.finish_reason == "stop" else completion.finish_reason
    return replace(completion, tool_calls=numbered, finish_reason=reason, notes=notes)


def _next_begin(text: str, format: ToolFormat, at: int) -> tuple[int, int] | None:
    """Return the start and the end of the next text that opens calls."""
    found = [(start, begin) for begin in format.begins if (start := text.find(begin, at)) >= 0]
    if not found:
        return None
    start, begin = min(found)
    return start, start + len(begin)


def _complete_reply(text: str, by_name: Mapping[str, Tool]) -> list[Call]:
    """Return the calls of a reply that is nothing but calls in JSON."""
    stripped = text.strip()
    for begin, end in FENCES.items():
        if not stripped.startswith(begin):
            continue
        cursor = Cursor(stripped, len(begin))
        try:
            found = _known(bare_json(cursor), by_name)
        except ValueError:
            continue
        if end:
            cursor.skip(end)
        if cursor.is_at_end:
            return found
    return []


def _known(calls: list[Call], by_name: Mapping[str, Tool]) -> list[Call]:
    if unknown := [name for name, _ in calls if name not in by_name]:
        raise ValueError(f"no tool has the name {unknown[0]!r}")
    return calls


def _tool_call(call: Call, by_name: Mapping[str, Tool]) -> ToolCall:
    name, arguments = call
    properties = (by_name[name].parameters or {}).get("properties")
    schemas = properties if isinstance(properties, Mapping) else {}
    values = {key: typed(value, schemas.get(key)) for key, value in arguments.items()}
    return ToolCall(name, json.dumps(values, ensure_ascii=False))


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
