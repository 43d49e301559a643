"""Tools, calls and their results as JSON data, in the form of OpenAI's protocol.

Chat templates expect the same form, except that arguments are an object there (transformers'
convention) in most templates.
"""

from __future__ import annotations

import json
from typing import Any

from archon.lm.tool_calls.grammar import NO_PARAMETERS
from archon.types import Message, NamedTool, Request, Tool, ToolChoice


def tool_json(tool: Tool) -> dict[str, Any]:
    """Return the definition of a tool for chat templates."""
    parameters = dict(NO_PARAMETERS if tool.parameters is None else tool.parameters)
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def request_fields(request: Request) -> dict[str, Any]:
    """Return the fields ``tools``, ``tool_choice`` and ``parallel_tool_calls`` for a server."""
    if not request.offered_tools:
        return {}
    definitions = []
    for tool in request.tools:
        definition = tool_json(tool)
        function = definition["function"]
        if not tool.description:
            del function["description"]
        if tool.parameters is None:
            del function["parameters"]
        if tool.strict:
            function["strict"] = True
        definitions.append(definition)
    fields: dict[str, Any] = {"tools": definitions}
    if request.tool_choice != "auto":
        fields["tool_choice"] = choice_json(request.tool_choice)
    if not request.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def choice_json(choice: ToolChoice) -> str | dict[str, Any]:
    """Return a choice of tools in the form of OpenAI's protocol."""
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def tools_key(request: Request) -> list[object] | None:
    """Return the tools' part of a sample key; None if the model can call none."""
    if not request.offered_tools:
        return None
    tools = [[tool_json(tool), tool.strict] for tool in request.offered_tools]
    return [tools, choice_json(request.tool_choice), request.parallel_tool_calls]


def message_json(message: Message, *, as_objects: bool = False) -> dict[str, Any]:
    """Return a message.

    Parameters
    ----------
    as_objects
        Whether the arguments of calls are objects instead of their texts.
    """
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        data["content"] = message.content or None
        data["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": _object(call.arguments) if as_objects else call.arguments,
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        data["tool_call_id"] = message.tool_call_id
    if message.name:
        data["name"] = message.name
    return data


def _object(arguments: str) -> object:
    """Return the object of the arguments' text; text that is not JSON stays text."""
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return arguments


def uses_tools(request: Request) -> bool:
    """Return True if a request offers tools, or if its messages contain calls or results."""
    return bool(request.offered_tools) or any(
        message.tool_calls or message.role == "tool" for message in request.messages
    )
