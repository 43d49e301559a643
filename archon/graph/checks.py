"""The rules that make a graph sound. Each is one function of the same name, checked in this order.

====================  ============================================================================
inputs_exist          every input names a node
no_self_input         no node reads itself
no_duplicate_input    no node lists an input twice
no_cycle              the edges form no cycle
output_exists         the output names a node
reaches_output        every node is on a way to the output
model_given           a node names a model exactly where its method asks one (``MODEL_FREE``)
model_exists          every model role is declared in ``models``
arity                 only generators, of answers or of unit tests, may have no inputs
candidates_exist      candidates arrive where they are read, and at the output
capabilities          a node's model can do what its method asks (``REQUIRED_CAPABILITIES``)
critiques_exist       ``use_critiques: true`` has a critic upstream whose critiques arrive; a fuser
                      passes none on, as a fused candidate carries none of its parents' annotations
tests_exist           an evaluator has a generator of unit tests of its method upstream; every node
                      passes tests on, as they are of the question
parameters_apply      a parameter is given only where its method reads it
scores_exist          every candidate that is weighed by its score has one
likelihoods_exist     every candidate that is weighed by its likelihood is written by a model that
                      returns log-probabilities
when_has_inputs       a node with ``when`` has inputs to judge
template_exists       a prompt's template is one of those for the node's type and method
prompt_fields         a prompt's own text contains ``{question}`` and, where candidates are shown,
                      ``{candidates}``; and no word in braces that nothing fills
====================  ============================================================================

A rule yields its violations; the first of the first broken rule is reported. Later rules may rely
on earlier ones: after ``inputs_exist`` and ``no_cycle`` there is an order to follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx

from archon.graph.lineage import (
    methods_of_tests,
    passing_candidates,
    reads_likelihoods,
    scored,
    writers,
)
from archon.graph.prompts.builder import needed_fields, usable_fields
from archon.graph.prompts.templates import SCORES_REPLIES, TEMPLATES, kind_name, prompt_kind
from archon.graph.prompts.wording import Wording
from archon.lm.embedding import EMBED
from archon.lm.reward import REWARD
from archon.spec.architecture import (
    AnyNode,
    ArchitectureSpec,
    AskingNode,
    CriticNode,
    FuserNode,
    GeneratorNode,
    ModelNode,
    RankerNode,
    UnitTestEvaluatorNode,
    UnitTestGeneratorNode,
    VerifierNode,
    VoteNode,
    role_of,
)
from archon.spec.messages import shown, suggestion

REQUIRED_CAPABILITIES: Mapping[tuple[str, str], frozenset[str]] = {
    ("critic", "reason"): frozenset({"chat"}),
    ("ranker", "listwise"): frozenset({"chat"}),
    ("ranker", "pairwise"): frozenset({"chat"}),
    ("ranker", "logit"): frozenset({"chat", "choices"}),
    ("ranker", "likelihood"): frozenset({"choices"}),
    ("ranker", "reward"): frozenset({"reward"}),
    ("fuser", ""): frozenset({"chat"}),
    ("verifier", "reason"): frozenset({"chat"}),
    ("verifier", "logit"): frozenset({"chat", "choices"}),
    ("verifier", "reward"): frozenset({"reward"}),
    ("unit_test_generator", "reason"): frozenset({"chat"}),
    ("unit_test_generator", "program"): frozenset({"chat"}),
    ("unit_test_evaluator", "reason"): frozenset({"chat"}),
}
"""(Type, method) → capabilities that the node's model must have; what is not listed needs none.

A generator continues its prompt, which a base model can do, too. The others give instructions, but
for those that score texts as they are.
"""

MODEL_FREE: Mapping[tuple[str, str], bool] = {
    ("critic", "equations"): False,
    ("ranker", "likelihood"): True,
    ("unit_test_evaluator", "program"): False,
    ("verifier", "equations"): False,
    ("verifier", "program"): False,
}
"""(Type, method) that works without a model → whether it can use one, too."""

_MAX_CYCLE_SHOWN = 12


@dataclass(frozen=True)
class Violation:
    """A broken rule: what is wrong, and where in the file."""

    reason: str
    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Wiring:
    """What the rules look at."""

    spec: ArchitectureSpec
    capabilities: Mapping[str, frozenset[str]]
    edges: nx.DiGraph[str]
    """From each input to its reader; inputs that name no node are left out."""

    @classmethod
    def of(cls, spec: ArchitectureSpec, capabilities: Mapping[str, frozenset[str]]) -> Wiring:
        edges: nx.DiGraph[str] = nx.DiGraph()
        edges.add_nodes_from(spec.nodes)
        edges.add_edges_from(
            (source, node_id)
            for node_id, node in spec.nodes.items()
            for source in node.inputs
            if source in spec.nodes
        )
        return cls(spec, capabilities, edges)

    def model_nodes(self) -> Iterator[tuple[str, AskingNode, str]]:
        """The nodes that ask a model, with their ids before them and their roles behind."""
        for node_id, node in self.spec.nodes.items():
            if isinstance(node, ModelNode) and node.model is not None:
                yield node_id, node, node.model


Rule = Callable[[Wiring], Iterable[Violation]]


# ----------------------------------------------------------------------------------------- edges


def inputs_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        for i, source in enumerate(node.inputs):
            if source not in nodes:
                hint = suggestion(source, [other for other in nodes if other != node_id])
                yield Violation(f"no node {shown(source)}{hint}", _input(node_id, i))


def no_self_input(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if node_id in node.inputs:
            yield Violation(
                "a node cannot read itself", _input(node_id, node.inputs.index(node_id))
            )


def no_duplicate_input(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        seen: set[str] = set()
        for i, source in enumerate(node.inputs):
            if source in seen:
                yield Violation(f"{shown(source)} is listed twice", _input(node_id, i))
            seen.add(source)


def no_cycle(wiring: Wiring) -> Iterator[Violation]:
    if nx.is_directed_acyclic_graph(wiring.edges):
        return
    cycle = [source for source, _ in nx.find_cycle(wiring.edges)]
    # Begin with the node that is declared first, as a reader of the file does.
    position = {node_id: i for i, node_id in enumerate(wiring.spec.nodes)}
    first = min(range(len(cycle)), key=lambda i: position[cycle[i]])
    cycle = cycle[first:] + cycle[:first]
    listed = cycle[:_MAX_CYCLE_SHOWN] + ["…"] * (len(cycle) > _MAX_CYCLE_SHOWN) + cycle[:1]
    index = wiring.spec.nodes[cycle[0]].inputs.index(cycle[-1])
    yield Violation(f"the nodes form a cycle: {' → '.join(listed)}", _input(cycle[0], index))


def output_exists(wiring: Wiring) -> Iterator[Violation]:
    output, nodes = wiring.spec.output, wiring.spec.nodes
    if output not in nodes:
        yield Violation(f"no node {shown(output)}{suggestion(output, nodes)}", ("output",))


def reaches_output(wiring: Wiring) -> Iterator[Violation]:
    output = wiring.spec.output
    upstream = nx.ancestors(wiring.edges, output) | {output}
    for node_id in wiring.spec.nodes:
        if node_id not in upstream:
            reason = f"nothing on the way to the output {shown(output)} reads this node"
            yield Violation(reason, ("nodes", node_id))


def arity(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if not node.inputs and not isinstance(node, GeneratorNode | UnitTestGeneratorNode):
            yield Violation(f"a {node.type} needs inputs", ("nodes", node_id, "inputs"))


def candidates_exist(wiring: Wiring) -> Iterator[Violation]:
    spec, have_some = wiring.spec, passing_candidates(wiring.spec, wiring.edges)
    for node_id, node in spec.nodes.items():
        if node_id not in have_some and not isinstance(node, UnitTestGeneratorNode):
            reason = "unit tests arrive here, but no candidates"
            yield Violation(reason, ("nodes", node_id, "inputs"))
    if spec.output not in have_some:
        reason = f"the output {shown(spec.output)} passes on unit tests, but no candidates"
        yield Violation(reason, ("output",))


# ---------------------------------------------------------------------------------------- models


def model_given(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if isinstance(node, VoteNode):
            yield from _vote_model(node_id, node)
        if not isinstance(node, ModelNode):
            continue
        how = (node.type, getattr(node, "method", ""))
        if node.model is not None:
            if not MODEL_FREE.get(how, True):
                reason = f"{_method_name(node)} asks no model"
                yield Violation(reason, ("nodes", node_id, "model"))
        elif how not in MODEL_FREE:
            yield Violation(f"{_method_name(node)} needs a model", ("nodes", node_id, "model"))
        else:
            for key in ("prompt", "sampling"):
                if getattr(node, key) is not None:
                    reason = f"without a model, nothing reads the {key}"
                    yield Violation(reason, ("nodes", node_id, key))


def _vote_model(node_id: str, node: VoteNode) -> Iterator[Violation]:
    if node.by == "meaning" and node.model is None:
        yield Violation("a vote by meaning needs a model", ("nodes", node_id, "model"))
    for key in ("model", "similarity"):
        if node.by == "value" and getattr(node, key) is not None:
            reason = f'a vote by value reads no {key}; give "by": "meaning"'
            yield Violation(reason, ("nodes", node_id, key))


def model_exists(wiring: Wiring) -> Iterator[Violation]:
    roles = wiring.spec.models
    for node_id, node in wiring.spec.nodes.items():
        role = role_of(node)
        if role is not None and role not in roles:
            reason = f"no role {shown(role)} in models{suggestion(role, roles)}"
            yield Violation(reason, ("nodes", node_id, "model"))


def capabilities(wiring: Wiring) -> Iterator[Violation]:
    for node_id, vote in wiring.spec.nodes.items():
        if isinstance(vote, VoteNode) and vote.model is not None:
            lacks = EMBED - wiring.capabilities.get(vote.model, EMBED)
            if lacks:
                reason = f"the model of role {shown(vote.model)} is no sentence encoder"
                yield Violation(reason, ("nodes", node_id, "model"))
    for node_id, node, role in wiring.model_nodes():
        has = wiring.capabilities.get(role)
        if has is None:
            continue
        if node.sampling is not None and node.sampling.beams and "beams" not in has:
            reason = f"the model of role {shown(role)} has no beam search"
            yield Violation(reason, ("nodes", node_id, "sampling", "beams"))
        needed = REQUIRED_CAPABILITIES.get((node.type, getattr(node, "method", "")), frozenset())
        if needed - has:
            lacking = ", ".join(sorted(needed - has))
            what = f"{_method_name(node)} needs: {lacking}"
            reason = f"the model of role {shown(role)} lacks what {what}"
            yield Violation(reason, ("nodes", node_id, "model"))
        elif has == REWARD and needed != REWARD:
            reason = f"the model of role {shown(role)} is a reward model, which writes no text"
            yield Violation(reason, ("nodes", node_id, "model"))
        elif has == EMBED:
            reason = f"the model of role {shown(role)} is a sentence encoder, which writes no text"
            yield Violation(reason, ("nodes", node_id, "model"))


def _method_name(node: AnyNode) -> str:
    method = getattr(node, "method", "")
    return f"the method {shown(method)} of a {node.type}" if method else f"a {node.type}"


# ------------------------------------------------------------------------------ what nodes read


def critiques_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    passes_critiques: set[str] = set()
    for node_id in nx.topological_sort(wiring.edges):
        node = nodes[node_id]
        arrive = not passes_critiques.isdisjoint(node.inputs)
        if isinstance(node, CriticNode) or (arrive and not isinstance(node, FuserNode)):
            passes_critiques.add(node_id)
        if isinstance(node, RankerNode | FuserNode) and node.use_critiques and not arrive:
            reason = "no critic's critiques arrive here (a fuser passes none on)"
            yield Violation(reason, ("nodes", node_id, "use_critiques"))


def tests_exist(wiring: Wiring) -> Iterator[Violation]:
    methods = methods_of_tests(wiring.spec, wiring.edges)
    for node_id, node in wiring.spec.nodes.items():
        if isinstance(node, UnitTestEvaluatorNode) and node.method not in methods[node_id]:
            reason, key = "no tests of a unit_test_generator arrive here", "inputs"
            for other in methods[node_id]:
                reason, key = f"the tests that arrive here are for {shown(other)}", "method"
            yield Violation(reason, ("nodes", node_id, key))


def parameters_apply(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if isinstance(node, VerifierNode) and node.threshold is not None:
            path = ("nodes", node_id, "threshold")
            if node.method not in ("logit", "reward"):
                yield Violation(f"{_method_name(node)} gives no scores to hold against it", path)
            if node.method == "logit" and not 0 <= node.threshold <= 1:
                yield Violation("a probability is between 0 and 1", path)
        if isinstance(node, GeneratorNode) and node.stop_when is not None:
            name = None if node.prompt is None else node.prompt.template
            template = TEMPLATES["generator"].get(name or "")
            if template is not None and template.asks_for_program:
                reason = "the values of programs are not known while they are being drawn"
                yield Violation(reason, ("nodes", node_id, "stop_when"))
        if isinstance(node, RankerNode) and node.use_critiques is not None:
            path = ("nodes", node_id, "use_critiques")
            if prompt_kind(node.type, node.method) in SCORES_REPLIES:
                yield Violation(f"{_method_name(node)} reads no critiques", path)


def scores_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    have_scores = scored(wiring.spec, wiring.edges)
    for node_id, node in nodes.items():
        if isinstance(node, VoteNode) and node.weight == "score":
            for i, source in enumerate(node.inputs):
                if source not in have_scores:
                    reason = f"candidates may come from {shown(source)} that nothing has scored"
                    yield Violation(reason, _input(node_id, i))


def likelihoods_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        if not reads_likelihoods(node):
            continue
        key = "weight" if isinstance(node, VoteNode) else "method"
        for writer in writers(wiring.spec, node_id):
            role = role_of(nodes[writer])
            has = wiring.capabilities.get(role or "")
            if has is not None and "logprobs" not in has:
                reason = f"the model of role {shown(role)}, which writes for {shown(writer)}, lacks"
                yield Violation(f"{reason} logprobs", ("nodes", node_id, key))


def when_has_inputs(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if node.when is not None and not node.inputs:
            yield Violation(
                "a node without inputs has nothing to judge", ("nodes", node_id, "when")
            )


def template_exists(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node, _ in wiring.model_nodes():
        name = None if node.prompt is None else node.prompt.template
        kind = prompt_kind(node.type, getattr(node, "method", ""))
        templates = TEMPLATES[kind]
        if name is not None and name not in templates:
            hint = suggestion(name, templates)
            reason = f"no template {shown(name)} for a {kind_name(kind)}{hint}"
            yield Violation(reason, ("nodes", node_id, "prompt", "template"))


def prompt_fields(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node, _ in wiring.model_nodes():
        if node.prompt is None or node.prompt.text is None:
            continue
        kind = prompt_kind(node.type, getattr(node, "method", ""))
        usable = usable_fields(kind, bool(node.inputs))
        found = Wording(node.prompt.text).fields
        path = ("nodes", node_id, "prompt", "text")
        for name in needed_fields(kind):
            if name not in found:
                yield Violation(f"the text does not contain {{{name}}}", path)
        for name in sorted(found.difference(usable)):
            reason = f"nothing fills {{{shown(name)[1:-1]}}} here{suggestion(name, usable)}"
            yield Violation(f"{reason} ({{{{ and }}}} stand for braces themselves)", path)


def _input(node_id: str, index: int) -> tuple[str | int, ...]:
    return ("nodes", node_id, "inputs", index)


RULES: tuple[Rule, ...] = (
    inputs_exist,
    no_self_input,
    no_duplicate_input,
    no_cycle,
    output_exists,
    reaches_output,
    model_given,
    model_exists,
    arity,
    candidates_exist,
    capabilities,
    critiques_exist,
    tests_exist,
    parameters_apply,
    scores_exist,
    likelihoods_exist,
    when_has_inputs,
    template_exists,
    prompt_fields,
)
