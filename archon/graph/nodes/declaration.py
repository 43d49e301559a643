"""Declarations of node types: their methods, calls, effects on candidates, labels and reasons.

Each module ``archon.graph.nodes.<type>`` has one ``NODE_TYPE``; ``registry`` collects them. The
validation rules, the dataflow, the cost estimate, the executor, the diagram and the viewer know a
type only by its declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
"""A grade is in [0, 1], except that a custom reward model may return any number. The support of a
vote has no upper bound and no odds."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Upper bound on the calls that a node makes for the candidates it reads."""

    count: int = 0
    shown: int = 0
    """Candidates in each prompt."""
    minimum: int = 0
    """Calls that the budget must allow before the node starts."""
    num_prompts: int = 0
    """Distinct prompts among the calls."""
    expected: Callable[[float], float] | None = None
    """Share of samples that agree → expected number of calls; None for ``count``."""

    @classmethod
    def of_judge(cls, count: int, shown: int) -> Calls:
        """Return calls with one prompt each; the node needs all of them."""
        return cls(count, shown, minimum=count, num_prompts=count)

    @classmethod
    def of_samples(
        cls, count: int, shown: int, expected: Callable[[float], float] | None = None
    ) -> Calls:
        """Return samples of one prompt; the node makes up to ``count``, as the budget allows."""
        return cls(count, shown, num_prompts=1, expected=expected)


@dataclass(frozen=True, slots=True)
class Reads:
    """Inputs that a node reads beyond the candidates themselves."""

    critiques: bool | None = False
    """None: critiques are used if any arrive; True: some must arrive."""
    scores: Literal["score", "odds"] | None = None
    """The latest score of every candidate, or the odds of that score."""
    likelihoods: str = ""
    """The key of the file that requires the log-probabilities of the candidates' texts."""
    shows: Shows = "text"
    """The part of a candidate that prompts show."""
    tests: UnitTestMethod | None = None
    """The method of the unit tests that must arrive."""


@dataclass(frozen=True)  # slots break the call of a parametrized generic class
class Effects(Generic[N]):
    """Effects of a node on candidates and unit tests. By default all candidates pass unchanged."""

    writes: bool = False
    """Each call writes a candidate."""
    replaces: bool = False
    """The candidates that the node reads are not passed on."""
    keeps: Callable[[N], int | None] | None = None
    """Largest number of candidates passed on; None if no key of the node limits it."""
    usual_share: float = 1.0
    """Share of the candidates that is usually passed on; below 1 the node may drop candidates."""
    scores: ScoreKind | None = None
    """The kind of score that every candidate has afterwards."""
    critiques: bool = False
    """The node adds critiques to candidates."""
    values: bool = False
    """The node replaces the values of candidates."""
    writes_tests: Callable[[N], UnitTestMethod] | None = None
    """The method of the unit tests that the node writes."""
    max_tests: Callable[[N], int] = lambda node: 0

    @property
    def drops(self) -> bool:
        """True if the node may drop candidates that it reads."""
        return self.replaces or self.keeps is not None or self.usual_share < 1


@dataclass(frozen=True)
class Setup(Generic[N]):
    """Arguments from which a node is constructed."""

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
        """The sentence encoder of a node that compares texts."""
        assert self.given_embedder is not None
        return self.given_embedder


@dataclass(frozen=True, kw_only=True)
class Method(Generic[N]):
    """One method of a node type. By default it asks no model."""

    make: Callable[[Setup[N]], GraphNode]
    prompt: PromptKind | None = None
    """The templates of its prompts; None if it asks no model for text."""
    requires: frozenset[str] = frozenset()
    """Capabilities that its model must have."""
    refusal: str = "uses no model"
    """End of the error message if the file names a model that the method does not use."""
    without_model: Method[N] | None = None
    """The method of a node without a model; None if the method needs one."""
    calls: Callable[[N, int], Calls] = lambda node, num_inputs: Calls()
    """Node and number of candidates it reads → its calls."""

    @property
    def uses_model(self) -> bool:
        """True if the method uses a model, for text or for computing on texts."""
        return self.prompt is not None or bool(self.requires)


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a node did not pass on a candidate."""

    why: str
    argument: str = ""
    """The judge's reply about the candidate."""
    fused: bool = False
    """True if the candidate was read for a new text."""


def given(node: Node, *names: str) -> Iterator[str]:
    """Yield the parameters that the file sets, for the label in a diagram."""
    for name in names:
        if name in node.model_fields_set and (value := getattr(node, name)) is not None:
            yield f"{name} {value}"
    if isinstance(node, ModelNode) and node.sampling is not None:
        temperature = node.sampling.params().temperature
        if temperature is not None:
            yield f"temperature {temperature:g}"


@dataclass(frozen=True, kw_only=True)
class NodeType(Generic[N]):
    """The declaration of a node type."""

    spec: type[N]
    methods: Mapping[str, Method[N]]
    """By the value of the key ``chosen_by``; a single method has an empty name."""
    chosen_by: str = ""
    """The key of the spec that names the method."""
    needs_inputs: bool = True
    """True if the node must read other nodes."""
    reads: Callable[[N], Reads] = lambda node: Reads()
    effects: Effects[N] = field(default_factory=Effects)
    """The effects of all methods."""
    label: Callable[[N], Iterable[str]] = given
    """The parameters that a diagram shows."""
    check: Callable[[N], Iterable[tuple[str, str]]] = lambda node: ()
    """Node → errors about parameters or values that the method does not accept: (reason, key)."""
    explain: Callable[[Plain, Plain], Reason] | None = None
    """Node and dropped candidate of a trace → reason; None for a type that drops none."""

    @property
    def name(self) -> str:
        """The ``type`` of its specs."""
        (name,) = get_args(self.spec.model_fields["type"].annotation)
        return str(name)

    def method_name(self, node: N) -> str:
        """Return the name of a node's method."""
        return str(getattr(node, self.chosen_by)) if self.chosen_by else ""

    def describe(self, node: N) -> str:
        """Return type and method of a node for an error message."""
        method = self.method_name(node)
        if self.chosen_by == "method":
            return f"the method {shown(method)} of a {self.name}"
        return f"a {self.name} {self.chosen_by} {method}".rstrip()

    def method(self, node: N) -> Method[N]:
        """Return the method of a node."""
        method = self.methods[self.method_name(node)]
        return method if node.role is not None or not method.without_model else method.without_model
