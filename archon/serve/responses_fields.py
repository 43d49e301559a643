"""Rules for fields of ``POST /v1/responses`` that are not applied; see ``archon.serve.fields``."""

from __future__ import annotations

from archon.serve import fields
from archon.serve.fields import Rule, Rules

APPLIED = frozenset(
    {
        *("input", "instructions", "previous_response_id", "store", "max_output_tokens", "text"),
        *("reasoning", "metadata", "user", "safety_identifier", "prompt_cache_key", "include"),
        *("top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "stream"),
        "stream_options",
    }
)
"""Fields that these requests apply or repeat, in addition to the sampling fields."""

_LABEL = Rule("label")


def _labels(*names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, _LABEL)


REQUEST: Rules = {
    **{name: rule for name, rule in fields.REQUEST.items() if name not in APPLIED},
    **_labels("max_tool_calls", "access_programs", "background_options"),
    "truncation": Rule("hint", ("disabled",)),
    "context_management": Rule("hint", ([],)),
    "image": Rule("hint", ({},)),
    "background": Rule(
        "unsupported", (False,), "responses are not computed in the background; send false"
    ),
    "conversation": Rule("unsupported", (), "not supported; use previous_response_id"),
    "prompt": Rule("unsupported", (), "prompts are not stored; use instructions and input"),
    "messages": Rule("unsupported", (), "not supported; use input"),
    "logprobs": Rule(
        "unsupported", (False,), 'not supported; send include ["message.output_text.logprobs"]'
    ),
    "response_format": Rule("unsupported", (), "not supported; use text.format"),
    "reasoning_effort": Rule("unsupported", ("default",), "not supported; use reasoning.effort"),
    "chat_template_kwargs": Rule("unsupported", ({},), "not supported; use reasoning.effort"),
    "max_completion_tokens": Rule("unsupported", (-1,), "not supported; use max_output_tokens"),
}
"""Rules for fields of the body."""

MESSAGE: Rules = {
    **{name: rule for name, rule in fields.MESSAGE.items() if name != "type"},
    **_labels("status", "phase"),
}
"""Rules for fields of a message."""

PART: Rules = {**fields.PART, **_labels("logprobs")}
"""Rules for fields of a part of a message's content."""

REASONING_ITEM: Rules = _labels("id", "summary", "content", "encrypted_content", "status")
"""Rules for fields of the reasoning before an earlier answer, which is not part of a prompt."""

TOOL_ITEM: Rules = _labels("id", "status", "namespace", "caller", "name")
"""Rules for fields of earlier calls of functions and of their results."""

TOOL: Rules = _labels("allowed_callers", "defer_loading", "output_schema")
"""Rules for fields of a tool."""

REASONING: Rules = {
    "context": Rule("hint", ("auto",)),
    "mode": Rule("hint", ("standard",)),
    "max_tokens": Rule("hint"),
    "exclude": Rule("hint", (False,)),
    "enabled": Rule("hint", (True,)),
}
"""Rules for fields of ``reasoning``."""

TEXT: Rules = {"verbosity": Rule("hint", ("medium",))}
"""Rules for fields of ``text``."""

STREAM_OPTIONS: Rules = {**fields.STREAM_OPTIONS, **_labels("include_usage")}
"""Rules for fields of ``stream_options``. The last event always has the usage."""
