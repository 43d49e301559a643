"""Functions that a request to the Responses API offers to the model.

They are flat objects, unlike the tools of chat completions, to which they are converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from archon.lm.base import LM
from archon.serve import responses_fields
from archon.serve.fields import BadRequestError
from archon.serve.request_object import RequestObject
from archon.serve.tools import (
    FunctionDefinition,
    FunctionName,
    FunctionType,
    NamedToolChoice,
    ToolDefinition,
    check_tools,
    tool_fields,
)
from archon.types import Request

_MAX_TOOLS = 128


class FunctionTool(RequestObject):
    """A function that the model may call."""

    rules = responses_fields.TOOL
    place = "tools[]."

    type: FunctionType
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = Field(
        None, description="JSON Schema of the arguments, which form an object."
    )
    strict: bool | None = Field(None, description="Whether the arguments must match the schema.")

    def definition(self) -> ToolDefinition:
        """Convert to a tool of a chat completion."""
        function = FunctionDefinition(
            name=self.name,
            description=self.description or "",
            parameters=self.parameters,
            strict=bool(self.strict),
        )
        return ToolDefinition(type="function", function=function)


class NamedFunction(RequestObject):
    """A choice of tools: the model must call this function."""

    place = "tool_choice."

    type: FunctionType
    name: str


FunctionTools = Annotated[list[FunctionTool], Field(max_length=_MAX_TOOLS)]


def request_tools(tools: Sequence[FunctionTool], choice: object) -> dict[str, Any]:
    """Return the fields of ``archon.types.Request`` that concern tools; see ``tool_fields``."""
    if isinstance(choice, NamedFunction):
        choice = NamedToolChoice(type="function", function=FunctionName(name=choice.name))
    try:
        return tool_fields([tool.definition() for tool in tools], choice)
    except BadRequestError as error:
        raise _renamed(error, (error.param or "").replace(".function", "")) from None


def check_functions(request: Request, lm: LM, name: str) -> None:
    """Check that a model supports the functions, calls and results; see ``check_tools``."""
    try:
        check_tools(request, lm, name)
    except BadRequestError as error:
        param = error.param or ""
        raise _renamed(error, "input" if param.startswith("messages") else param) from None


def _renamed(error: BadRequestError, param: str) -> BadRequestError:
    """Return an error about another field, which its message names first."""
    reason = error.message.removeprefix(f"{error.param}: ")
    return BadRequestError(f"{param}: {reason}", param=param, code=error.code, status=error.status)
