"""The unit test evaluator, which sorts candidates by the share of unit tests that they pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from archon import answers
from archon.graph.judge_output import read_results, results_constraint
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import (
    Calls,
    Effects,
    Method,
    NodeType,
    Plain,
    Reads,
    Reason,
    set_parameters,
)
from archon.graph.nodes.program_execution import shared_sandbox
from archon.graph.nodes.selection import (
    SCORES,
    Scored,
    judge_each,
    keep_best,
    keep_first,
    own_annotation,
    rank_of_dropped,
)
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import JUDGE_TESTS
from archon.lm.concurrency import run_all
from archon.sandbox import Sandbox
from archon.spec.architecture import UnitTestEvaluatorNode
from archon.types import Candidate, UnitTest, UnitTestMethod, VerdictKind

Verdicts = Sequence[VerdictKind]
"""The verdicts on one candidate, one for each unit test."""
Judge = Callable[[NodeContext, Sequence[Candidate], Sequence[UnitTest]], Awaitable[list[Verdicts]]]


class UnitTestEvaluator:
    """Node that sorts candidates by the share of the unit tests of ``method`` that they pass.

    A test without a verdict counts as half passed. Candidates with equal scores keep their order.
    If there are no tests, the candidates keep their order and are not scored.
    """

    def __init__(
        self, node: str, method: UnitTestMethod, judge: Judge, keep: int | None = None
    ) -> None:
        self._node, self._method, self._judge, self._keep = node, method, judge, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        tests = [test for test in context.tests if test.method == self._method]
        if not tests:
            return keep_first(candidates, self._keep, context)
        results = await self._judge(context, candidates, tests)
        scores = [_scored(tests, verdicts) for verdicts in results]
        return keep_best(self._node, context, candidates, scores, self._keep)


async def judge_statements(
    prompt: Prompt,
    context: NodeContext,
    candidates: Sequence[Candidate],
    tests: Sequence[UnitTest],
) -> list[Verdicts]:
    """Ask the model which statements each candidate satisfies; one call per candidate.

    A candidate that is not judged (``Prompt.judged``) fails every test.
    """

    async def judge(candidate: Candidate) -> Verdicts:
        messages = prompt.messages(context.question, [candidate], tests=tests)
        completion = await context.ask(messages, constraint=results_constraint(len(tests)))
        return read_results(completion.text, len(tests))

    return await judge_each(prompt, context, candidates, judge, unjudged=["fail"] * len(tests))


async def run_assertions(
    sandbox: Sandbox,
    context: NodeContext,
    candidates: Sequence[Candidate],
    tests: Sequence[UnitTest],
) -> list[Verdicts]:
    """Run all assertions on each distinct program (``Sandbox.check``).

    The program cannot read the assertions. A candidate without a program fails every test.

    Raises
    ------
    BudgetError
        The question's time ran out before all programs were tested.
    SandboxError
        The sandbox cannot start a process.
    """
    texts = [test.text for test in tests]
    programs = [answers.read_answer(candidate.text, "code") for candidate in candidates]
    distinct = list(dict.fromkeys(program for program in programs if program is not None))
    checks = run_all(sandbox.check(program, texts) for program in distinct)
    verdicts: dict[str | None, Verdicts] = {None: ["fail"] * len(tests)}
    for program, checked in zip(distinct, await context.in_time(checks), strict=True):
        verdicts[program] = ["pass" if test.kind == "ok" else "fail" for test in checked.tests]
    return [verdicts[program] for program in programs]


def _scored(tests: Sequence[UnitTest], verdicts: Verdicts) -> Scored:
    """Return a candidate's score; its reason lists the tests that it did not pass, one per line."""
    lines = [f"passes {verdicts.count('pass')} of {len(tests)} tests"]
    lines += [f"{v}: {test.text}" for test, v in zip(tests, verdicts, strict=True) if v != "pass"]
    share = sum(SCORES[verdict] for verdict in verdicts) / len(verdicts)
    return Scored(share, reason="\n".join(lines))


def _explain(node: Plain, candidate: Plain) -> Reason:
    score, rank = own_annotation(node, candidate, "score"), rank_of_dropped(node, candidate)
    if score is None:
        return Reason(f"no tests arrived, and it was {rank}")
    return Reason(f"ranked by its tests {rank}", score["reason"])


NODE_TYPE: NodeType[UnitTestEvaluatorNode] = NodeType(
    spec=UnitTestEvaluatorNode,
    chosen_by="method",
    methods={
        "reason": Method(
            make=lambda s: UnitTestEvaluator(
                s.name, "reason", partial(judge_statements, s.prompt), s.spec.keep
            ),
            prompt=JUDGE_TESTS,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
        ),
        "program": Method(
            make=lambda s: UnitTestEvaluator(
                s.name, "program", partial(run_assertions, shared_sandbox()), s.spec.keep
            ),
        ),
    },
    reads=lambda node: Reads(shows=node.shows, tests=node.method),
    effects=Effects(keeps=lambda node: node.keep, scores="grade"),
    label=lambda node: set_parameters(node, "method", "keep"),
    explain=_explain,
)
