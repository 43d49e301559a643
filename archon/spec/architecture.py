"""Architecture files: nodes by id, with edges given by the names in ``inputs``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from archon.sandbox import SandboxLimits
from archon.spec.common import (
    Count,
    LaterKeys,
    Name,
    PromptSpec,
    SamplingSpec,
    StrictModel,
    Version,
)
from archon.spec.model import ModelCard
from archon.spec.thinking import ThinkingKeys
from archon.types import AnswerKind, UnitTestMethod

Shows = Literal["text", "steps"]
"""The part of a numeric candidate that a judge sees: its whole text, or only its checked
calculations and the number."""
SHOWS_BY_DEFAULT: Shows = "steps"
_Shows = Annotated[
    Shows,
    Field(
        description="What the model sees of a candidate where a number is asked for: its `text`, "
        "or its `steps`: the checked calculations and the number, without its words.",
    ),
]

NodeId = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
_LIMITS = SandboxLimits()


class When(StrictModel):
    """A condition on a node's joined inputs; where it is false, they pass the node by."""

    agreement_below: float | None = Field(
        None, gt=0, le=1, description="True while the largest share of one value is below this."
    )
    num_passed: int | None = Field(
        None, ge=0, description="True when exactly so many inputs' latest verdict is a pass."
    )

    @model_validator(mode="after")
    def _one_condition(self) -> When:
        if (self.agreement_below is None) == (self.num_passed is None):
            raise ValueError("give exactly one of 'agreement_below' and 'num_passed'")
        return self


class Node(StrictModel):
    """Keys of every node."""

    inputs: list[NodeId] = Field([], description="Nodes whose candidates this one reads, in order.")
    when: When | None = Field(None, description="Run only under this condition.")

    @property
    def role(self) -> str | None:
        """The role of the model that the node uses; None without a model."""
        return None


class ModelNode(ThinkingKeys, Node):
    """Keys of every node that may ask a model."""

    model: Name | None = Field(
        None, description="A role of `models`; left out where the method asks no model."
    )
    prompt: PromptSpec | None = Field(None, description="By default the model card's.")
    sampling: SamplingSpec | None = Field(None, description="By default the model card's.")

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model


class StopWhen(StrictModel):
    """When a generator has drawn enough: it draws in rounds and looks at the votes between them."""

    confidence: float = Field(
        gt=0.5,
        le=1,
        description="Stop once the leading value beats the next with this probability; "
        "1: once the draws that are left cannot change which value leads.",
    )
    round: Count = Field(4, description="Answers to draw before looking again.")


class GeneratorNode(ModelNode):
    """Samples answers to the question."""

    type: Literal["generator"]
    model: Name = Field(description="A role of `models`.")
    samples: Count = Field(1, description="Answers to draw; with `stop_when`, at most.")
    stop_when: StopWhen | None = Field(None, description="By default all samples are drawn.")


class CriticNode(ModelNode):
    """Lists strengths and weaknesses of every candidate."""

    type: Literal["critic"]
    method: Literal["reason", "equations"] = Field(
        "reason",
        description="`reason`: the model goes through all of them. `equations`: the first "
        "calculation that is wrong, found without a model.",
    )


class RankerNode(ModelNode):
    """Orders candidates and keeps the best."""

    type: Literal["ranker"]
    method: Literal["listwise", "pairwise", "logit", "likelihood", "reward"] = Field(
        "listwise",
        description="`listwise`: all in one reply. `pairwise`: two at a time, in both orders. "
        "`logit`: the grade that the model expects to give. `likelihood`: how likely the text is "
        "under `model`, or without one under the model that wrote it. `reward`: by a reward model.",
    )
    keep: Count | None = Field(None, description="Candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT
    use_critiques: bool | None = Field(None, description="By default, if there are any.")


class FuserNode(ModelNode):
    """Writes one better answer from several."""

    type: Literal["fuser"]
    model: Name = Field(description="A role of `models`.")
    samples: Count = Field(1, description="Fused answers to draw.")
    use_critiques: bool | None = Field(None, description="By default, if there are any.")


class VerifierNode(ModelNode):
    """Judges candidates and drops the wrong ones."""

    type: Literal["verifier"]
    method: Literal["reason", "logit", "reward", "equations", "program"] = Field(
        "reason",
        description="`reason`: argue, then judge. `logit`: how probable the model finds a yes. "
        "`reward`: by a reward model. `equations`: every calculation is checked, without a model. "
        "`program`: the candidate's program is run, and must come to what its text states.",
    )
    threshold: float | None = Field(
        None,
        description="The least score that passes, by default 0.5: of `logit` a probability, of "
        "`reward` a reward, which is one as well where the model is a card.",
    )
    keep_first: Count | None = Field(None, description="Of those that stay, pass on so many.")
    shows: _Shows = SHOWS_BY_DEFAULT


class UnitTestGeneratorNode(ModelNode):
    """Writes tests of the question, which go on beside the candidates."""

    type: Literal["unit_test_generator"]
    model: Name = Field(description="A role of `models`.")
    method: UnitTestMethod = Field(
        "reason",
        description="`reason`: statements that a right answer satisfies. `program`: Python "
        "assertions that call the program that a right answer is.",
    )
    max_tests: Count = Field(5, description="Tests to write at most.")


class UnitTestEvaluatorNode(ModelNode):
    """Orders candidates by the share of the question's tests that they pass."""

    type: Literal["unit_test_evaluator"]
    method: UnitTestMethod = Field(
        "reason",
        description="The tests to read. `reason`: the model judges each candidate by all of them. "
        "`program`: they run in the sandbox, without a model.",
    )
    keep: Count | None = Field(None, description="Candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT


class VoteNode(Node):
    """Keeps the earliest candidate of each value, its score the support."""

    type: Literal["vote"]
    weight: Literal["count", "score", "odds", "likelihood"] = Field(
        "count",
        description="What a candidate's vote weighs: 1, its latest score p (none may be below 0), "
        "the odds p / (1 - p) of that score (none may be above 1, either), or how likely its text "
        "was under the model that wrote it.",
    )
    by: Literal["value", "meaning"] = Field(
        "value",
        description="`value`: equal values vote together. `meaning`: values that `model`, a "
        "sentence encoder, finds alike do.",
    )
    model: Name | None = Field(
        None, description="A role of `models`, where the vote is by meaning."
    )
    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The least cosine of two values that mean the same; by default 0.8.",
    )

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model


class ProgramNode(Node):
    """Runs the program of every candidate in the sandbox; its result becomes the value.

    Programs of models run nowhere else: an architecture that has this node asks for it.
    """

    type: Literal["program"]
    seconds: float = Field(
        _LIMITS.seconds, gt=0, le=600, description="How long one program may run."
    )
    memory_bytes: int = Field(
        _LIMITS.memory_bytes,
        ge=1 << 20,
        le=1 << 36,
        description="What one program may hold at a time.",
    )
    output_bytes: int = Field(
        _LIMITS.output_bytes,
        ge=1,
        le=1 << 26,
        description="What one program may print, and what its result may take, each.",
    )


class JoinNode(Node):
    """Passes on its joined inputs; a bypassed output with several inputs becomes one."""

    type: Literal["join"]


AskingNode = (
    GeneratorNode
    | CriticNode
    | RankerNode
    | FuserNode
    | VerifierNode
    | UnitTestGeneratorNode
    | UnitTestEvaluatorNode
)
"""Nodes that ask a model for text, with at least some of their methods."""

AnyNode = Annotated[AskingNode | VoteNode | ProgramNode | JoinNode, Field(discriminator="type")]


class ArchitectureRef(StrictModel):
    """A whole architecture in the place of a model."""

    architecture: Name = Field(description="Name or path of the architecture.")


def _model_tag(value: object) -> str | None:
    if isinstance(value, str):
        return "Name"
    if isinstance(value, dict):
        return "ArchitectureRef" if "architecture" in value else "ModelCard"
    if isinstance(value, StrictModel):
        return "ArchitectureRef" if isinstance(value, ArchitectureRef) else "ModelCard"
    return None


RoleModel = Annotated[
    Annotated[Name, Tag("Name")]
    | Annotated[ArchitectureRef, Tag("ArchitectureRef")]
    | Annotated[ModelCard, Tag("ModelCard")],
    Discriminator(
        _model_tag,
        "which_member",
        'must be the name of a card, {"architecture": NAME}, or a card',
    ),
]


class Budget(StrictModel):
    """What one question may use: never more, and where less is left the graph makes do with it."""

    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Cost in tokens. A call is made only if its longest reply fits as well.",
    )
    max_calls: int | None = Field(None, ge=1, description="Completions.")
    max_seconds: float | None = Field(
        None,
        gt=0,
        description="Wall time from when the question is asked, waiting for a busy model included.",
    )


class ServeSpec(StrictModel):
    """How the architecture answers requests as a language model."""

    request_sampling: Literal["generators", "output", "ignore"] | None = Field(
        None,
        description="The nodes that a request's temperature, top_p, max_tokens and stop apply to. "
        "By default the generators, and the output node if it writes text. `generators`: the "
        "generators only. `output`: the output node only, if it writes text. `ignore`: none.",
    )


class ArchitectureSpec(LaterKeys):
    """An architecture: a directed acyclic graph of nodes over language models."""

    later_keys = frozenset({"serve"})

    version: Version
    name: Name
    description: str = ""
    models: dict[Name, RoleModel] = Field(
        {}, description="Role → a card's name, an architecture, or a card written here."
    )
    nodes: dict[NodeId, AnyNode] = Field(min_length=1)
    output: NodeId = Field(description="The node whose first candidate is the answer.")
    answer: AnswerKind = Field("number", description="The kind of answer wanted.")
    budget: Budget | None = None
    serve: ServeSpec | None = Field(None, description="For requests to it as a language model.")

    def asking_nodes(self) -> Iterator[tuple[str, AskingNode, str]]:
        """Yield id, spec and role of every node that asks a model for text, in file order."""
        for name, node in self.nodes.items():
            if isinstance(node, ModelNode) and node.model is not None:
                yield name, node, node.model
