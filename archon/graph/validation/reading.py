"""Rules of what stands beside candidates: critiques, tests, scores; and who reads which."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from archon.graph.lineage import methods_of_tests, scored, supported
from archon.graph.prompts.templates import SCORES_REPLIES, TEMPLATES, prompt_kind
from archon.graph.validation.wiring import Violation, Wiring, input_path, method_name
from archon.spec.architecture import (
    CriticNode,
    FuserNode,
    GeneratorNode,
    RankerNode,
    UnitTestEvaluatorNode,
    VerifierNode,
    VoteNode,
)
from archon.spec.messages import shown


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
                yield Violation(f"{method_name(node)} gives no scores to hold against it", path)
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
                yield Violation(f"{method_name(node)} reads no critiques", path)


def scores_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    have_scores = scored(wiring.spec, wiring.edges)
    have_support = supported(wiring.spec, wiring.edges)
    for node_id, node in nodes.items():
        if isinstance(node, VoteNode) and node.weight in ("score", "odds"):
            for i, source in enumerate(node.inputs):
                path = input_path(node_id, i)
                if source not in have_scores:
                    reason = f"candidates may come from {shown(source)} that nothing has scored"
                    yield Violation(reason, path)
                elif node.weight == "odds" and source in have_support:
                    reason = (
                        f"the score may be a vote's support, from {shown(source)}: it has no odds"
                    )
                    yield Violation(reason, path)
