"""Items of the ``input`` of a request to the Responses API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from archon.serve import responses_fields
from archon.serve.request_object import RequestObject
from archon.spec.encoding import MARK
from archon.types import Message

_TEXT_TYPES = ("input_text", "output_text", "text")
_TOOL_ITEMS = ("function_call", "function_call_output", "custom_tool_call", "mcp_call")


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


class InputMessage(RequestObject):
    """A message of the conversation."""

    rules = responses_fields.MESSAGE
    place = "input[]."

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[InputPart], Field(fail_fast=True)]

    def message(self) -> Message:
        """Convert to ``archon.types.Message``."""
        text = self.content
        if isinstance(text, list):
            text = "".join(part.text for part in text)
        # A client may have read the message from a file that starts with a byte-order mark.
        return Message("system" if self.role == "developer" else self.role, text.lstrip(MARK))


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
    if kind in ("message", "reasoning", "item_reference"):
        return item
    if kind in _TOOL_ITEMS:
        reason = f"items of the type {kind!r} are not supported, because tools are not supported"
        raise _unsupported(f"{reason}; put the result in a user message")
    raise _unsupported(f"items of the type {kind[:60]!r} are not supported; only text is supported")


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[EarlierReasoning, Tag("reasoning")]
    | Annotated[ItemReference, Tag("item_reference")],
    Discriminator(_kind),
    BeforeValidator(_supported),
]
"""An item of the input: a message, earlier reasoning, or a reference to a stored item."""
