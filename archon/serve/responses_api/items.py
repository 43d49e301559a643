"""Items of the ``input`` of a request to the Responses API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from archon.serve import responses_fields
from archon.serve.request_object import RequestObject
from archon.spec.encoding import MARK
from archon.types import Message, ToolCall

_TEXT_TYPES = ("input_text", "output_text", "text")
_ITEM_TYPES = ("message", "reasoning", "item_reference", "function_call", "function_call_output")


def _unsupported(reason: str) -> PydanticCustomError:
    return PydanticCustomError("unsupported", "{reason}", {"reason": reason})


def _text_type(value: Any) -> Any:
    if isinstance(value, str) and value not in _TEXT_TYPES:
        reason = f"parts of the type {value[:60]!r} are not supported; only text is supported"
        raise _unsupported(reason)
    return value


class InputPart(RequestObject):
    """A part of a message's content, which must be text. A refusal counts as text."""

    rules = responses_fields.PART
    place = "input[].content[]."

    type: Annotated[Literal["input_text", "output_text", "text"], BeforeValidator(_text_type)]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _text_of_refusal(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") == "refusal" and "refusal" in data:
            return {"type": "output_text", "text": data["refusal"]}
        return data


def _joined(content: str | list[InputPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class InputMessage(RequestObject):
    """A message of the conversation."""

    rules = responses_fields.MESSAGE
    place = "input[]."

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[InputPart], Field(fail_fast=True)]

    def message(self) -> Message:
        """Convert to ``archon.types.Message``."""
        # A client may have read the message from a file that starts with a byte-order mark.
        text = _joined(self.content).lstrip(MARK)
        return Message("system" if self.role == "developer" else self.role, text)


class FunctionCallItem(RequestObject):
    """A call of a function in an earlier answer."""

    rules = responses_fields.TOOL_ITEM
    place = "input[]."

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str = Field(description="Arguments as the text of a JSON object.")

    def message(self) -> Message:
        """Convert to ``archon.types.Message``."""
        return Message("assistant", "", (ToolCall(self.name, self.arguments, self.call_id),))


class FunctionResultItem(RequestObject):
    """The result of a call of a function."""

    rules = responses_fields.TOOL_ITEM
    place = "input[]."

    type: Literal["function_call_output"]
    call_id: str
    output: str | Annotated[list[InputPart], Field(fail_fast=True)]

    def message(self) -> Message:
        """Convert to ``archon.types.Message``."""
        return Message("tool", _joined(self.output), (), self.call_id)


class EarlierReasoning(RequestObject):
    """The reasoning before an earlier answer, which is accepted but not part of the prompt."""

    rules = responses_fields.REASONING_ITEM
    place = "input[]."

    type: Literal["reasoning"]


class ItemReference(RequestObject):
    """The id of an item of a stored response, which stands for the item."""

    place = "input[]."

    type: Literal["item_reference"] = "item_reference"
    id: str


def _kind(item: Any) -> str | None:
    """Return an item's type. A message may lack it, and so may a reference."""
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if kind is None:
        return "item_reference" if "id" in item and "role" not in item else "message"
    return kind if isinstance(kind, str) else None


def _supported(item: Any) -> Any:
    """Check that an item is of a supported type."""
    if not isinstance(item, dict):
        raise PydanticCustomError("item_type", "an item must be an object")
    kind = _kind(item)
    if kind is None:
        raise PydanticCustomError("item_type", "the type of an item must be a string")
    if kind in _ITEM_TYPES:
        return item
    raise _unsupported(
        f"items of the type {kind[:60]!r} are not supported; only texts and calls of functions are"
    )


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[EarlierReasoning, Tag("reasoning")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionResultItem, Tag("function_call_output")],
    Discriminator(_kind),
    BeforeValidator(_supported),
]
"""An item of the input: a message, earlier reasoning, a call of a function and its result, or a
reference to a stored item."""
