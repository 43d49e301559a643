"""The class ``Sandbox``, which runs a limited number of programs and tests in parallel."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from archon.errors import SandboxError, require
from archon.sandbox.outcome import Checked, Outcome, SandboxLimits
from archon.sandbox.semaphore import SharedSemaphore
from archon.sandbox.values import Json, is_function

if TYPE_CHECKING:
    from archon.sandbox.program_session import ProgramSession, StepResult

DEFAULT_LIMITS = SandboxLimits()
_DEFINED = ("ok", "output")
"""Kinds of outcome after which the program's functions are defined. (``output`` means that only the
value or the printed text is too large.)"""
_SOLUTION_START = re.compile(r"^(?:async )?def solution\b", re.MULTILINE)
_NEXT_STATEMENT = re.compile(r"^(?![\s)\]}#])", re.MULTILINE)
"""Matches the start of an unindented line that is not a comment and does not close a parameter
list."""


class Sandbox:
    """Runs each program in a separate process. An idle sandbox has no processes.

    Methods may be called from several event loops. Cancelling a call kills its processes
    immediately.

    Parameters
    ----------
    max_programs
        Maximum number of programs and tests that run at the same time, by default one per
        processor; further programs wait. A test uses two processes.

    Raises
    ------
    MissingExtraError
        The interpreter is not installed.
    """

    def __init__(self, max_programs: int | None = None) -> None:
        require("pydantic_monty", "sandbox")
        from archon.sandbox.program_session import Workers

        self._workers, self._slots = Workers(), SharedSemaphore(max_programs or os.cpu_count() or 1)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Reject new programs; running programs continue until they end or reach a limit."""
        self._closed = True

    async def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, Json] | None = None,
        limits: SandboxLimits = DEFAULT_LIMITS,
    ) -> Outcome:
        """Run a program; its value is the value of the last statement, if it is an expression.

        Parameters
        ----------
        inputs
            Variables that are defined before the program runs.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        async with self._slot(), self._workers.session(limits) as session:
            return session.outcome(await session.feed(code, inputs))

    async def run_program(self, code: str, *, limits: SandboxLimits = DEFAULT_LIMITS) -> Outcome:
        """Run a program that answers a question; the value of the outcome is the answer.

        The answer is the first of these that exists and is not None:

        1. the result of ``solution()``, if the program defines a function with this name that can
           be called without arguments;
        2. the value of the last statement, if that is an expression;
        3. the variable ``answer``;
        4. the last non-empty line of the printed text.

        If the program fails, it is run again without the code after ``solution``. This code is
        often a test that the model made up, and its failure does not show that the function is
        wrong.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        outcome = await self._run_for_answer(code, limits)
        shorter = None if outcome.kind == "ok" else _up_to_solution(code)
        if shorter and (retried := await self._run_for_answer(shorter, limits)).kind == "ok":
            return retried
        return outcome

    async def _run_for_answer(self, code: str, limits: SandboxLimits) -> Outcome:
        async with self._slot(), self._workers.session(limits) as session:
            result = await session.feed(code)
            if result.kind == "ok":
                result = await _answer(session, result)
            return session.outcome(result)

    async def check(
        self, code: str, tests: Sequence[str], *, limits: SandboxLimits = DEFAULT_LIMITS
    ) -> Checked:
        """Run tests, such as ``assert solution(3) == 9``, against a program.

        For each test, the program runs in a new process, and the test runs in another process
        (``archon.sandbox.program_tests``). The limits apply to each run. If the program fails, it
        is tested without the code after ``solution``.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        program = await self.run(code, limits=limits)
        shorter = None if program.kind in _DEFINED else _up_to_solution(code)
        if shorter and (retried := await self.run(shorter, limits=limits)).kind in _DEFINED:
            code, program = shorter, retried
        if program.kind not in _DEFINED:
            return Checked(program, (program,) * len(tests))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._test(code, test, limits)) for test in tests]
        except* SandboxError as failures:
            raise SandboxError(str(failures.exceptions[0])) from None
        return Checked(program, tuple(task.result() for task in tasks))

    async def _test(self, code: str, test: str, limits: SandboxLimits) -> Outcome:
        from archon.sandbox.program_tests import run_test

        async with (
            self._slot(),
            self._workers.session(limits) as program,
            self._workers.session(limits) as tester,
        ):
            result = await program.feed(code)
            if result.kind == "ok":
                result = await run_test(test, program, tester)
            return program.outcome(result)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        async with self._slots:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            yield


async def _answer(session: ProgramSession, run: StepResult) -> StepResult:
    """Return the answer of a program that has run to its end (see ``Sandbox.run_program``)."""
    solution = await session.feed("solution")
    if is_function(solution.value):
        called = await session.feed("solution()")
        needs_arguments = (called.error or "").startswith("TypeError: solution() missing ")
        if not needs_arguments and (called.kind != "ok" or called.value is not None):
            return called
    if run.value is not None:
        return run
    answer = await session.feed("answer")
    if answer.kind == "ok" and answer.value is not None and not is_function(answer.value):
        return answer
    lines = session.printed.strip().splitlines()
    return replace(run, value=lines[-1].strip() if lines else None)


def _up_to_solution(code: str) -> str | None:
    """Return a program up to the end of its function ``solution``; None if it has none.

    Models often append tests with invented results. Only lines are matched, not Python's grammar,
    because the text is often truncated.

    >>> _up_to_solution("def solution():\\n    return 7\\n\\nassert solution() == 8")
    'def solution():\\n    return 7\\n'
    """
    start = _SOLUTION_START.search(code)
    if start is None:
        return None
    end = _NEXT_STATEMENT.search(code, start.end())
    return code[: end.start() - 1 if end else len(code)]
