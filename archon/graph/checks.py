"""The rules that make a graph sound. Each is one function of the same name, checked in this order.

====================  ============================================================================
inputs_exist          every input names a node
no_self_input         no node reads itself
no_duplicate_input    no node lists an input twice
no_cycle              the edges form no cycle
output_exists         the output names a node
reaches_output        every node is on a way to the output
model_given           a node names a model exactly where its method asks one (``models.MODEL_FREE``)
model_exists          every model role is declared in ``models``
arity                 only generators, of answers or of unit tests, may have no inputs
candidates_exist      candidates arrive where they are read, and at the output
capabilities          a node's model can do what its method asks (``models.REQUIRED_CAPABILITIES``)
critiques_exist       ``use_critiques: true`` has a critic upstream whose critiques arrive; a fuser
                      passes none on, as a fused candidate carries none of its parents' annotations
tests_exist           an evaluator has a generator of unit tests of its method upstream; every node
                      passes tests on, as they are of the question
parameters_apply      a parameter is given only where its method reads it
scores_exist          every candidate that is weighed by its score, or its odds, has one; a vote's
                      support has no odds
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

from archon.graph.rules import edges, models, prompts, reading
from archon.graph.rules.wiring import Rule

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
    edges.candidates_exist,
    models.capabilities,
    reading.critiques_exist,
    reading.tests_exist,
    reading.parameters_apply,
    reading.scores_exist,
    models.likelihoods_exist,
    edges.when_has_inputs,
    prompts.template_exists,
    prompts.prompt_fields,
)
