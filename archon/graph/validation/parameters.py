"""Rules about parameters of methods, and about templates and custom texts of prompts."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.prompts.builder import wording_errors
from archon.graph.validation.wiring import Violation, Wiring


def _wording_errors(wiring: Wiring, key: str) -> Iterator[Violation]:
    for node_id, node, _ in wiring.spec.asking_nodes():
        kind = method_of(node).prompt
        if node.prompt is not None and kind is not None:
            for reason, wrong in wording_errors(node.prompt, kind, bool(node.inputs)):
                if wrong == key:
                    yield Violation(reason, ("nodes", node_id, "prompt", key))


def template_exists(wiring: Wiring) -> Iterator[Violation]:
    return _wording_errors(wiring, "template")


def prompt_fields(wiring: Wiring) -> Iterator[Violation]:
    return _wording_errors(wiring, "text")


def parameters_apply(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        for reason, key in NODE_TYPES[node.type].check(node):
            yield Violation(reason, ("nodes", node_id, key))
