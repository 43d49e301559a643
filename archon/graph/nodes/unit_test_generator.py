"""The unit test generator, which writes unit tests for answers to the question.

With the ``reason`` method, tests are statements in prose (Saad-Falcon et al., arXiv 2409.15254).
With ``program``, they are Python assertions (CodeT, Chen et al., arXiv 2207.10397).
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.graph.judge_output import read_tests, unit_tests_constraint
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Effects, Method, NodeType, Setup, set_parameters
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import ASSERT_TESTS, STATE_TESTS, PromptKind
from archon.spec.architecture import UnitTestGeneratorNode
from archon.types import Candidate, UnitTest, UnitTestMethod


class UnitTestGenerator:
    """Node that writes tests that a correct answer passes, and passes on candidates unchanged.

    The prompt does not contain the candidates, because the model might otherwise write tests to fit
    them.
    """

    def __init__(self, node: str, prompt: Prompt, method: UnitTestMethod, max_tests: int) -> None:
        self._node, self._prompt = node, prompt
        self._method, self._max_tests = method, max_tests

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        messages = self._prompt.messages(context.question, max_tests=self._max_tests)
        constraint = unit_tests_constraint(self._method, self._max_tests)
        completion = await context.ask(messages, constraint=constraint)
        texts = read_tests(completion.text, self._method, self._max_tests)
        context.add_tests([UnitTest(self._node, text, self._method) for text in texts])
        return list(candidates)


def _method(prompt: PromptKind) -> Method[UnitTestGeneratorNode]:
    def make(setup: Setup[UnitTestGeneratorNode]) -> UnitTestGenerator:
        spec = setup.spec
        return UnitTestGenerator(setup.name, setup.prompt, spec.method, spec.max_tests)

    return Method(
        make=make,
        prompt=prompt,
        requires=frozenset({"chat"}),
        calls=lambda node, n: Calls.of_judge(1, 0),
    )


NODE_TYPE: NodeType[UnitTestGeneratorNode] = NodeType(
    spec=UnitTestGeneratorNode,
    chosen_by="method",
    methods={"reason": _method(STATE_TESTS), "program": _method(ASSERT_TESTS)},
    needs_inputs=False,
    effects=Effects(writes_tests=lambda node: node.method, max_tests=lambda node: node.max_tests),
    label=lambda node: set_parameters(node, "method", "max_tests"),
)
