"""Interpret the ``finish_reason`` values of servers.

OpenAI's protocol defines only a few values, but servers and gateways use many more. Values are
compared in lower case, with ``_`` instead of ``-`` and spaces. ``null``, an empty string and the
strings "null" and "none" mean that the text has not ended.
"""

from __future__ import annotations

from archon.errors import LMError
from archon.types import FinishReason

STOP = frozenset(
    {
        "stop", "stopped", "stop_sequence", "stop_token", "stop_str", "eos", "eos_token",
        "eos_found", "end", "end_turn", "end_of_turn", "end_of_text", "complete", "completed",
        "done", "finish", "finished", "success",
    }
)  # fmt: skip
"""The model ended its text."""
LENGTH = frozenset(
    {
        "length", "max_tokens", "max_length", "max_new_tokens", "max_output_tokens",
        "max_completion_tokens", "model_length", "token_limit", "context_length",
        "context_length_exceeded", "model_context_window_exceeded", "incomplete",
    }
)  # fmt: skip
"""The text was cut off."""
WITHHELD = frozenset(
    {
        "content_filter", "content_filtered", "safety", "recitation", "blocklist",
        "prohibited_content", "spii", "refusal", "sensitive", "guardrail_intervened",
    }
)  # fmt: skip
"""The service withheld text."""
TOOL = frozenset({"tool_calls", "tool_call", "tool_use", "function_call"})
"""The model called a tool."""
FAILED = frozenset(
    {
        "error", "abort", "aborted", "cancel", "cancelled", "canceled", "interrupted", "timeout",
        "insufficient_system_resource", "server_error", "internal_error",
    }
)  # fmt: skip
"""The server stopped before the text was complete."""


def has_ended(value: object) -> bool:
    """Return True if a finish reason says that the text has ended.

    >>> [has_ended(value) for value in (None, "", "null", "stop")]
    [False, False, False, True]
    """
    return not (value is None or (isinstance(value, str) and _word(value) in ("", "null", "none")))


def read_finish_reason(value: object, *, has_tools: bool = False) -> FinishReason:
    """Translate a server's finish reason into ``stop``, ``length`` or ``tool_calls``.

    Parameters
    ----------
    has_tools
        Whether the request offers tools, so that the model may call them.

    Raises
    ------
    LMError
        The reason means that the text is unusable, or it is unknown.
    """
    word = _word(value) if isinstance(value, str) else ""
    if word in STOP:
        return "stop"
    if word in LENGTH:
        return "length"
    if word in WITHHELD:
        raise LMError(f"the server withheld the text (finish_reason {value!r})")
    if word in TOOL and has_tools:
        return "tool_calls"
    if word in TOOL:
        raise LMError(
            f"the model called a tool (finish_reason {value!r}), although the request does not "
            f"offer any"
        )
    if word in FAILED:
        reason = f"the server did not finish the text (finish_reason {value!r})"
        raise LMError(reason, retryable=True)
    raise LMError(f"the reply has an unknown finish_reason: {str(value)[:40]!r}")


def _word(value: str) -> str:
    return value.strip().lower().replace("-", "_").replace(" ", "_")
