"""The sandbox: programs and tests to outcomes, a bounded number at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from archon.errors import SandboxError, require
from archon.sandbox.outcome import Checked, Outcome, SandboxLimits
from archon.sandbox.semaphore import SharedSemaphore
from archon.sandbox.solution import up_to_solution
from archon.sandbox.values import Json, is_function

if TYPE_CHECKING:
    from archon.sandbox.program_session import ProgramSession, StepResult

DEFAULT_LIMITS = SandboxLimits()
_DEFINED = ("ok", "output")
"""Outcomes after which a program's functions are defined, despite a large last value."""


class Sandbox:
    """Runs programs, each in a process that ends with it; at rest there is no process.

    Every method may be called from any number of event loops. Cancelling a call kills its
    processes at once.

    Parameters
    ----------
    max_programs
        Programs and tests at a time, by default one a processor; others wait. A test has two
        processes.

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
        """Accept no more programs; running ones continue to their end or their limits."""
        self._closed = True

    async def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, Json] | None = None,
        limits: SandboxLimits = DEFAULT_LIMITS,
    ) -> Outcome:
        """Run a program; the value is that of its last statement, if that is an expression.

        Parameters
        ----------
        inputs
            Variables that the program finds set.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        async with self._turn(), self._workers.session(limits) as session:
            return session.outcome(await session.feed(code, inputs))

    async def run_program(self, code: str, *, limits: SandboxLimits = DEFAULT_LIMITS) -> Outcome:
        """Run a program that answers a question; the value is its answer.

        That is the first of these that is there and not None:

        1. what ``solution()`` returns, if the program defines a function of that name that can be
           called without arguments;
        2. the value of its last statement, if that is an expression;
        3. the variable ``answer``;
        4. the last line that is not empty of what it printed, as text.

        If it fails, everything after its ``solution`` is left out: tests that a model made up say
        nothing about the function.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        outcome = await self._answered(code, limits)
        alone = None if outcome.kind == "ok" else up_to_solution(code)
        if alone is not None and (again := await self._answered(alone, limits)).kind == "ok":
            return again
        return outcome

    async def _answered(self, code: str, limits: SandboxLimits) -> Outcome:
        async with self._turn(), self._workers.session(limits) as session:
            reply = await session.feed(code)
            if reply.kind == "ok":
                reply = await _answer(session, reply)
            return session.outcome(reply)

    async def check(
        self, code: str, tests: Sequence[str], *, limits: SandboxLimits = DEFAULT_LIMITS
    ) -> Checked:
        """Run tests, pieces of code such as ``assert solution(3) == 9``, against a program.

        For each test, the program runs anew, and the test judges it from its own process
        (``archon.sandbox.program_tests``). The limits hold for each run. Of a program that fails,
        everything after its ``solution`` is left out.

        Raises
        ------
        SandboxError
            No process can be started, or the sandbox is closed.
        """
        program = await self.run(code, limits=limits)
        alone = None if program.kind in _DEFINED else up_to_solution(code)
        if alone is not None and (again := await self.run(alone, limits=limits)).kind in _DEFINED:
            code, program = alone, again
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
            self._turn(),
            self._workers.session(limits) as program,
            self._workers.session(limits) as court,
        ):
            reply = await program.feed(code)
            if reply.kind == "ok":
                reply = await run_test(test, program, court)
            return program.outcome(reply)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._slots:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            yield


async def _answer(session: ProgramSession, run: StepResult) -> StepResult:
    """The answer of a program that has run to its end."""
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
