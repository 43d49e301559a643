"""Convert thinking parameters to chat-template variables and to request fields."""

from __future__ import annotations

import re

from archon.spec.model import ThinkingField
from archon.types import Thinking

SWITCH = "enable_thinking"
"""The chat-template variable that turns thinking on or off in most models."""

_SWITCHES = (SWITCH, "thinking")
"""The variable of Qwen3 and most other models, and the variable of DeepSeek-V3.1 and Granite."""


def switches(template: str) -> tuple[str, ...]:
    """Return the variables of a chat template that turn thinking on or off."""
    return tuple(name for name in _SWITCHES if re.search(rf"\b{name}\b", template))


def template_variables(
    thinking: Thinking, switches: tuple[str, ...] = (SWITCH,)
) -> dict[str, object]:
    """Return the chat-template variables for these thinking parameters.

    Explicit ``template_variables`` override the switches.

    Parameters
    ----------
    switches
        The template's variables that turn thinking on or off.
    """
    variables: dict[str, object] = {}
    if thinking.wanted is not None:
        variables |= dict.fromkeys(switches, thinking.wanted)
    return variables | dict(thinking.template_variables or {})


def server_fields(field: ThinkingField, thinking: Thinking) -> dict[str, object]:
    """Return the request fields for these thinking parameters, or {} if all are defaults.

    Parameters
    ----------
    field
        The card's ``thinking_field``.
    """
    fields: dict[str, object] = {}
    wanted, most = thinking.wanted, thinking.max_tokens
    switches = (SWITCH,) if field == "chat_template_kwargs" else ()
    if variables := template_variables(thinking, switches):
        fields["chat_template_kwargs"] = variables
    match field:
        case "reasoning_effort" if wanted is not None:
            fields["reasoning_effort"] = "medium" if wanted else "none"
        case "reasoning" if wanted is not None or most is not None:
            values = {"enabled": wanted, "max_tokens": None if wanted is False else most}
            fields["reasoning"] = {key: v for key, v in values.items() if v is not None}
        case "enable_thinking":
            values = {"enable_thinking": wanted, "thinking_budget": most}
            fields |= {key: value for key, value in values.items() if value is not None}
        case "thinking" if wanted is not None or most is not None:
            if wanted is False:
                fields["thinking"] = {"type": "disabled"}
            elif most is None:
                fields["thinking"] = {"type": "adaptive"}
            else:
                fields["thinking"] = {"type": "enabled", "budget_tokens": most}

    return fields
