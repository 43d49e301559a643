"""Unit tests of the question: the node that writes them, and those that judge candidates by them.

After Saad-Falcon et al. (arXiv 2409.15254), whose tests are statements in prose; tests that run are
those of Chen et al. (CodeT, arXiv 2207.10397).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from archon.answers import read_answer
from archon.graph.judge_output import results_form, unit_tests_form
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import keep_best, keep_first
from archon.graph.nodes.verifier import SCORES
from archon.graph.parsing import read_results
from archon.graph.prompts.builder import Prompt
from archon.graph.unit_tests import read_tests
from archon.lm.concurrency import run_all
from archon.sandbox import Checked, Sandbox
from archon.types import Candidate, UnitTest, UnitTestMethod, VerdictKind


class UnitTestGenerator:
    """Writes tests that right answers pass, and passes its candidates on as they are.

    It does not see the candidates, which could talk it into tests that they pass.
    """

    def __init__(self, node: str, prompt: Prompt, method: UnitTestMethod, max_tests: int) -> None:
        self._node, self._prompt = node, prompt
        self._method, self._max_tests = method, max_tests

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """One call."""
        messages = self._prompt.messages(context.question, max_tests=self._max_tests)
        form = unit_tests_form(self._method, self._max_tests)
        (completion,) = await context.ask(messages, form=form)
        texts = read_tests(completion.text, self._method, self._max_tests)
        context.add_tests([UnitTest(self._node, text, self._method) for text in texts])
        return list(candidates)


class ReasoningTestEvaluator:
    """Lets the model judge each candidate by all statements, and orders the candidates by that.

    A candidate's score is the share of the tests that it passes, of which one without a verdict
    counts half; one that is not judged (``Prompt.judged``) passes none. Of equals the earlier
    is first. Without tests, they keep their order.
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
        (completion,) = await context.ask(messages, form=results_form(len(tests)))
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
        BudgetError : the question's time was up before all were tested.
        SandboxError : no process can be started.
        """
        tests = _tests_of(context, "program")
        if not tests:
            return keep_first(candidates, self._keep, context)
        texts = [test.text for test in tests]
        programs = [read_answer(candidate.text, "code") for candidate in candidates]
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
    scores = [fmean(SCORES[verdict] for verdict in verdicts) for verdicts in results]
    reasons = [_reason(tests, verdicts) for verdicts in results]
    return keep_best(node, context, candidates, scores, keep, reasons)


def _reason(tests: Sequence[UnitTest], verdicts: Sequence[VerdictKind]) -> str:
    """How many are passed, and the others, a line each."""
    judged = list(zip(tests, verdicts, strict=True))
    lines = [f"passes {verdicts.count('pass')} of {len(tests)} tests"]
    lines += [f"{verdict}: {test.text}" for test, verdict in judged if verdict != "pass"]
    return "\n".join(lines)
