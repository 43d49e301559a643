"""The node that orders candidates by the unit tests that they pass."""

from __future__ import annotations

from collections.abc import Sequence

from archon import answers
from archon.graph.judge_output import read_results, results_constraint
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import Calls, Method, NodeType, Plain, Reads, Reason, given
from archon.graph.nodes.program_execution import shared_sandbox
from archon.graph.nodes.selection import (
    SCORES,
    keep_best,
    keep_first,
    own_annotation,
    place_of_dropped,
)
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import JUDGE_TESTS
from archon.lm.concurrency import run_all
from archon.sandbox import Checked, Sandbox
from archon.spec.architecture import UnitTestEvaluatorNode
from archon.types import Candidate, UnitTest, UnitTestMethod, VerdictKind


class ReasoningTestEvaluator:
    """Lets the model judge each candidate by all statements, and orders the candidates by that.

    A candidate's score is the share of the tests that it passes; a test without a verdict counts
    half. A candidate that is not judged (``Prompt.judged``) passes none. Of equals the earlier is
    first. Without tests, candidates keep their order.
    """

    def __init__(self, node: str, prompt: Prompt, keep: int | None = None) -> None:
        self._node, self._prompt, self._keep = node, prompt, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call a candidate, all at once."""
        tests = _tests_of(context, "reason")
        if not tests:
            return keep_first(candidates, self._keep, context)
        judged = self._prompt.judged(context.question, candidates)
        results = await run_all(self._judge(context, c, tests, c.id in judged) for c in candidates)
        return _best(self._node, context, candidates, tests, results, self._keep)

    async def _judge(
        self,
        context: NodeContext,
        candidate: Candidate,
        tests: Sequence[UnitTest],
        is_judged: bool,
    ) -> list[VerdictKind]:
        if not is_judged:
            return ["fail"] * len(tests)
        messages = self._prompt.messages(context.question, [candidate], tests=tests)
        (completion,) = await context.ask(messages, constraint=results_constraint(len(tests)))
        return read_results(completion.text, len(tests))


class ProgramTestEvaluator:
    """Runs the assertions against each candidate's program, and orders the candidates by that.

    They run where the program cannot reach them (``Sandbox.check``). A candidate's score is the
    share of the tests that it passes, 0 where it has no program; of equals the earlier is first.
    Without tests, they keep their order.
    """

    def __init__(self, node: str, sandbox: Sandbox, keep: int | None = None) -> None:
        self._node, self._sandbox, self._keep = node, sandbox, keep

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Asks no model; equal programs are tested once.

        Raises
        ------
        BudgetError
            The question's time was up before all were tested.
        SandboxError
            No process can be started.
        """
        tests = _tests_of(context, "program")
        if not tests:
            return keep_first(candidates, self._keep, context)
        texts = [test.text for test in tests]
        programs = [answers.read_answer(candidate.text, "code") for candidate in candidates]
        distinct = list(dict.fromkeys(program for program in programs if program is not None))
        checks = run_all(self._sandbox.check(program, texts) for program in distinct)
        checked = dict(zip(distinct, await context.in_time(checks), strict=True))
        failed: list[VerdictKind] = ["fail"] * len(tests)
        results = [failed if p is None else _verdicts(checked[p]) for p in programs]
        return _best(self._node, context, candidates, tests, results, self._keep)


def _tests_of(context: NodeContext, method: UnitTestMethod) -> list[UnitTest]:
    return [test for test in context.tests if test.method == method]


def _verdicts(checked: Checked) -> list[VerdictKind]:
    return ["pass" if outcome.kind == "ok" else "fail" for outcome in checked.tests]


def _best(
    node: str,
    context: NodeContext,
    candidates: Sequence[Candidate],
    tests: Sequence[UnitTest],
    results: Sequence[Sequence[VerdictKind]],
    keep: int | None,
) -> list[Candidate]:
    """Those that pass the largest share of the tests, each with those that it did not pass."""
    scores = [sum(SCORES[verdict] for verdict in verdicts) / len(verdicts) for verdicts in results]
    reasons = [_reason(tests, verdicts) for verdicts in results]
    return keep_best(node, context, candidates, scores, keep, reasons)


def _reason(tests: Sequence[UnitTest], verdicts: Sequence[VerdictKind]) -> str:
    """How many are passed, and the others, a line each."""
    judged = list(zip(tests, verdicts, strict=True))
    lines = [f"passes {verdicts.count('pass')} of {len(tests)} tests"]
    lines += [f"{verdict}: {test.text}" for test, verdict in judged if verdict != "pass"]
    return "\n".join(lines)


def _keeps(node: UnitTestEvaluatorNode) -> int | None:
    return node.keep


def _explain(node: Plain, candidate: Plain) -> Reason:
    score, place = own_annotation(node, candidate, "score"), place_of_dropped(node, candidate)
    if score is None:
        return Reason(f"no tests arrived, and it came {place}")
    return Reason(f"ranked by its tests {place}", score["reason"])


NODE_TYPE = NodeType(
    spec=UnitTestEvaluatorNode,
    chosen_by="method",
    methods={
        "reason": Method[UnitTestEvaluatorNode](
            make=lambda s: ReasoningTestEvaluator(s.name, s.prompt, s.spec.keep),
            prompt=JUDGE_TESTS,
            requires=frozenset({"chat"}),
            calls=lambda node, n: Calls.of_judge(n, 1),
            reads=lambda node: Reads(shows=node.shows),
            keeps=_keeps,
            scores="grade",
            reads_tests="reason",
        ),
        "program": Method(
            make=lambda s: ProgramTestEvaluator(s.name, shared_sandbox(), s.spec.keep),
            keeps=_keeps,
            scores="grade",
            reads_tests="program",
        ),
    },
    label=lambda node: given(node, "method", "keep"),
    explain=_explain,
)
