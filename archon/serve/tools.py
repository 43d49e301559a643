"""Fields of requests that concern tools: definitions, the choice among them, and earlier calls.

The fields ``functions`` and ``function_call``, which preceded ``tools`` in OpenAI's protocol, are
converted to their successors before the body is validated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM
from archon.lm.tool_calls.messages import uses_tools
from archon.serve.fields import BadRequestError, Ignored
from archon.serve.request_object import RequestObject
from archon.types import Message, NamedTool, Request, Tool, ToolCall, ToolChoice

_MAX_TOOLS = 128
_NAME = r"^[a-zA-Z0-9_.-]{1,64}$"


def _function_type(value: Any) -> Any:
    if isinstance(value, str) and value != "function":
        reason = "only tools of the type 'function' are supported"
        raise PydanticCustomError("unsupported", "{reason}", {"reason": reason})
    return value


FunctionType = Annotated[Literal["function"], BeforeValidator(_function_type)]


class FunctionDefinition(RequestObject):
    """A function that the model may call."""

    place = "tools[].function."

    name: str = Field(pattern=_NAME)
    description: str = ""
    parameters: dict[str, Any] | None = Field(
        None, description="JSON Schema of the arguments, which form an object."
    )
    strict: bool = Field(False, description="Whether the arguments must match the schema.")


class ToolDefinition(RequestObject):
    """A tool that the model may call."""

    place = "tools[]."

    type: FunctionType
    function: FunctionDefinition

    def tool(self) -> Tool:
        """Convert to ``archon.types.Tool``."""
        of = self.function
        return Tool(of.name, of.description, of.parameters, of.strict)


class FunctionName(RequestObject):
    """The name of a function."""

    place = "tool_choice.function."

    name: str


class NamedToolChoice(RequestObject):
    """A choice of tools: the model must call this function."""

    place = "tool_choice."

    type: FunctionType
    function: FunctionName


class CalledFunction(RequestObject):
    """The function and the arguments of an earlier call."""

    place = "messages[].tool_calls[].function."

    name: str
    arguments: str = Field(description="Arguments as the text of a JSON object.")


class EarlierCall(RequestObject):
    """A call in an earlier turn of the assistant."""

    place = "messages[].tool_calls[]."

    id: str = ""
    index: int | None = None
    type: FunctionType = "function"
    function: CalledFunction

    def call(self) -> ToolCall:
        """Convert to ``archon.types.ToolCall``."""
        return ToolCall(self.function.name, self.function.arguments, self.id)


ToolDefinitions = Annotated[list[ToolDefinition], Field(max_length=_MAX_TOOLS)]
ToolChoiceField = Literal["auto", "none", "required"] | NamedToolChoice


def tool_fields(tools: Sequence[ToolDefinition], choice: object) -> dict[str, Any]:
    """Return the fields ``tools`` and ``tool_choice`` of ``archon.types.Request``.

    Raises
    ------
    BadRequestError
        Two tools have the same name, or the choice names none of the tools.
    """
    converted = tuple(definition.tool() for definition in tools)
    names = [tool.name for tool in converted]
    for index, name in enumerate(names):
        if name in names[:index]:
            reason = f"two tools have the name {name!r}; rename one of them"
            raise _bad(reason, f"tools.{index}.function.name")
    if isinstance(choice, NamedToolChoice):
        if choice.function.name not in names:
            reason = f"no tool has the name {choice.function.name[:64]!r}; name one of tools"
            raise _bad(reason, "tool_choice")
        chosen: ToolChoice = NamedTool(choice.function.name)
    elif choice == "required":
        if not names:
            raise _bad("there are no tools to call; send tools, or omit tool_choice", "tool_choice")
        chosen = "required"
    else:
        chosen = "none" if choice == "none" else "auto"
    return {"tools": converted, "tool_choice": chosen}


def with_names(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages, in which each result has the name of the called tool."""
    names: dict[str, str] = {}
    named = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool":
            name = names.get(message.tool_call_id, "")
            message = Message("tool", message.content, (), message.tool_call_id, name)
        named.append(message)
    return tuple(named)


def check_tools(request: Request, lm: LM, name: str) -> None:
    """Check that a model supports the tools, calls and results in a request.

    Raises
    ------
    BadRequestError
        It does not. The error names the field at fault and the cure.
    """
    if not uses_tools(request) or "tools" in lm.capabilities:
        return
    param = "tools" if request.offered_tools else _first_use(request.messages)
    reason = f"{param}: {name} does not support tools: "
    if isinstance(lm, ArchitectureLM):
        reason += (
            "it is an architecture, whose nodes call none; serve a plain model for tool calls, "
            'or omit tools or send tool_choice "none"'
        )
    else:
        reason += "its chat template or protocol has none; choose another model, or omit tools"
    raise BadRequestError(reason, param=param, code="unsupported")


def _first_use(messages: Sequence[Message]) -> str:
    """Return the field of the first message that has calls or a result."""
    for index, message in enumerate(messages):
        if message.role == "tool":
            return f"messages.{index}.role"
        if message.tool_calls:
            return f"messages.{index}.tool_calls"
    return "messages"


# ------------------------------------------------------------------------- conversion of bodies


def prepared(body: Any, ignored: Ignored) -> Any:
    """Convert ``functions`` to ``tools``, and remove tools that the model must not call."""
    if not isinstance(body, dict):
        return body
    unused = [
        tools
        for tools, choice in (("tools", "tool_choice"), ("functions", "function_call"))
        if body.get(tools) and body.get(choice) == "none"
    ]
    for tools in unused:
        ignored.add(tools, tools)
    body = {key: value for key, value in body.items() if key not in unused}
    messages = body.get("messages")
    if isinstance(messages, list):
        body["messages"] = _converted_messages(messages)
    return _with_tools(body)


def has_functions(body: Any) -> bool:
    """Return True if a body has ``functions`` that the model may call, and no ``tools``."""
    functions = body.get("functions") if isinstance(body, dict) else None
    is_used = isinstance(functions, list) and bool(functions) and not body.get("tools")
    return is_used and body.get("function_call") != "none"


def with_legacy_names(error: BadRequestError) -> BadRequestError:
    """Return an error of a converted body, with the names of the fields that the client sent."""
    param = re.sub(r"^tools\.(\d+)\.function", r"functions.\1", error.param or "")
    param = re.sub(r"^tool_choice(\.function)?", "function_call", param)
    message = error.message.replace(error.param or param, param)
    return BadRequestError(message, param=param or None, code=error.code, status=error.status)


def _with_tools(body: dict[str, Any]) -> dict[str, Any]:
    if not has_functions(body):
        return body
    functions, choice = body["functions"], body.get("function_call")
    body = {key: value for key, value in body.items() if key not in ("functions", "function_call")}
    body["tools"] = [{"type": "function", "function": function} for function in functions]
    body["parallel_tool_calls"] = False
    if isinstance(choice, dict):
        body["tool_choice"] = {"type": "function", "function": choice}
    elif choice is not None:
        body["tool_choice"] = choice
    return body


def _converted_messages(messages: list[Any]) -> list[Any]:
    """Convert messages with ``function_call`` and messages of the role ``function``."""
    converted, ids = [], dict[str, str]()
    for index, message in enumerate(messages):
        call = message.get("function_call") if isinstance(message, dict) else None
        if isinstance(call, dict) and message.get("role") == "assistant":
            id = ids[str(call.get("name"))] = f"call_function_{index}"
            message = {key: value for key, value in message.items() if key != "function_call"}
            message["tool_calls"] = [{"id": id, "type": "function", "function": call}]
        elif isinstance(message, Mapping) and message.get("role") == "function":
            id = ids.get(str(message.get("name")), "")
            message = {**message, "role": "tool", "tool_call_id": id}
        converted.append(message)
    return converted


def _bad(reason: str, param: str) -> BadRequestError:
    return BadRequestError(f"{param}: {reason}", param=param, code="invalid_value")
