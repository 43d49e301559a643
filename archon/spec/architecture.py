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
"""The part of a numeric candidate that a judge sees: the complete text, or only the checked
calculations and the number."""
SHOWS_BY_DEFAULT: Shows = "steps"
_Shows = Annotated[
    Shows,
    Field(
        description="The part of a numeric candidate that the model sees. `text`: the complete "
        "text. `steps`: the checked calculations and the number, without the prose.",
    ),
]

NodeId = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,99}$")]
_LIMITS = SandboxLimits()


class When(StrictModel):
    """A condition on a node's joined inputs. If it is false, they bypass the node."""

    agreement_below: float | None = Field(
        None,
        gt=0,
        le=1,
        description="True if the most frequent value has a smaller share of the candidates.",
    )
    num_passed: int | None = Field(
        None,
        ge=0,
        description="True if the latest verdict of exactly this number of candidates is a pass.",
    )

    @model_validator(mode="after")
    def _one_condition(self) -> When:
        if (self.agreement_below is None) == (self.num_passed is None):
            raise ValueError("give exactly one of 'agreement_below' and 'num_passed'")
        return self


class Node(StrictModel):
    """Keys of every node."""

    inputs: list[NodeId] = Field(
        [], description="Nodes whose candidates this node reads, in order."
    )
    when: When | None = Field(None, description="Run the node only under this condition.")

    @property
    def role(self) -> str | None:
        """The role of the model that the node uses; None without a model."""
        return None


class ModelNode(ThinkingKeys, Node):
    """Keys of every node that can use a model."""

    model: Name | None = Field(
        None, description="A role in `models`; omitted if the method uses no model."
    )
    prompt: PromptSpec | None = Field(
        None,
        description="The prompt. By default generators, and nodes that score replies by likelihood "
        "or reward, use the model card's prompt; other nodes use their default template.",
    )
    sampling: SamplingSpec | None = Field(
        None, description="Sampling parameters; the model card has the defaults."
    )

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model


class StopWhen(StrictModel):
    """Early stopping of a generator, which samples in rounds and counts votes after each one."""

    confidence: float = Field(
        gt=0.5,
        le=1,
        description="Stop when the leading value beats the second with this probability. 1: stop "
        "when the remaining samples cannot change the leading value.",
    )
    round: Count = Field(4, description="Samples per round.")


class GeneratorNode(ModelNode):
    """Samples answers to the question."""

    type: Literal["generator"]
    model: Name = Field(description="A role in `models`.")
    samples: Count = Field(1, description="Number of answers; with `stop_when`, the maximum.")
    stop_when: StopWhen | None = Field(
        None, description="Stop before all samples are generated; by default never."
    )


class CriticNode(ModelNode):
    """Lists strengths and weaknesses of every candidate."""

    type: Literal["critic"]
    method: Literal["reason", "equations"] = Field(
        "reason",
        description="`reason`: the model reviews all candidates. `equations`: names the first "
        "wrong calculation of each candidate, without a model.",
    )


class RankerNode(ModelNode):
    """Orders candidates and keeps the best."""

    type: Literal["ranker"]
    method: Literal["listwise", "pairwise", "logit", "likelihood", "reward"] = Field(
        "listwise",
        description="`listwise`: orders all candidates in one reply. `pairwise`: compares two at a "
        "time, in both orders. `logit`: the expected grade, from the model's log-probabilities. "
        "`likelihood`: the likelihood of the text under `model`, or without `model` under the "
        "model that wrote it. `reward`: the score of a reward model.",
    )
    keep: Count | None = Field(None, description="Number of candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT
    use_critiques: bool | None = Field(
        None, description="Show critiques to the model; by default if there are any."
    )


class FuserNode(ModelNode):
    """Combines several candidates into one better answer."""

    type: Literal["fuser"]
    model: Name = Field(description="A role in `models`.")
    samples: Count = Field(1, description="Number of fused answers.")
    use_critiques: bool | None = Field(
        None, description="Show critiques to the model; by default if there are any."
    )


class VerifierNode(ModelNode):
    """Judges candidates and drops the wrong ones."""

    type: Literal["verifier"]
    method: Literal["reason", "logit", "reward", "equations", "program"] = Field(
        "reason",
        description="`reason`: the model argues, then judges. `logit`: the probability that the "
        "model says yes. `reward`: the score of a reward model. `equations`: checks every "
        "calculation, without a model. `program`: runs the candidate's program, whose result must "
        "equal the answer that its text states.",
    )
    threshold: float | None = Field(
        None,
        description="Minimum score to pass; by default 0.5. `logit`: a probability. `reward`: a "
        "reward, which is a probability if the reward model is a card.",
    )
    keep_first: Count | None = Field(
        None, description="Keep at most this number of candidates, the first ones; by default all."
    )
    shows: _Shows = SHOWS_BY_DEFAULT


class UnitTestGeneratorNode(ModelNode):
    """Writes unit tests for the question, which are passed on with the candidates."""

    type: Literal["unit_test_generator"]
    model: Name = Field(description="A role in `models`.")
    method: UnitTestMethod = Field(
        "reason",
        description="`reason`: statements that a correct answer satisfies. `program`: Python "
        "assertions that call the answer's program.",
    )
    max_tests: Count = Field(5, description="Maximum number of tests.")


class UnitTestEvaluatorNode(ModelNode):
    """Orders candidates by the share of the question's tests that they pass."""

    type: Literal["unit_test_evaluator"]
    method: UnitTestMethod = Field(
        "reason",
        description="The kind of tests to use. `reason`: the model judges each candidate by all "
        "statements. `program`: the assertions run in the sandbox, without a model.",
    )
    keep: Count | None = Field(None, description="Number of candidates to keep; by default all.")
    shows: _Shows = SHOWS_BY_DEFAULT


class VoteNode(Node):
    """Votes on the value: keeps the first candidate of each value, scored by its votes."""

    type: Literal["vote"]
    weight: Literal["count", "score", "odds", "likelihood"] = Field(
        "count",
        description="Weight of a candidate's vote. `count`: 1. `score`: its latest score p, at "
        "least 0. `odds`: p / (1 - p), for p from 0 to 1. `likelihood`: the likelihood of its text "
        "under the model that wrote it.",
    )
    by: Literal["value", "meaning"] = Field(
        "value",
        description="`value`: equal values vote together. `meaning`: values that `model`, a "
        "sentence encoder, finds similar vote together.",
    )
    model: Name | None = Field(None, description="A role in `models`; only for `meaning`.")
    similarity: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Minimum cosine similarity of values with the same meaning; by default 0.8.",
    )

    @property
    def role(self) -> str | None:
        """See ``Node.role``."""
        return self.model


class ProgramNode(Node):
    """Runs the program of every candidate in the sandbox; its result becomes the value.

    Programs of models run only in the sandbox, and only if a node of the architecture runs them.
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
        description="Limit of a program's printed text, and separately of its result, in bytes.",
    )


class JoinNode(Node):
    """Joins its inputs and passes them on.

    An output node that is bypassed and has several inputs becomes a join.
    """

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
"""Nodes that ask a model for text, at least by some of their methods."""

AnyNode = Annotated[AskingNode | VoteNode | ProgramNode | JoinNode, Field(discriminator="type")]


class ArchitectureRef(StrictModel):
    """An architecture that is used as a model."""

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
    """Limits of one question. They are never exceeded; near a limit the graph makes fewer calls."""

    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Maximum cost in tokens. A call is made only if its longest reply fits, too.",
    )
    max_calls: int | None = Field(None, ge=1, description="Maximum number of completions.")
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
        {},
        description="Role → a model string (a card's name, a path, `hf:owner/name`, `openai:name`, "
        "…), an architecture, or an inline card.",
    )
    nodes: dict[NodeId, AnyNode] = Field(min_length=1)
    output: NodeId = Field(description="The node whose first candidate is the answer.")
    answer: AnswerKind = Field("number", description="The kind of answer.")
    budget: Budget | None = None
    serve: ServeSpec | None = Field(
        None, description="Settings for requests to the architecture as a language model."
    )

    def asking_nodes(self) -> Iterator[tuple[str, AskingNode, str]]:
        """Yield id, spec and role of every node that asks a model for text, in file order."""
        for name, node in self.nodes.items():
            if isinstance(node, ModelNode) and node.model is not None:
                yield name, node, node.model
