"""Tool calls in the replies of servers, complete or in fragments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archon.errors import LMError
from archon.types import ToolCall, ToolCallDelta

_MAX_CALLS = 1000
_MAX_CHARACTERS = 10**7


@dataclass(slots=True)
class ReceivedCalls:
    """The tool calls of one text, which grow as fragments arrive."""

    _calls: list[ToolCall] = field(default_factory=list)
    _positions: dict[int, int] = field(default_factory=dict)
    """Index of a call in the server's reply → position in ``_calls``."""
    _new: list[tuple[int, ToolCall]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, message: Mapping[str, Any]) -> None:
        """Add the calls, or fragments of calls, of a message or a delta.

        Raises
        ------
        LMError
            The calls are not objects with a function.
        """
        raw_calls = message.get("tool_calls")
        if not raw_calls and message.get("function_call"):  # the protocol before tools
            raw_calls = [{"index": 0, "function": message["function_call"]}]
        if raw_calls is None:
            return
        if not isinstance(raw_calls, list):
            raise LMError("'tool_calls' in the reply must be a list")
        for at, raw in enumerate(raw_calls):
            function = raw.get("function") if isinstance(raw, dict) else None
            if not isinstance(function, dict):
                raise LMError("the reply has a tool call without a function")
            self._add(raw, function, at)

    def take_new(self, draw: int) -> Iterator[ToolCallDelta]:
        """Yield the fragments that have arrived since the last call of this method."""
        new, self._new = self._new, []
        for index, part in new:
            yield ToolCallDelta(draw, index, part.arguments, part.id, part.name)

    def finished(self) -> tuple[ToolCall, ...]:
        """Return the complete calls.

        Raises
        ------
        LMError
            A call has no name.
        """
        if not all(call.name for call in self._calls):
            raise LMError("the reply has a tool call without a name")
        return tuple(
            call if call.arguments.strip() else ToolCall(call.name, "{}", call.id)
            for call in self._calls
        )

    def _add(self, raw: dict[str, Any], function: dict[str, Any], at: int) -> None:
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # Ollama
            arguments = json.dumps(arguments, ensure_ascii=False)
        part = ToolCall(_text(function.get("name")), _text(arguments), _text(raw.get("id")))
        position = self._position(raw, part, at)
        old = self._calls[position]
        # Some servers repeat the id and the name in every fragment.
        part = ToolCall("" if old.name else part.name, part.arguments, "" if old.id else part.id)
        self._calls[position] = ToolCall(
            old.name or part.name, old.arguments + part.arguments, old.id or part.id
        )
        if len(self._calls[position].arguments) > _MAX_CHARACTERS:
            raise LMError("the arguments of a tool call are too long")
        if part.name or part.arguments or part.id:
            self._new.append((position, part))

    def _position(self, raw: dict[str, Any], part: ToolCall, at: int) -> int:
        """Return the position of the call that a fragment belongs to; add the call if it is new.

        Some servers number all calls 0, or none, but begin each with its own id.
        """
        index = raw.get("index", at)
        key = index if isinstance(index, int) else at
        position = self._positions.get(key)
        is_new = position is None or (part.id and self._calls[position].id not in ("", part.id))
        if position is None or is_new:
            if len(self._calls) >= _MAX_CALLS:
                raise LMError("the reply has too many tool calls")
            position = self._positions[key] = len(self._calls)
            self._calls.append(ToolCall("", ""))
        return position


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LMError("a tool call in the reply has an id, name or arguments that are not text")
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
