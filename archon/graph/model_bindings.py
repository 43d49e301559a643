"""Which model each node asks, with which sampling and which draws."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from archon.errors import GraphError, UnsupportedError
from archon.graph.budget import Meter
from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.prompts.builder import Prompt
from archon.graph.sample_allocation import DrawPlan, DrawRange, Member, nested_plan, plan_draws
from archon.graph.validation.build import Graph
from archon.lm.base import LM, NO_THINKING
from archon.spec.architecture import ArchitectureSpec, AskingNode
from archon.spec.messages import json_path
from archon.spec.model import ModelCard
from archon.types import DEFAULT_SAMPLING, AnswerKind, Example, SamplingParams, Thinking


@dataclass(frozen=True, slots=True)
class ModelUse:
    """How one node asks."""

    lm: LM
    sampling: SamplingParams
    draws: DrawRange
    logprobs: bool = False
    """Whether what it writes is weighed by its likelihood, further on."""
    thinking: Thinking = NO_THINKING


@runtime_checkable
class NestedLM(Protocol):
    """An architecture as a model (``archon.graph.lm``), as the graph around it sees it."""

    generates: bool
    """Whether its output node writes the answer, rather than choosing one."""
    sampled_nodes: frozenset[str]
    """Its nodes that a request's sampling applies to."""

    def members(self, sampling: SamplingParams) -> tuple[Member, ...]:
        """Its nodes as members of draw groups, when it is asked with this sampling."""
        ...

    def placed(self, plan: DrawPlan) -> LM:
        """The same, taking its draws from the plan of the graph around it."""
        ...

    def within(self, meter: Meter) -> LM:
        """The same for one question, whose budget its nodes share."""
        ...

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None
    ) -> dict[str, Any]:
        """What its answers depend on (``Architecture.specification``)."""
        ...

    def check_sampling(self, sampling: SamplingParams) -> None:
        """Raise ``UnsupportedError`` for what it cannot pass on to its nodes."""
        ...


class Models:
    """The models of an architecture's nodes.

    A request to the whole architecture may bring its own sampling, which applies to
    ``sampled_nodes``. Its temperature, top-p and ``max_tokens`` replace a node's; its stop strings
    are added to the node's, which may mark the end of a format that the prompt asks for.

    Raises
    ------
    GraphError
        A node's sampling asks for what the architecture that is its model cannot do.
    """

    def __init__(
        self,
        graph: Graph,
        lms: Mapping[str, LM],
        cards: Mapping[str, ModelCard | None],
        prompts: Mapping[str, Prompt],
    ) -> None:
        self._spec = graph.spec
        self._nodes: dict[str, AskingNode] = {}
        self._lms: dict[str, LM] = {}
        self.sampled_nodes = _sampled_nodes(graph.spec)
        """The nodes that a request's sampling applies to."""
        self._weighed = _writers_of_likelihoods(graph)
        self._sampling: dict[str, SamplingParams] = {}
        self._thinking: dict[str, Thinking] = {}
        self._group: dict[str, Hashable] = {}
        for name, node, role in graph.spec.asking_nodes():
            card = cards.get(role)
            lm = lms[role]
            self._nodes[name], self._lms[name] = node, lm
            self._sampling[name] = _own_sampling(node, card)
            thinking = node.thinking_params()
            _check_thinking(name, thinking, self._sampling[name])
            self._thinking[name] = (
                thinking if card is None else thinking.over(card.thinking_params())
            )
            model = id(lm) if card is None else card.model_dump_json()
            self._group[name] = (
                node.type,
                NODE_TYPES[node.type].method_name(node),
                model,
                prompts[name].key,
                self._thinking[name].key,
            )
            if isinstance(lm, NestedLM):
                _check_nested(name, lm, self._sampling[name])

    @property
    def generates(self) -> bool:
        """Whether the output node writes the answer, rather than choosing one."""
        output = self._spec.output
        node = self._spec.nodes[output]
        method = method_of(node)
        if not method.writes or (node.inputs and not method.replaces):
            return False  # a generator that reads candidates passes them on before its own
        lm = self._lms[output]
        return lm.generates if isinstance(lm, NestedLM) else True

    @property
    def output_capabilities(self) -> frozenset[str]:
        """What the model of an output node that generates can do."""
        return self._lms[self._spec.output].capabilities if self.generates else frozenset()

    def uses(self, asked: SamplingParams, plan: DrawPlan | None = None) -> dict[str, ModelUse]:
        """How every node asks when the whole is asked with the sampling ``asked``.

        ``plan`` is given by the graph around a nested architecture; by default it is its own.
        """
        if plan is None:
            plan = plan_draws(self.members(asked))
        uses: dict[str, ModelUse] = {}
        for name, lm in self._lms.items():
            placed = lm.placed(nested_plan(plan, name)) if isinstance(lm, NestedLM) else lm
            sampling = self._asked_sampling(name, asked)
            uses[name] = ModelUse(
                placed, sampling, plan[(name,)], name in self._weighed, self._thinking[name]
            )
        return uses

    def members(self, asked: SamplingParams) -> tuple[Member, ...]:
        """The nodes as members of draw groups, in the order of declaration."""
        return tuple(self._member(name, node, asked) for name, node in self._nodes.items())

    def _member(self, name: str, node: AskingNode, asked: SamplingParams) -> Member:
        sampling = self._asked_sampling(name, asked)
        lm = self._lms[name]
        method = method_of(node)
        count = method.calls(node, 1).count if method.writes else 1
        nested = lm.members(sampling) if isinstance(lm, NestedLM) else None
        return Member(name, (self._group[name], sampling), count, nested)

    def _asked_sampling(self, name: str, asked: SamplingParams) -> SamplingParams:
        own = self._sampling[name]
        if name not in self.sampled_nodes:
            return own
        replaced = SamplingParams(
            temperature=asked.temperature,
            top_p=asked.top_p,
            max_tokens=asked.max_tokens,
            stop=(*(own.stop or ()), *asked.stop) if asked.stop else None,
        )
        return replaced.over(own)


def _sampled_nodes(spec: ArchitectureSpec) -> frozenset[str]:
    """The nodes that a request's sampling applies to.

    By default the generators, which read the question, and the output node where it writes text.
    The file may choose one of the two, or none.
    """
    writers = {name: m for name, node in spec.nodes.items() if (m := method_of(node)).writes}
    generators = {name for name, method in writers.items() if not method.replaces}
    output = writers.keys() & {spec.output}
    match spec.serve.request_sampling if spec.serve is not None else None:
        case "generators":
            return frozenset(generators)
        case "output":
            return frozenset(output)
        case "ignore":
            return frozenset()
        case None:
            return frozenset(generators | output)


def _writers_of_likelihoods(graph: Graph) -> frozenset[str]:
    """The nodes that must return log-probabilities with their texts."""
    readers = [n for n, node in graph.spec.nodes.items() if method_of(node).reads(node).likelihoods]
    return frozenset(writer for reader in readers for writer in graph.flow.arriving[reader].counts)


def _own_sampling(node: AskingNode, card: ModelCard | None) -> SamplingParams:
    """The node's values over its card's over the default; without a card, the node's alone.

    What is then left open is for the model to choose: an app's own LM, or an architecture.
    """
    own = SamplingParams() if node.sampling is None else node.sampling.params()
    if card is None:
        return own
    base = (
        DEFAULT_SAMPLING if card.sampling is None else card.sampling.params().over(DEFAULT_SAMPLING)
    )
    return own.over(base)


def _check_thinking(name: str, thinking: Thinking, sampling: SamplingParams) -> None:
    """Refuse a bound of the reasoning that has no effect."""
    most = thinking.max_tokens
    if most is None:
        return
    path = json_path(["nodes", name, "max_thinking_tokens"])
    if sampling.beams:
        raise GraphError("a beam search has no bound of the tokens of reasoning", path=path)
    if sampling.max_tokens is not None and most >= sampling.max_tokens:
        reason = (
            f"{most} tokens of reasoning leave none for an answer: max_tokens, which counts both, "
            f"is {sampling.max_tokens}"
        )
        raise GraphError(reason, path=path)


def _check_nested(name: str, lm: NestedLM, sampling: SamplingParams) -> None:
    path = json_path(["nodes", name, "sampling"])
    try:
        lm.check_sampling(sampling)
    except UnsupportedError as error:
        raise GraphError(error.reason, path=path) from None
    if sampling != SamplingParams() and not lm.sampled_nodes:
        reason = "the architecture that is this node's model applies no request's sampling"
        hint = "remove this key, or change serve.request_sampling in that architecture"
        raise GraphError(f"{reason}; {hint}", path=path)
