"""Run tests of a program with which the program cannot interfere.

A test runs in a separate process, which has never contained the program. When the test calls a
function of the program or reads one of its variables, the test's process is suspended. The call is
made in the program's process, and the result is copied back as plain Python types. The program
therefore cannot influence comparisons, ``assert``, or anything else that determines the result of
the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_monty import AsyncFunctionSnapshot, AsyncNameLookupSnapshot, MontyComplete

from archon.sandbox.program_session import ProgramSession, StepResult
from archon.sandbox.values import is_function, is_plain

_ARGUMENTS, _KEYWORDS = "archon_arguments", "archon_keywords"


async def run_test(test: str, program: ProgramSession, tester: ProgramSession) -> StepResult:
    """Run a test in ``tester`` against the definitions in ``program``.

    The test passes if it runs to its end, uses the program, and is not an expression with the value
    False. If the program exceeds a limit, the test fails and cannot catch the error.
    """
    has_used_program = False
    result = await tester.start(test)
    while result.kind == "ok" and not isinstance(result.value, MontyComplete):
        step = result.value
        if isinstance(step, AsyncNameLookupSnapshot):
            has_used_program = True
            result = await _look_up(step, program, tester)
        elif not isinstance(step, AsyncFunctionSnapshot):
            return StepResult("error", error="TypeError: a test cannot wait for the program")
        elif step.is_os_function:
            result = await tester.attempt(step.resume_not_handled)
        else:
            has_used_program = True
            result = await _call(step, program, tester)
    if result.kind != "ok":
        return result
    if not has_used_program:
        return StepResult("error", error="the test does not use the program")
    if result.value.output is False:
        return StepResult("error", error="the test is false")
    return StepResult("ok")


async def _call(
    step: AsyncFunctionSnapshot, program: ProgramSession, tester: ProgramSession
) -> StepResult:
    """Call the function in the program's process; resume the test with its result or exception."""
    name = str(step.function_name)
    assert name.isidentifier()
    if not is_plain(step.args) or not is_plain(step.kwargs):
        return await _refuse(step, tester, f"{name}() is called with values other than plain data")
    inputs = {_ARGUMENTS: list(step.args), _KEYWORDS: dict(step.kwargs)}
    called = await program.feed(f"{name}(*{_ARGUMENTS}, **{_KEYWORDS})", inputs)
    raised = called.exception
    if raised is not None:
        return await tester.attempt(lambda: step.resume({"exception": raised}))
    if called.kind != "ok":
        return called
    if not is_plain(called.value):
        return await _refuse(step, tester, f"{name}() returns a value other than plain data")
    return await tester.attempt(lambda: step.resume({"return_value": called.value}))


async def _refuse(step: AsyncFunctionSnapshot, tester: ProgramSession, reason: str) -> StepResult:
    return await tester.attempt(lambda: step.resume({"exception": TypeError(reason)}))


async def _look_up(
    step: AsyncNameLookupSnapshot, program: ProgramSession, tester: ProgramSession
) -> StepResult:
    """Resume the test with the value of a name in the program; a function becomes a stand-in."""
    found = await program.feed(step.variable_name)
    if found.kind == "error":
        return await tester.attempt(step.resume)
    if found.kind != "ok":
        return found
    if is_function(found.value):
        return await tester.attempt(lambda: step.resume(value=_stand_in(step.variable_name)))
    if not is_plain(found.value):
        return StepResult("error", error=f"TypeError: {step.variable_name} is not plain data")
    return await tester.attempt(lambda: step.resume(value=found.value))


def _stand_in(name: str) -> Callable[..., Any]:
    """Return a function with this name; calling it suspends the test's process."""

    def stand_in() -> None:
        raise AssertionError

    stand_in.__name__ = name
    return stand_in
