"""Separate tool calls from text while the text is generated."""

from __future__ import annotations

from collections.abc import Sequence

from archon.lm.tool_calls.formats import ToolFormat
from archon.lm.tool_calls.parsing import FENCES
from archon.types import Completion, Event, OnEvent, TokenDelta, ToolCallDelta

_HEADS = ('{"name"', '[{"name"', '{"type"', '[{"type"', '{"function"', '[{"function"')


class ToolCallEvents:
    """Event listener that forwards text as long as it cannot belong to a tool call.

    Text that may belong to a call is held back until the reply is complete. ``finish`` then sends
    the calls, and the text that turned out to be none.
    """

    def __init__(self, on_event: OnEvent, format: ToolFormat) -> None:
        self._on_event, self._format = on_event, format
        self._texts: dict[int, str] = {}
        self._sent: dict[int, int] = {}

    def __call__(self, event: Event) -> None:
        if not isinstance(event, TokenDelta) or event.is_reasoning:
            self._on_event(event)
            return
        text = self._texts[event.draw] = self._texts.get(event.draw, "") + event.text
        sent = self._sent.get(event.draw, 0)
        safe = safe_length(text, self._format)
        if safe > sent:
            self._on_event(TokenDelta(event.draw, text[sent:safe], event.node))
            self._sent[event.draw] = safe

    def finish(self, completions: Sequence[Completion]) -> None:
        """Send what was held back, and the calls."""
        for completion in completions:
            if rest := completion.text[self._sent.get(completion.draw, 0) :]:
                self._on_event(TokenDelta(completion.draw, rest))
            send_calls(completion, self._on_event)


def send_calls(completion: Completion, on_event: OnEvent) -> None:
    """Send a completion's tool calls as events: the name of each, then its arguments."""
    for index, call in enumerate(completion.tool_calls):
        on_event(ToolCallDelta(completion.draw, index, id=call.id, name=call.name))
        on_event(ToolCallDelta(completion.draw, index, call.arguments))


def safe_length(text: str, format: ToolFormat) -> int:
    """Return the length of the part of a growing text that certainly belongs to no call.

    White space at the end is excluded, since it is dropped in front of a call.
    """
    if _may_be_call(text):
        return 0
    ends = [at for begin in format.begins if (at := text.find(begin)) >= 0]
    if ends:
        return len(text[: min(ends)].rstrip())
    held = max((_overlap(text, begin) for begin in format.begins), default=0)
    return len(text[: len(text) - held].rstrip())


def _may_be_call(text: str) -> bool:
    """Return True if a text is the beginning of a reply that is nothing but a call in JSON."""
    compact = "".join(text.split())
    wholes = [fence + head for fence in FENCES for head in _HEADS]
    return any(whole.startswith(compact) or compact.startswith(whole) for whole in wholes)


def _overlap(text: str, marker: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``marker``."""
    lengths = range(min(len(text), len(marker) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(marker[:n])), 0)
