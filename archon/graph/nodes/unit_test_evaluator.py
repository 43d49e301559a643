"""The unit test evaluator: orders candidates by the share of unit tests that they pass."""

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
    given,
)
from archon.graph.nodes.program_execution import shared_sandbox
from archon.graph.nodes.selection import (
    SCORES,
    Scored,
    judge_each,
    keep_best,
    keep_first,
    own_annotation,
    place_of_dropped,
)
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import JUDGE_TESTS
from archon.lm.concurrency import run_all
from archon.sandbox import Sandbox
from archon.spec.architecture import UnitTestEvaluatorNode
from archon.types import Candidate, UnitTest, UnitTestMethod, VerdictKind

Verdicts = Sequence[VerdictKind]
"""A candidate's verdict by test."""
Judge = Callable[[NodeContext, Sequence[Candidate], Sequence[UnitTest]], Awaitable[list[Verdicts]]]


class UnitTestEvaluator:
    """Orders candidates by their tests of one method; ties keep their order.

    A candidate's score is the share of the tests that it passes; a test without a verdict counts
    half. Without tests, candidates keep their order and get no score.
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
    """Let the model judge each candidate by all statements; one call per candidate.

    An unjudged candidate (``Prompt.judged``) fails every test.
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
    """Run the assertions against each distinct program, which cannot see them (``Sandbox.check``).

    A candidate without a program fails every test.

    Raises
    ------
    BudgetError
        The question's time ran out before all programs were tested.
    SandboxError
        No process can be started.
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
    """Score a candidate; the reason lists the tests that it does not pass, one per line."""
    lines = [f"passes {verdicts.count('pass')} of {len(tests)} tests"]
    lines += [f"{v}: {test.text}" for test, v in zip(tests, verdicts, strict=True) if v != "pass"]
    share = sum(SCORES[verdict] for verdict in verdicts) / len(verdicts)
    return Scored(share, reason="\n".join(lines))


def _explain(node: Plain, candidate: Plain) -> Reason:
    score, place = own_annotation(node, candidate, "score"), place_of_dropped(node, candidate)
    if score is None:
        return Reason(f"no tests arrived, and it came {place}")
    return Reason(f"ranked by its tests {place}", score["reason"])


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
    label=lambda node: given(node, "method", "keep"),
    explain=_explain,
)
