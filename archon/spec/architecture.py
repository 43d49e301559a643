"""Architecture files: graphs of nodes. Each node lists the nodes whose candidates it reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Discriminator, Field, Tag

from archon.sandbox import SandboxLimits
from archon.spec.common import (
    Count,
    LaterKeys,
    Name,
    StrictModel,
    Version,
)
from archon.spec.model import ModelCard
from archon.spec.node import ModelNode as ModelNode
from archon.spec.node import Node as Node
from archon.spec.node import NodeId as NodeId
from archon.spec.node import When as When
from archon.spec.plugin_nodes import OpenUnion
from archon.types import AnswerKind, UnitTestMethod

Shows = Literal["text", "steps"]
"""The part of a numeric candidate that a judge sees.

``text`` is the complete text; ``steps`` is only the checked calculations and the number."""
SHOWS_BY_DEFAULT: Shows = "steps"
_Shows = Annotated[
    Shows,
    Field(
        description="The part of a numeric candidate that the model sees. `text`: the complete "
        "text. `steps`: the checked calculations and the number, without the prose.",
    ),
]

_LIMITS = SandboxLimits()


class StopWhen(StrictModel):
    """Early stopping of a generator, which counts the votes after each round of samples."""

    confidence: float = Field(
        gt=0.5,
        le=1,
        description="Stop when the probability that the leading value is more frequent than the "
        "second is at least this number. With 1, stop when the remaining samples cannot change the "
        "leading value.",
    )
    round: Count = Field(4, description="Samples per round.")


class GeneratorNode(ModelNode):
    """Samples answers to the question."""

    type: Literal["generator"]
    model: Name = Field(description="Role in `models`.")
    samples: Count = Field(
        1, description="Number of answers to sample. With `stop_when`, the maximum number."
    )
    stop_when: StopWhen | None = Field(
        None,
        description="Condition for stopping before all samples are generated; by default none.",
    )


class CriticNode(ModelNode):
    """Lists strengths and weaknesses of every candidate."""

    type: Literal["critic"]
    method: Literal["reason", "equations"] = Field(
        "reason",
        description="`reason`: the model reviews all candidates. `equations`: the node names the "
        "first wrong calculation of each candidate, without a model.",
    )


class RankerNode(ModelNode):
    """Orders candidates and keeps the best ones."""

    type: Literal["ranker"]
    method: Literal["listwise", "pairwise", "logit", "likelihood", "reward"] = Field(
        "listwise",
        description="`listwise`: the model orders all candidates in one reply. `pairwise`: the "
        "model compares two candidates at a time, in both orders. The other methods order by a "
        "score. `logit`: the expected grade, from the log-probabilities of the grades. "
        "`likelihood`: the log-probability of the text under `model`, or, if `model` is omitted, "
        "under the model that wrote the text. `reward`: the reward of a reward model.",
    )
    keep: Count | None = Field(None, description="Number of candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT
    use_critiques: bool | None = Field(
        None,
        description="Whether the model sees critiques of the candidates. By default it sees them "
        "if there are any.",
    )


class FuserNode(ModelNode):
    """Combines several candidates into one better answer."""

    type: Literal["fuser"]
    model: Name = Field(description="Role in `models`.")
    samples: Count = Field(1, description="Number of fused answers to sample.")
    use_critiques: bool | None = Field(
        None,
        description="Whether the model sees critiques of the candidates. By default it sees them "
        "if there are any.",
    )


class VerifierNode(ModelNode):
    """Judges candidates and removes the wrong ones."""

    type: Literal["verifier"]
    method: Literal["reason", "logit", "reward", "equations", "program"] = Field(
        "reason",
        description="`reason`: the model argues and then judges. `logit`: the score is the "
        "probability that the model replies yes. `reward`: the score is the reward of a reward "
        "model. `equations`: every calculation must be correct; no model is used. `program`: the "
        "candidate's program is run, and its result must equal the answer that the text states.",
    )
    threshold: float | None = Field(
        None,
        description="Minimum score of a candidate that passes; by default 0.5. For `logit` it is a "
        "probability. For `reward` it is a reward, which is a probability if a card describes the "
        "reward model.",
    )
    keep_first: Count | None = Field(
        None,
        description="Maximum number of candidates to keep, the first ones of those that pass; by "
        "default all.",
    )
    shows: _Shows = SHOWS_BY_DEFAULT


class UnitTestGeneratorNode(ModelNode):
    """Writes unit tests for the question, and passes them on with the candidates."""

    type: Literal["unit_test_generator"]
    model: Name = Field(description="Role in `models`.")
    method: UnitTestMethod = Field(
        "reason",
        description="`reason`: the tests are statements that a correct answer satisfies. "
        "`program`: the tests are Python assertions that call the candidate's program.",
    )
    max_tests: Count = Field(5, description="Maximum number of tests.")


class UnitTestEvaluatorNode(ModelNode):
    """Orders candidates by the share of the question's tests that they pass."""

    type: Literal["unit_test_evaluator"]
    method: UnitTestMethod = Field(
        "reason",
        description="Type of the tests. `reason`: the model judges which statements each candidate "
        "satisfies. `program`: the assertions run in the sandbox, without a model.",
    )
    keep: Count | None = Field(None, description="Number of candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT


class VoteNode(Node):
    """Counts votes for each value, and keeps the first candidate of each value.

    The score of a kept candidate is the total weight of the votes for its value.
    """

    type: Literal["vote"]
    weight: Literal["count", "score", "odds", "likelihood"] = Field(
        "count",
        description="Weight of a candidate's vote. `count`: 1. `score`: the candidate's latest "
        "score p, which must not be negative. `odds`: p / (1 - p), for p from 0 to 1. "
        "`likelihood`: the likelihood of the text under the model that wrote it.",
    )
    by: Literal["value", "meaning"] = Field(
        "value",
        description="Which candidates vote together. `value`: candidates with equal values. "
        "`meaning`: candidates whose values have a similar meaning according to `model`, a "
        "sentence encoder.",
    )
    model: Name | None = Field(
        None, description="Role in `models` of the sentence encoder; only for `meaning`."
    )
    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Minimum cosine similarity of values that vote together; by default 0.8. Only "
        "for `meaning`.",
    )

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model


class ProgramNode(Node):
    """Runs every candidate's program in the sandbox. The result becomes the candidate's value.

    Programs written by models run only in the sandbox, and only if the architecture has a node that
    runs them.
    """

    type: Literal["program"]
    seconds: float = Field(
        _LIMITS.seconds, gt=0, le=600, description="Time limit of one program, in seconds."
    )
    memory_bytes: int = Field(
        _LIMITS.memory_bytes,
        ge=1 << 20,
        le=1 << 36,
        description="Memory limit of one program, in bytes.",
    )
    output_bytes: int = Field(
        _LIMITS.output_bytes,
        ge=1,
        le=1 << 26,
        description="Maximum size of a program's printed text, and separately of its result, in "
        "bytes.",
    )


class JoinNode(Node):
    """Joins the candidates of its inputs and passes them on unchanged."""

    type: Literal["join"]


AskingNode = ModelNode
"""A node that can prompt a model. Some nodes do so only with certain methods."""

ShippedNode = (
    GeneratorNode
    | CriticNode
    | RankerNode
    | FuserNode
    | VerifierNode
    | UnitTestGeneratorNode
    | UnitTestEvaluatorNode
    | VoteNode
    | ProgramNode
    | JoinNode
)
"""A node of a type that Archon ships."""

SHIPPED_NODES: Mapping[str, type[Node]] = {
    get_args(spec.model_fields["type"].annotation)[0]: spec for spec in get_args(ShippedNode)
}
"""Node type → its spec, for every type that Archon ships."""

if TYPE_CHECKING:
    AnyNode = Node
    """A node of any type."""
else:
    AnyNode = Annotated[ShippedNode, Field(discriminator="type"), OpenUnion(SHIPPED_NODES)]


def shipped_node_types() -> Collection[str]:
    """Return the names of the node types that Archon ships."""
    return SHIPPED_NODES.keys()


class ArchitectureRef(StrictModel):
    """An architecture that a role uses as its model."""

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
        'must be the name of a model card, {"architecture": NAME}, or an inline model card',
    ),
]


class Budget(LaterKeys):
    """Limits for one question. They are never exceeded; near a limit, fewer calls are made."""

    later_keys = frozenset({"max_compute"})

    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Maximum cost in tokens. A call is made only if even its longest possible "
        "reply stays within the limit.",
    )
    max_calls: int | None = Field(None, ge=1, description="Maximum number of completions.")
    max_compute: float | None = Field(
        None,
        gt=0,
        description="Maximum compute in FLOPs, such as 2e12. The number of parameters of every "
        "model must be known. Reward models and encoders are not limited.",
    )
    max_seconds: float | None = Field(
        None,
        gt=0,
        description="Maximum time from the question to the answer, including waiting for a busy "
        "model.",
    )


class ServeSpec(StrictModel):
    """Settings for requests to the architecture as a language model."""

    request_sampling: Literal["generators", "output", "ignore"] | None = Field(
        None,
        description="Nodes that a request's temperature, top_p, max_tokens and stop apply to. "
        "`generators`: the generators. `output`: the output node, if it writes text. `ignore`: no "
        "node. By default, the generators and the output node, if it writes text.",
    )


class ArchitectureSpec(LaterKeys):
    """An architecture: a directed acyclic graph of nodes over language models."""

    later_keys = frozenset({"serve"})

    version: Version
    name: Name
    description: str = ""
    models: dict[Name, RoleModel] = Field(
        {},
        description="Role → a model string (a card's name, a path, `hf:owner/name`, `openai:name`, "
        "…), an architecture, or an inline card.",
    )
    nodes: dict[NodeId, AnyNode] = Field(min_length=1)
    output: NodeId = Field(description="Id of the node whose first candidate is the answer.")
    answer: AnswerKind = Field(
        "number",
        description="Type of the answer: `number`; `text`, a name or a few words; `choice`, one of "
        "the question's options; `math`, an expression in LaTeX; `code`, a program; `json`, a JSON "
        "value. A benchmark or a request may ask for another type.",
    )
    budget: Budget | None = None
    serve: ServeSpec | None = Field(
        None, description="Settings for requests to the architecture as a language model."
    )

    def asking_nodes(self) -> Iterator[tuple[str, AskingNode, str]]:
        """Yield (id, node, role) for every node that prompts a model, in file order."""
        for name, node in self.nodes.items():
            if isinstance(node, ModelNode) and node.model is not None:
                yield name, node, node.model
