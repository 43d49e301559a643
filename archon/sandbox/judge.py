"""Tests of a program that the program cannot cheat.

A test runs in a process of its own, in which the program has never been. Where the test calls a
function of the program, or reads one of its variables, its process stops and asks; the call is
made in the program's process, and its result comes back as a copy of Python's own plain types. So
comparisons, ``assert``, and all that decides about the test are out of the program's reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_monty import AsyncFunctionSnapshot, AsyncNameLookupSnapshot, MontyComplete

from archon.sandbox.session import Reply, Session
from archon.sandbox.values import is_function, is_plain

_ARGUMENTS, _KEYWORDS = "archon_arguments", "archon_keywords"


async def judge(test: str, program: Session, court: Session) -> Reply:
    """Run a test in ``court`` against what has been defined in ``program``.

    It passes if it comes to its end, has asked something of the program, and is no expression
    that is false. A limit that the program passes ends the test, which cannot catch it.
    """
    asked = False
    reply = await court.start(test)
    while reply.kind == "ok" and not isinstance(reply.value, MontyComplete):
        step = reply.value
        if isinstance(step, AsyncNameLookupSnapshot):
            asked = True
            reply = await _look_up(step, program, court)
        elif not isinstance(step, AsyncFunctionSnapshot):
            return Reply("error", error="TypeError: a test cannot wait for the program")
        elif step.is_os_function:
            reply = await court.attempt(step.resume_not_handled)
        else:
            asked = True
            reply = await _call(step, program, court)
    if reply.kind != "ok":
        return reply
    if not asked:
        return Reply("error", error="the test asks nothing of the program")
    if reply.value.output is False:
        return Reply("error", error="the test is false")
    return Reply("ok")


async def _call(step: AsyncFunctionSnapshot, program: Session, court: Session) -> Reply:
    """Make a call of the test in the program, and go on with its result or its exception."""
    name = str(step.function_name)
    assert name.isidentifier()
    if not is_plain(step.args) or not is_plain(step.kwargs):
        return await _refuse(step, court, f"{name}() is called with no plain values")
    inputs = {_ARGUMENTS: list(step.args), _KEYWORDS: dict(step.kwargs)}
    called = await program.feed(f"{name}(*{_ARGUMENTS}, **{_KEYWORDS})", inputs)
    raised = called.exception
    if raised is not None:
        return await court.attempt(lambda: step.resume({"exception": raised}))
    if called.kind != "ok":
        return called
    if not is_plain(called.value):
        return await _refuse(step, court, f"{name}() returns no plain value")
    return await court.attempt(lambda: step.resume({"return_value": called.value}))


async def _refuse(step: AsyncFunctionSnapshot, court: Session, reason: str) -> Reply:
    return await court.attempt(lambda: step.resume({"exception": TypeError(reason)}))


async def _look_up(step: AsyncNameLookupSnapshot, program: Session, court: Session) -> Reply:
    """Go on with the program's value of a name; a function stays where it is and can be called."""
    found = await program.feed(step.variable_name)
    if found.kind == "error":
        return await court.attempt(step.resume)
    if found.kind != "ok":
        return found
    if is_function(found.value):
        return await court.attempt(lambda: step.resume(value=_stand_in(step.variable_name)))
    if not is_plain(found.value):
        return Reply("error", error=f"TypeError: {step.variable_name} is no plain value")
    return await court.attempt(lambda: step.resume(value=found.value))


def _stand_in(name: str) -> Callable[..., Any]:
    """What the test's process takes for a function of this name, and asks for when it is called."""

    def stand_in() -> None:
        raise AssertionError

    stand_in.__name__ = name
    return stand_in
