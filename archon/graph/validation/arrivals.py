"""Rules about what arrives at a node: candidates, critiques, tests, scores and likelihoods."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.nodes.registry import NODE_TYPES, reads_of
from archon.graph.validation.wiring import Violation, Wiring, input_path
from archon.spec.messages import shown


def candidates_exist(wiring: Wiring) -> Iterator[Violation]:
    spec, flow = wiring.spec, wiring.flow
    for node_id, node in spec.nodes.items():
        if NODE_TYPES[node.type].needs_inputs and not flow.arriving[node_id].total:
            reason = "no candidates arrive here, only unit tests; add a generator to the inputs"
            yield Violation(reason, ("nodes", node_id, "inputs"))
    if not flow.leaving[spec.output].total:
        reason = f"the output {shown(spec.output)} passes on no candidates, only unit tests"
        yield Violation(reason, ("output",))


def critiques_exist(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        flow = wiring.flow.arriving[node_id]
        if reads_of(node).critiques and not flow.has_critiques:
            reason = "no critiques arrive here; add a critic upstream, but not in front of a fuser"
            yield Violation(reason, ("nodes", node_id, "use_critiques"))


def tests_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        wanted = reads_of(node).tests
        testers = [nodes[tester] for tester in wiring.flow.arriving[node_id].testers]
        methods = {NODE_TYPES[tester.type].method_name(tester) for tester in testers}
        if wanted is not None and wanted not in methods:
            reason, key = "no unit tests arrive here; add a unit_test_generator upstream", "inputs"
            if methods:
                arriving = shown(methods.pop())
                reason = (
                    f"the tests that arrive here have the method {arriving}, not {shown(wanted)}"
                )
                key = "method"
            yield Violation(reason, ("nodes", node_id, key))


def scores_exist(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        wanted = reads_of(node).scores
        for i, source in enumerate(node.inputs if wanted else ()):
            flow = wiring.flow.leaving[source]
            if not flow.is_scored:
                reason = f"candidates from {shown(source)} may have no score"
                yield Violation(reason, input_path(node_id, i))
            elif wanted == "odds" and flow.has_support:
                reason = f"scores from {shown(source)} may be a vote's support"
                reason += ", which cannot be converted to odds"
                yield Violation(reason, input_path(node_id, i))


def likelihoods_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        key = reads_of(node).likelihoods
        if not key:
            continue
        writers = wiring.flow.arriving[node_id].counts
        for writer in [name for name in nodes if name in writers]:
            role = nodes[writer].role or ""
            has = wiring.capabilities.get(role)
            if has is not None and "logprobs" not in has:
                reason = f"the model of role {shown(role)} returns no logprobs for {shown(writer)}"
                yield Violation(reason, ("nodes", node_id, key))
