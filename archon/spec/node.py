"""Keys that nodes of all types have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from archon.spec.common import Name, PromptSpec, SamplingSpec, StrictModel
from archon.spec.thinking import ThinkingKeys

NodeId = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]


class When(StrictModel):
    """A condition on a node's input candidates. If it is false, the candidates bypass the node."""

    agreement_below: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Run the node only if the share of the candidates that have the most frequent "
        "value is below this number.",
    )
    num_passed: int | None = Field(
        None,
        ge=0,
        description="Run the node only if exactly this number of candidates have passed their "
        "latest verdict.",
    )

    @model_validator(mode="after")
    def _one_condition(self) -> When:
        if (self.agreement_below is None) == (self.num_passed is None):
            raise ValueError("give exactly one of 'agreement_below' and 'num_passed'")
        return self


class Node(StrictModel):
    """Keys that every node may have."""

    if TYPE_CHECKING:
        type: str

    inputs: list[NodeId] = Field(
        [], description="Ids of the nodes whose candidates this node reads, in order."
    )
    when: When | None = Field(None, description="Run the node only under this condition.")

    @property
    def role(self) -> str | None:
        """Role of the model that the node uses; None if it does not use a model."""
        return None


class ModelNode(ThinkingKeys, Node):
    """Keys of every node that can prompt a model."""

    model: Name | None = Field(
        None, description="Role in `models`. Omit it if the method uses no model."
    )
    prompt: PromptSpec | None = Field(
        None,
        description="Prompt for the model. By default, generators and nodes that score texts by "
        "their log-probability or reward use the model card's prompt; other nodes use their "
        "default template.",
    )
    sampling: SamplingSpec | None = Field(
        None, description="Sampling parameters. The defaults are those of the model card."
    )

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model
