"""Card and node keys that control a model's reasoning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StrictBool, model_validator

from archon.reasoning import PUBLISHED_MARKERS, ReasoningMarkers
from archon.spec.common import LaterKeys, Name, StrictModel
from archon.types import Thinking

RESERVED_VARIABLES = (
    "messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token",
)  # fmt: skip
"""Chat-template variables that Archon sets for every prompt, so files must not set them."""


class ThinkingKeys(LaterKeys):
    """Thinking keys of cards and nodes. A node's value overrides its model card's value."""

    later_keys = frozenset({"thinking", "template_variables", "max_thinking_tokens"})

    thinking: StrictBool | Literal["auto"] | None = Field(
        None,
        description="Whether the model reasons before it answers. `true` and `false` set the "
        "chat-template variable `enable_thinking`, or the card's `thinking_field` in requests to a "
        "server. `auto` sets nothing, so the model's default applies. A node's default is its "
        "model card's value; a card's default is `auto`.",
    )
    template_variables: dict[Name, JsonValue] | None = Field(
        None, description="Variables to set in the model's chat template: name → value."
    )
    max_thinking_tokens: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Maximum number of reasoning tokens, which also count towards `max_tokens`. At "
        "the limit the end marker is inserted, so that the model answers. By default there is no "
        "separate limit.",
    )

    @model_validator(mode="after")
    def _variables_are_not_reserved(self) -> ThinkingKeys:
        for name in self.thinking_params().template_variables or {}:
            if name in RESERVED_VARIABLES:
                raise ValueError(f"the {name!r} template variable is set by Archon; remove it")
        return self

    def thinking_params(self) -> Thinking:
        """Convert the keys to ``archon.types.Thinking``."""
        return Thinking(self.thinking, self.template_variables, self.max_thinking_tokens)


class MarkersSpec(StrictModel):
    """Strings before and after a model's reasoning."""

    start: Annotated[str, Field(max_length=200)] = Field(
        "",
        description="String before the reasoning. If it is empty, every reply begins within the "
        "reasoning, for example because the server's chat template writes the start marker. A "
        "reply without the end marker is then reasoning that was cut off.",
    )
    end: Name = Field(
        description="String after the reasoning. The answer follows its last occurrence."
    )

    def markers(self) -> ReasoningMarkers:
        """Convert the keys to ``archon.reasoning.ReasoningMarkers``.

        For published markers, the result also has their additional fields.
        """
        published = {(m.start, m.end): m for m in PUBLISHED_MARKERS}
        return published.get((self.start, self.end)) or ReasoningMarkers(self.start, self.end)


class CardThinkingKeys(ThinkingKeys):
    """Thinking keys that every model card may have."""

    later_keys = ThinkingKeys.later_keys | {"chat_template_kwargs", "reasoning_markers"}

    chat_template_kwargs: dict[Name, JsonValue] | None = Field(
        None, description="Alias of `template_variables`, the name that servers use for it."
    )
    reasoning_markers: (
        MarkersSpec | Annotated[list[MarkersSpec], Field(min_length=1, max_length=16)] | None
    ) = Field(
        None,
        description="Markers around the model's reasoning. The default is those of published "
        "models, such as `<think>` and `</think>`.",
    )

    @model_validator(mode="after")
    def _one_name_of_variables(self) -> CardThinkingKeys:
        if self.template_variables is not None and self.chat_template_kwargs is not None:
            raise ValueError("give either 'template_variables' or 'chat_template_kwargs', not both")
        return self

    def thinking_params(self) -> Thinking:
        """Convert the keys to ``archon.types.Thinking``."""
        variables = self.template_variables or self.chat_template_kwargs
        return Thinking(self.thinking, variables, self.max_thinking_tokens)

    def markers(self) -> tuple[ReasoningMarkers, ...]:
        """Return the reasoning markers to look for in the model's replies."""
        match self.reasoning_markers:
            case None:
                return PUBLISHED_MARKERS
            case MarkersSpec() as one:
                return (one.markers(),)
            case several:
                return tuple(each.markers() for each in several)
