"""Model bindings: the model, sampling parameters and sample indices of each node."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from archon.errors import GraphError, UnsupportedError
from archon.graph.budget import Meter
from archon.graph.nodes.registry import NODE_TYPES, method_of, reads_of
from archon.graph.prompts.builder import Prompt
from archon.graph.sample_allocation import (
    Member,
    SamplePlan,
    SampleRange,
    nested_plan,
    plan_samples,
)
from archon.graph.validation.build import Graph
from archon.lm.base import LM, NO_THINKING
from archon.spec.architecture import ArchitectureSpec, AskingNode
from archon.spec.messages import json_path
from archon.spec.model import ModelCard
from archon.types import (
    DEFAULT_SAMPLING,
    SENT_PARAMETERS,
    AnswerKind,
    Example,
    SamplingParams,
    Thinking,
    refused_with_beams,
)


@dataclass(frozen=True, slots=True)
class ModelUse:
    """The model of a node, and the settings of the node's requests to it."""

    lm: LM
    sampling: SamplingParams
    sample_range: SampleRange
    logprobs: bool = False
    """Whether to request log-probabilities, because a later node reads the texts' likelihood."""
    thinking: Thinking = NO_THINKING
    nested: NestedLM | None = None
    """``lm``, if it is an architecture."""
    model: str = ""
    """Name of the model's card, or the role if it has none."""


@runtime_checkable
class NestedLM(LM, Protocol):
    """An architecture that is the model of a node (``archon.graph.lm.ArchitectureLM``)."""

    generates: bool
    """True if the output node writes the answer, False if it chooses among candidates."""
    sampled_nodes: frozenset[str]
    """The nodes to which a request's sampling parameters apply."""

    def members(self, sampling: SamplingParams) -> tuple[Member, ...]:
        """Return the architecture's nodes as members of sample groups, for these parameters."""
        ...

    def with_plan(self, plan: SamplePlan) -> NestedLM:
        """Return a copy that uses the sample indices in ``plan``, which the outer graph made."""
        ...

    def with_meter(self, meter: Meter) -> LM:
        """Return a copy for one question, whose nodes also charge the budget of the outer graph."""
        ...

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None, ending: bool = True
    ) -> dict[str, Any]:
        """See ``Architecture.specification``."""
        ...

    def weights_digests(self, opened: Collection[str] = ()) -> dict[str, str]:
        """See ``Architecture.weights_digests``."""
        ...

    def check_sampling(self, sampling: SamplingParams) -> None:
        """Raise ``UnsupportedError`` if the architecture's nodes cannot apply all parameters."""
        ...


@dataclass(frozen=True, slots=True)
class _Binding:
    """A node that uses a model, with its model, and its settings after filling in defaults."""

    node: AskingNode
    lm: LM
    sampling: SamplingParams
    thinking: Thinking
    group: Hashable
    """Nodes form a sample group if this key and their sampling parameters are equal."""
    nested: NestedLM | None
    """The model, if it is an architecture."""
    model: str
    """Name of the model's card, or the role if it has none."""


class Models:
    """The models of an architecture's nodes, with their request settings.

    A request to the architecture may have its own sampling parameters, which apply to
    ``sampled_nodes``. They override the node's values, but its stop strings are added to the node's
    stop strings, which may mark the end of an output format that the prompt asks for. A node with a
    beam search ignores the parameters that a beam search cannot apply.

    Raises
    ------
    GraphError
        A model cannot apply its node's sampling parameters or limit on reasoning.
    """

    def __init__(
        self,
        graph: Graph,
        lms: Mapping[str, LM],
        cards: Mapping[str, ModelCard | None],
        prompts: Mapping[str, Prompt],
    ) -> None:
        self._spec = graph.spec
        self.sampled_nodes = _sampled_nodes(graph.spec)
        """The nodes to which a request's sampling parameters apply."""
        self._num_read = {
            name: max(1, math.ceil(flow.total)) for name, flow in graph.flow.arriving.items()
        }
        self._writers_with_logprobs = _writers_with_logprobs(graph)
        self._bindings: dict[str, _Binding] = {}
        nested_lms = {role: lm if isinstance(lm, NestedLM) else None for role, lm in lms.items()}
        identities = {role: _identity(lm, cards.get(role)) for role, lm in lms.items()}
        for name, node, role in graph.spec.asking_nodes():
            card, lm, thinking = cards.get(role), lms[role], node.thinking_params()
            sampling = _own_sampling(node, card)
            _check_thinking(name, thinking, sampling)
            nested = nested_lms[role]
            if nested is not None:
                _check_nested(name, nested, sampling)
            if card is not None:
                thinking = thinking.over(card.thinking_params())
            method = NODE_TYPES[node.type].method_name(node)
            group = (node.type, method, identities[role], prompts[name].key, thinking.key)
            name_of_model = role if card is None else card.name
            self._bindings[name] = _Binding(
                node, lm, sampling, thinking, group, nested, name_of_model
            )

    @property
    def generates(self) -> bool:
        """True if the output node writes the answer, False if it chooses among candidates."""
        node = self._spec.nodes[self._spec.output]
        effects = NODE_TYPES[node.type].effects
        if not effects.writes or (node.inputs and not effects.replaces):
            return False  # a generator that reads candidates passes them on before its own
        nested = self._bindings[self._spec.output].nested
        return True if nested is None else nested.generates

    @property
    def output_capabilities(self) -> frozenset[str]:
        """The capabilities of the output node's model; empty if that node does not write text."""
        return self._bindings[self._spec.output].lm.capabilities if self.generates else frozenset()

    def uses(self, sampling: SamplingParams, plan: SamplePlan | None = None) -> dict[str, ModelUse]:
        """Return node → its model and settings, for a request with these sampling parameters.

        ``plan`` contains the nodes' sample indices. By default it is made here; for a nested
        architecture, the outer graph passes it.
        """
        if plan is None:
            plan = plan_samples(self.members(sampling))
        uses: dict[str, ModelUse] = {}
        for name, binding in self._bindings.items():
            nested = binding.nested
            if nested is not None:
                nested = nested.with_plan(nested_plan(plan, name))
            uses[name] = ModelUse(
                nested or binding.lm,
                self._requested_sampling(name, sampling),
                plan[(name,)],
                name in self._writers_with_logprobs,
                binding.thinking,
                nested,
                binding.model,
            )
        return uses

    @property
    def num_sampled_models(self) -> int:
        """Number of different models of the nodes to which a request's sampling applies."""
        return len({id(self._bindings[name].lm) for name in self.sampled_nodes})

    def members(self, sampling: SamplingParams) -> tuple[Member, ...]:
        """Return the nodes as members of sample groups, in file order."""
        return tuple(
            self._member(name, binding, sampling) for name, binding in self._bindings.items()
        )

    def _member(self, name: str, binding: _Binding, requested: SamplingParams) -> Member:
        sampling = self._requested_sampling(name, requested)
        node, nested = binding.node, binding.nested
        writes = NODE_TYPES[node.type].effects.writes
        count = method_of(node).calls(node, self._num_read[name]).count if writes else 1
        members = None if nested is None else nested.members(sampling)
        return Member(name, (binding.group, sampling), count, members)

    def _requested_sampling(self, name: str, requested: SamplingParams) -> SamplingParams:
        """Return a node's sampling parameters, with a request's overrides if they apply to it."""
        own = self._bindings[name].sampling
        if name not in self.sampled_nodes:
            return own
        stop = (*(own.stop or ()), *requested.stop) if requested.stop else None
        # The likeliest tokens are those of the answer, see ArchitectureLM.
        values = SamplingParams(
            **{name: getattr(requested, name) for name in SENT_PARAMETERS}
            | {"stop": stop, "top_logprobs": None}
        )
        if own.beams:  # a beam search has no use for them
            values = replace(values, **dict.fromkeys(refused_with_beams(values)))
        return values.over(own)


def _sampled_nodes(spec: ArchitectureSpec) -> frozenset[str]:
    """Return the nodes to which a request's sampling parameters apply.

    By default these are the generators, and the output node if it writes text. With the
    ``serve.request_sampling`` key, a file can select only the generators, only the output node, or
    no nodes.
    """
    effects = {name: NODE_TYPES[node.type].effects for name, node in spec.nodes.items()}
    writers = {name for name, effect in effects.items() if effect.writes}
    generators = {name for name in writers if not effects[name].replaces}
    output = writers & {spec.output}
    match spec.serve.request_sampling if spec.serve is not None else None:
        case "generators":
            return frozenset(generators)
        case "output":
            return frozenset(output)
        case "ignore":
            return frozenset()
        case None:
            return frozenset(generators | output)


def _writers_with_logprobs(graph: Graph) -> frozenset[str]:
    """Return the nodes that must request log-probabilities, because a later node reads them."""
    readers = [name for name, node in graph.spec.nodes.items() if reads_of(node).likelihoods]
    return frozenset(writer for reader in readers for writer in graph.flow.arriving[reader].counts)


def _own_sampling(node: AskingNode, card: ModelCard | None) -> SamplingParams:
    """Return a node's sampling parameters.

    Parameters that the node does not set are taken from its model's card, else from the defaults.
    If the model has no card (a custom LM or an architecture), they are left unset, and the model
    uses its own values.
    """
    own = SamplingParams() if node.sampling is None else node.sampling.params()
    if card is None:
        return own
    of_card = SamplingParams() if card.sampling is None else card.sampling.params()
    return own.over(of_card.over(DEFAULT_SAMPLING))


def _identity(lm: LM, card: ModelCard | None) -> int | str:
    """Return a value that is equal for two roles if they have the same model."""
    return id(lm) if card is None else card.model_dump_json()


def _check_thinking(name: str, thinking: Thinking, sampling: SamplingParams) -> None:
    """Raise ``GraphError`` if a node's ``max_thinking_tokens`` cannot be applied."""
    most = thinking.max_tokens
    if most is None:
        return
    path = json_path(["nodes", name, "max_thinking_tokens"])
    if sampling.beams:
        raise GraphError("a beam search cannot limit the tokens of its reasoning", path=path)
    if sampling.max_tokens is not None and most >= sampling.max_tokens:
        reason = (
            f"{most} tokens of reasoning leave none for an answer, because max_tokens limits both "
            f"together to {sampling.max_tokens}; set this lower, or max_tokens higher"
        )
        raise GraphError(reason, path=path)


def _check_nested(name: str, lm: NestedLM, sampling: SamplingParams) -> None:
    path = json_path(["nodes", name, "sampling"])
    try:
        lm.check_sampling(sampling)
    except UnsupportedError as error:
        raise GraphError(error.reason, path=path) from None
    if sampling != SamplingParams() and not lm.sampled_nodes:
        reason = "this node's model is an architecture that ignores requests' sampling parameters"
        hint = "remove this key, or change serve.request_sampling in that architecture"
        raise GraphError(f"{reason}; {hint}", path=path)
