"""The rules of a valid graph. Each is a function of the same name; they are checked in this order.

====================  ============================================================================
inputs_exist          every input names a node
no_self_input         no node reads itself
no_duplicate_input    no node lists an input twice
no_cycle              the edges form no cycle
output_exists         the output names a node
reaches_output        every node is on a path to the output
model_given           a node names a model if and only if its method uses one
model_exists          every model role is declared in ``models``
arity                 a node has inputs, unless it generates answers or unit tests
candidates_exist      candidates arrive at every node that needs them, and at the output
capabilities          a node's model has the capabilities that its method requires
critiques_exist       critiques arrive at a node with ``use_critiques: true``; a fuser does not pass
                      them on, because they are about the candidates that it replaces
tests_exist           a unit_test_evaluator has a unit_test_generator of its method upstream; every
                      node passes tests on, because they belong to the question
parameters_apply      a node sets no parameter that its method does not use
scores_exist          every candidate that is weighted by its score or its odds has a score; the
                      support of a vote has no odds
likelihoods_exist     every candidate that is weighted by its likelihood is written by a model that
                      returns log-probabilities
when_has_inputs       a node with ``when`` has inputs
template_exists       the prompt's template exists for the node's type and method
prompt_fields         a custom text contains ``{question}``, ``{candidates}`` if the prompt shows
                      candidates, and no unknown field
====================  ============================================================================

All violations of all rules are reported. Rules that follow the edges (``FOLLOW_EDGES``) are checked
only if the edges are valid (``EDGES``), because one wrong edge would cause many errors. What a
method needs is declared in the module of its node type, ``archon.graph.nodes.<type>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archon.errors import GraphError
from archon.graph.validation import arrivals, edges, models, parameters
from archon.graph.validation.wiring import Rule, Violation, Wiring
from archon.spec.messages import json_path
from archon.spec.valid_parts import ValidParts

RULES: tuple[Rule, ...] = (
    edges.inputs_exist,
    edges.no_self_input,
    edges.no_duplicate_input,
    edges.no_cycle,
    edges.output_exists,
    edges.reaches_output,
    models.model_given,
    models.model_exists,
    edges.arity,
    arrivals.candidates_exist,
    models.capabilities,
    arrivals.critiques_exist,
    arrivals.tests_exist,
    parameters.parameters_apply,
    arrivals.scores_exist,
    arrivals.likelihoods_exist,
    edges.when_has_inputs,
    parameters.template_exists,
    parameters.prompt_fields,
)

EDGES: frozenset[Rule] = frozenset(
    {edges.inputs_exist, edges.no_self_input, edges.no_cycle, edges.output_exists, edges.arity}
)
"""The rules that all edges must follow before those in ``FOLLOW_EDGES`` are checked."""

FOLLOW_EDGES: frozenset[Rule] = frozenset(
    {
        edges.reaches_output,
        arrivals.candidates_exist,
        arrivals.critiques_exist,
        arrivals.tests_exist,
        arrivals.scores_exist,
        arrivals.likelihoods_exist,
    }
)
"""The rules that follow edges through the graph, for example to find what arrives at a node."""


def broken_rules(wiring: Wiring) -> Iterator[tuple[Rule, Violation]]:
    """Yield (rule, violation) for every violation, in the order of the rules."""
    follows_edges = True
    for rule in RULES:
        if rule in FOLLOW_EDGES and not follows_edges:
            continue
        for violation in rule(wiring):
            yield rule, violation
            follows_edges = follows_edges and rule not in EDGES


def graph_errors(wiring: Wiring, file: str | None) -> list[GraphError]:
    """Return an error for each violation of a rule."""
    return [_error(rule, violation, file) for rule, violation in broken_rules(wiring)]


def errors_of_valid_parts(
    parts: ValidParts, capabilities: Mapping[str, frozenset[str]], file: str | None
) -> list[GraphError]:
    """Return the errors of a graph whose file is partly invalid, without follow-up errors.

    For an invalid node, only the names of its role and inputs are checked. It is unknown what
    arrives at the nodes downstream of it, so rules that depend on this are not checked there.
    """
    wiring = Wiring.of(parts.spec, capabilities)
    after_invalid = wiring.downstream(parts.invalid_nodes)
    found = []
    for rule, violation in broken_rules(wiring):
        node = violation.path[1] if violation.path[0] == "nodes" else None
        is_certain = True
        if rule is edges.output_exists:
            is_certain = bool(parts.spec.output)
        elif rule is edges.reaches_output:
            is_certain = parts.knows_edges
        elif rule is models.model_exists:
            is_certain = parts.knows_roles
        elif rule in FOLLOW_EDGES:
            is_certain = parts.knows_edges and node is not None and node not in after_invalid
        elif rule not in EDGES and rule is not edges.no_duplicate_input:
            is_certain = node not in parts.invalid_nodes
        if is_certain:
            found.append(_error(rule, violation, file))
    return found


def _error(rule: Rule, violation: Violation, file: str | None) -> GraphError:
    path = json_path(violation.path)
    return GraphError(violation.reason, rule=rule.__name__, file=file, path=path)
