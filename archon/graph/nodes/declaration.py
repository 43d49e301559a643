"""What a type of node declares: its methods, their costs and effects, its drawing, its outcomes.

Each module ``archon.graph.nodes.<type>`` has one ``NODE_TYPE``; ``registry`` collects them. The
rules of validation, the flow of candidates, the cost estimate, the executor, the diagram and the
viewer read nothing else about a type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

from archon.graph.nodes.base import GraphNode
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import PromptKind
from archon.lm.embedding import Embedder
from archon.spec.architecture import ModelNode, Node, Shows
from archon.spec.messages import shown
from archon.types import UnitTestMethod

N = TypeVar("N", bound=Node)

Plain = Mapping[str, Any]
"""A node or a candidate as plain data of a trace (``archon.graph.trace.Trace.to_json``)."""
ScoreKind = Literal["grade", "support"]
"""A grade is in [0, 1], unless a custom reward model gives another; the support of a vote is not
bounded and has no odds."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The most calls that a node makes for the candidates it reads."""

    count: int = 0
    shown: int = 0
    """Candidates that each prompt shows."""
    minimum: int = 0
    """Calls without which the node cannot begin."""
    num_prompts: int = 0
    """Distinct prompts among the calls."""
    expected: Callable[[float], float] | None = None
    """The expected number of calls, given the share of samples that agree; None for ``count``."""

    @classmethod
    def of_judge(cls, count: int, shown: int) -> Calls:
        """Calls with a prompt each, all of which the node needs."""
        return cls(count, shown, minimum=count, num_prompts=count)

    @classmethod
    def of_samples(
        cls, count: int, shown: int, expected: Callable[[float], float] | None = None
    ) -> Calls:
        """Samples of one prompt, of which the node makes as many as the budget allows."""
        return cls(count, shown, num_prompts=1, expected=expected)


@dataclass(frozen=True, slots=True)
class Reads:
    """What a node reads of the candidates and of what other nodes say about them."""

    critiques: bool | None = False
    """None: those that arrive, if any; True: some must arrive."""
    scores: Literal["score", "odds"] | None = None
    """The latest score of every candidate, or the odds of that score."""
    likelihoods: str = ""
    """The key of the file that asks for the log-probabilities of the candidates' texts."""
    shows: Shows = "text"
    """What prompts show of a candidate."""


@dataclass(frozen=True)  # slots break the call of a parametrized generic class
class Setup(Generic[N]):
    """What a node is constructed from."""

    name: str
    spec: N
    given_prompt: Prompt | None = None
    given_embedder: Embedder | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt of a node that asks a model."""
        assert self.given_prompt is not None
        return self.given_prompt

    @property
    def embedder(self) -> Embedder:
        """The model of a node that compares texts by a sentence encoder."""
        assert self.given_embedder is not None
        return self.given_embedder


@dataclass(frozen=True, kw_only=True)
class Method(Generic[N]):
    """One way in which a type of node works. By default it asks no model and passes all on."""

    make: Callable[[Setup[N]], GraphNode]
    prompt: PromptKind | None = None
    """The templates of its prompts; None where it asks no model for text."""
    requires: frozenset[str] = frozenset()
    """Capabilities that its model must have."""
    refusal: str = "asks no model"
    """What an error says where a model is given although the method uses none."""
    without_model: Method[N] | None = None
    """How the node works where no model is given; None where the method needs its model."""
    calls: Callable[[N, int], Calls] = lambda node, num_inputs: Calls()
    """Node and number of candidates it reads → its calls."""
    reads: Callable[[N], Reads] = lambda node: Reads()
    writes: bool = False
    """Whether it writes candidates, one for each call."""
    replaces: bool = False
    """Whether the candidates it reads go no further."""
    keeps: Callable[[N], int | None] | None = None
    """The number of candidates it passes on at most; None where no key of the node limits it."""
    usual_share: float = 1.0
    """The share of candidates that it usually passes on; below 1 it may drop some of any number."""
    scores: ScoreKind | None = None
    """The kind of score that every candidate has after it."""
    critiques: bool = False
    """Whether it writes critiques of candidates."""
    values: bool = False
    """Whether it replaces the values of candidates."""
    writes_tests: UnitTestMethod | None = None
    max_tests: Callable[[N], int] = lambda node: 0
    reads_tests: UnitTestMethod | None = None

    @property
    def uses_model(self) -> bool:
        """Whether it asks a model for text, or has one compute on texts."""
        return self.prompt is not None or bool(self.requires)

    @property
    def drops(self) -> bool:
        """Whether some candidates that it reads may go no further."""
        return self.replaces or self.keeps is not None or self.usual_share < 1


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a candidate that a node read is not among those that it passed on."""

    why: str
    argument: str = ""
    """What the judge said of it."""
    fused: bool = False
    """It lives on in a new text that was written from it."""


def given(node: Node, *names: str) -> Iterator[str]:
    """Parameters that the file sets, as the label in a diagram shows them."""
    for name in names:
        if name in node.model_fields_set and (value := getattr(node, name)) is not None:
            yield f"{name} {value}"
    if isinstance(node, ModelNode) and node.sampling is not None:
        temperature = node.sampling.params().temperature
        if temperature is not None:
            yield f"temperature {temperature:g}"


@dataclass(frozen=True, kw_only=True)
class NodeType(Generic[N]):
    """The declaration of a type of node."""

    spec: type[N]
    methods: Mapping[str, Method[N]]
    """By the value of the key ``chosen_by``; a single method is under an empty name."""
    chosen_by: str = ""
    """The key of the spec that names the method."""
    needs_inputs: bool = True
    """Whether the node has to read other nodes."""
    label: Callable[[N], Iterable[str]] = given
    """The parameters that a diagram shows."""
    check: Callable[[N], Iterable[tuple[str, str]]] = lambda node: ()
    """Parameters that the node's method does not read, or not with this value: (reason, key)."""
    explain: Callable[[Plain, Plain], Reason] | None = None
    """Node and dropped candidate of a trace → why it was dropped; None where none is."""

    @property
    def writes(self) -> bool:
        """Whether the node writes candidates."""
        return any(method.writes for method in self.methods.values())

    @property
    def values(self) -> bool:
        """Whether the node replaces the values of candidates."""
        return any(method.values for method in self.methods.values())

    @property
    def name(self) -> str:
        """The ``type`` of its specs."""
        (name,) = get_args(self.spec.model_fields["type"].annotation)
        return str(name)

    def method_name(self, node: N) -> str:
        """The method of a node."""
        return str(getattr(node, self.chosen_by)) if self.chosen_by else ""

    def describe(self, node: N) -> str:
        """Type and method of a node, as error messages name them."""
        method = self.method_name(node)
        if self.chosen_by == "method":
            return f"the method {shown(method)} of a {self.name}"
        return f"a {self.name} {self.chosen_by} {method}".rstrip()

    def method(self, node: N) -> Method[N]:
        """How a node works."""
        method = self.methods[self.method_name(node)]
        return method if node.role is not None or not method.without_model else method.without_model
