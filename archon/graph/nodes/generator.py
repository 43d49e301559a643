"""The generator, which samples answers to the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from archon.graph.candidates import from_completions
from archon.graph.grouping import grouped_values
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Effects, Method, NodeType, set_parameters
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GENERATOR
from archon.graph.stopping import expected_samples, is_settled
from archon.spec.architecture import GeneratorNode, StopWhen
from archon.types import Candidate


class Generator:
    """Node that adds ``samples`` new answers to the candidates that it reads.

    With ``stop_when``, it samples in rounds and stops when a vote on all candidates, old and new,
    is settled. If the candidates that it reads already settle the vote, it samples nothing.
    """

    def __init__(
        self, node: str, prompt: Prompt, samples: int, stop_when: StopWhen | None = None
    ) -> None:
        self._node, self._prompt = node, prompt
        self._samples, self._stop_when = samples, stop_when

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Request all samples in one call or, with ``stop_when``, one call for each round."""
        question, rule = context.question, self._stop_when
        messages = self._prompt.messages(question, candidates)
        passed_on, num_sampled = list(candidates), 0
        while (num_left := self._samples - num_sampled) > 0:
            if rule is not None:
                values = await grouped_values(passed_on, question.answer)
                if is_settled(rule, values, num_left):
                    break
            count = num_left if rule is None else min(num_left, rule.round)
            new = await context.sample(messages, count, skip=num_sampled)
            passed_on += from_completions(self._node, new, question, messages=messages)
            num_sampled += count
            if len(new) < count:  # the budget is used up
                break
        return passed_on


def _calls(node: GeneratorNode, num_inputs: int) -> Calls:
    """Return the maximum and the expected number of samples.

    For a generator that reads candidates, the expected number is the maximum, because it is unknown
    how many of these candidates agree.
    """
    if node.stop_when is None or node.inputs:
        return Calls.of_samples(node.samples, num_inputs)
    expected = partial(expected_samples, node.stop_when, node.samples)
    return Calls.of_samples(node.samples, num_inputs, expected)


def _label(node: GeneratorNode) -> Iterator[str]:
    yield from set_parameters(node, "samples")
    if node.stop_when is not None:
        yield f"until confidence {node.stop_when.confidence:.4g}"


def _check(node: GeneratorNode) -> Iterator[tuple[str, str]]:
    name = None if node.prompt is None else node.prompt.template
    template = GENERATOR.templates.get(name or "")
    if node.stop_when is not None and template is not None and template.asks_for_program:
        yield "cannot vote on programs, whose values are unknown until they are run", "stop_when"


NODE_TYPE = NodeType(
    spec=GeneratorNode,
    methods={
        "": Method[GeneratorNode](
            make=lambda s: Generator(s.name, s.prompt, s.spec.samples, s.spec.stop_when),
            prompt=GENERATOR,  # no capability: a base model, too, can continue a prompt
            calls=_calls,
        )
    },
    needs_inputs=False,
    effects=Effects(writes=True),
    label=_label,
    check=_check,
)
