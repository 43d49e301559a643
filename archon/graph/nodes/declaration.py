"""Declaration of a node type: its methods, calls, effects on candidates, and texts for users.

Each module ``archon.graph.nodes.<type>`` has one ``NODE_TYPE``; ``registry`` collects them. All
other code (validation, dataflow, cost estimate, executor, diagram, viewer) uses only this
declaration, so it need not be changed for a new node type.
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
from archon.types import AnswerKind, UnitTestMethod

N = TypeVar("N", bound=Node)

Plain = Mapping[str, Any]
"""A node or a candidate in the JSON form of a trace (``archon.graph.trace.Trace.to_json``)."""
ScoreKind = Literal["grade", "support"]
"""The kind of a candidate's score. A grade is from 0 to 1, but a custom reward model may return any
number. Support is the total weight of a value's votes. It has no upper bound, so odds cannot be
computed from it."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that a node makes to its model in one run."""

    count: int = 0
    """Maximum number of calls."""
    shown: int = 0
    """Number of candidates in each prompt."""
    minimum: int = 0
    """Number of calls that the budget must allow before the node starts."""
    num_prompts: int = 0
    """Number of different prompts among the calls."""
    expected: Callable[[float], float] | None = None
    """Share of samples that agree → expected number of calls; None means always ``count``."""

    @classmethod
    def of_judge(cls, count: int, shown: int) -> Calls:
        """Describe ``count`` calls with different prompts, all of which the node needs to make."""
        return cls(count, shown, minimum=count, num_prompts=count)

    @classmethod
    def of_samples(
        cls, count: int, shown: int, expected: Callable[[float], float] | None = None
    ) -> Calls:
        """Describe up to ``count`` samples of one prompt; if the budget is short, fewer suffice."""
        return cls(count, shown, num_prompts=1, expected=expected)


@dataclass(frozen=True, slots=True)
class Reads:
    """The inputs of a node in addition to the texts of the candidates."""

    critiques: bool | None = False
    """True requires critiques, None uses them if there are any, False ignores them."""
    scores: Literal["score", "odds"] | None = None
    """What every candidate must have: a latest score, or the odds of one. None reads no scores."""
    likelihoods: str = ""
    """The key of the node that requires the candidates' log-probabilities; empty if no key does."""
    shows: Shows = "text"
    """The part of a candidate that prompts show."""
    tests: UnitTestMethod | None = None
    """Method of the unit tests that the node requires; None means that no tests are read."""


@dataclass(frozen=True)  # slots break the call of a parametrized generic class
class Effects(Generic[N]):
    """The effects of a node on candidates and tests. By default, they are passed on unchanged."""

    writes: bool = False
    """True if each call writes a new candidate."""
    replaces: bool = False
    """True if the candidates that the node reads are not passed on."""
    keeps: Callable[[N], int | None] | None = None
    """Node → maximum number of candidates that it passes on; None if there is no limit."""
    usual_share: float = 1.0
    """Assumed share of the candidates that are passed on; 1 if the node always passes on all."""
    scores: ScoreKind | None = None
    """The kind of score that the node assigns to every candidate; None if it assigns no scores."""
    critiques: bool = False
    """True if the node adds critiques to candidates."""
    values: bool = False
    """True if the node replaces the values of candidates."""
    writes_tests: Callable[[N], UnitTestMethod] | None = None
    """Node → the method by which it writes unit tests; None if it writes no tests."""
    max_tests: Callable[[N], int] = lambda node: 0
    """Node → maximum number of unit tests that it writes."""

    @property
    def drops(self) -> bool:
        """True if the node may drop candidates that it reads."""
        return self.replaces or self.keeps is not None or self.usual_share < 1


@dataclass(frozen=True)
class Setup(Generic[N]):
    """Arguments for constructing a node: its name and spec, and its prompt or encoder."""

    name: str
    spec: N
    given_prompt: Prompt | None = None
    given_embedder: Embedder | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt. It exists only for a node that asks a model for text."""
        assert self.given_prompt is not None
        return self.given_prompt

    @property
    def embedder(self) -> Embedder:
        """The sentence encoder. It exists only for a node that compares texts by their meaning."""
        assert self.given_embedder is not None
        return self.given_embedder


@dataclass(frozen=True, kw_only=True)
class Method(Generic[N]):
    """One method of a node type. By default, it uses no model."""

    make: Callable[[Setup[N]], GraphNode]
    prompt: PromptKind | None = None
    """The templates of its prompts; None if it asks no model for text."""
    requires: frozenset[str] = frozenset()
    """Capabilities that its model must have."""
    refusal: str = "uses no model"
    """End of the error message for a node that names a model although its method uses none."""
    without_model: Method[N] | None = None
    """The variant of this method for nodes that name no model; None if a model is required."""
    calls: Callable[[N, int], Calls] = lambda node, num_inputs: Calls()
    """(node, number of candidates that it reads) → its calls."""
    unsuited: Mapping[AnswerKind, str] = field(default_factory=dict)
    """Type of answer for which the method is of little use → why, and what to change."""

    @property
    def uses_model(self) -> bool:
        """True if the method uses a model to write text, or to compute scores or vectors."""
        return self.prompt is not None or bool(self.requires)


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a node did not pass on a candidate, for the page of a run."""

    why: str
    argument: str = ""
    """The judge's reply about the candidate, or an empty string."""
    fused: bool = False
    """True if the candidate was not rejected, but used to write a new one."""


def set_parameters(node: Node, *names: str) -> Iterator[str]:
    """Yield each named parameter that the node's spec sets, with its value, such as ``keep 3``.

    These texts are used in the node's label in a diagram. They are followed by the temperature if
    it is set.
    """
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
    """Name → method. The only method of a type has the name ``""``."""
    chosen_by: str = ""
    """The key in a node's spec that names its method; empty if the type has only one method."""
    needs_inputs: bool = True
    """True if a node must have inputs."""
    reads: Callable[[N], Reads] = lambda node: Reads()
    effects: Effects[N] = field(default_factory=Effects)
    """The effects of a node on candidates and tests, which are the same for all methods."""
    label: Callable[[N], Iterable[str]] = set_parameters
    """Node → its parameters for the label in a diagram, such as ``keep 3``."""
    check: Callable[[N], Iterable[tuple[str, str]]] = lambda node: ()
    """Node → (reason, key) for each parameter that its method does not accept."""
    explain: Callable[[Plain, Plain], Reason] | None = None
    """(node, dropped candidate), from a trace → reason; None if the type never drops any."""

    @property
    def name(self) -> str:
        """The value of ``type`` in specs of this node type."""
        (name,) = get_args(self.spec.model_fields["type"].annotation)
        return str(name)

    def method_name(self, node: N) -> str:
        """Return the name of a node's method."""
        return str(getattr(node, self.chosen_by)) if self.chosen_by else ""

    def describe(self, node: N) -> str:
        """Describe a node's type and method in words, such as ``a ranker with method 'logit'``."""
        method = self.method_name(node)
        if self.chosen_by == "method":
            return f"a {self.name} with method {shown(method)}"
        return f"a {self.name} {self.chosen_by} {method}".rstrip()

    def unsuited(self, name: str, node: N, answer: AnswerKind) -> Iterator[str]:
        """Yield a note if a node's method is of little use for a type of answer."""
        reason = self.method(node).unsuited.get(answer)
        if reason is not None:
            described = f"the node {shown(name)} ({self.describe(node)})"
            yield f"{described} is of little use for answers of the type {answer!r}: {reason}"

    def method(self, node: N) -> Method[N]:
        """Return the method of a node."""
        method = self.methods[self.method_name(node)]
        return method if node.role is not None or not method.without_model else method.without_model
