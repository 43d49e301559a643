"""Run candidates' programs, and convert their results to values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache

from archon import answers
from archon.answers.kinds import ANSWER_TYPES
from archon.errors import BudgetError
from archon.forks import reset_in_child
from archon.graph.nodes.base import NodeContext
from archon.lm.concurrency import run_all
from archon.sandbox import Json, Outcome, Sandbox, SandboxLimits
from archon.types import AnswerKind

ProgramResult = Outcome | BudgetError
"""The outcome of a program, or an error if the question's time ran out before the program ended."""

_DIGITS = 12
_EXACT_DIGITS = 15
"""Decimals with up to this number of significant digits are all distinct as floats."""


@cache
def shared_sandbox() -> Sandbox:
    """Return the sandbox that all architectures of this process share.

    It limits how many programs run at the same time. It does not have to be closed, because it uses
    resources only while a program runs.

    Raises
    ------
    MissingExtraError
        The interpreter is not installed.
    """
    return Sandbox()


reset_in_child(shared_sandbox.cache_clear)  # a child does not share its parent's slots


async def run_programs(
    context: NodeContext, sandbox: Sandbox, limits: SandboxLimits, codes: Sequence[str]
) -> Mapping[str, ProgramResult]:
    """Run each distinct program once, concurrently; return program → result.

    Raises
    ------
    SandboxError
        The sandbox cannot start a process.
    """

    async def run(code: str) -> ProgramResult:
        try:
            return await context.in_time(sandbox.run_program(code, limits=limits))
        except BudgetError as error:
            return error

    distinct = list(dict.fromkeys(codes))
    return dict(zip(distinct, await run_all(map(run, distinct)), strict=True))


def value_of(result: Json, kind: AnswerKind, choices: tuple[str, ...] = ()) -> str | None:
    """Return the canonical value of a program's result; None if it is not of kind ``kind``.

    Fractional digits are rounded to 12 significant digits, which removes errors of floating-point
    arithmetic; integer digits are never rounded. A string is read like the text of an answer. For a
    choice, it may be the letter or the text of an option.

    >>> [value_of(result, "number") for result in (12.0, 0.1 + 0.2, 1 / 3, "18 apples", True)]
    ['12', '0.3', '0.333333333333', '18', None]
    """
    declared = ANSWER_TYPES[kind]
    if result is None or (declared.is_number and isinstance(result, bool | list | dict)):
        return None
    if isinstance(result, bool | list | dict):
        return answers.read_answer(json.dumps(result, ensure_ascii=False), kind, choices=choices)
    if isinstance(result, int | float):
        number = str(result) if isinstance(result, int) else answers.canonical_number(repr(result))
        number = _rounded(number)
        if declared.has_options and number is not None:
            return answers.read_answer(number, kind, choices=choices)
        return number
    if declared.is_number:
        return _rounded(answers.canonical_number(result) or answers.read_answer(result, kind))
    value = answers.read_answer(result, kind, choices=choices)
    if value is None:  # in JSON, a string without quotes
        return answers.read_answer(json.dumps(result, ensure_ascii=False), kind, choices=choices)
    return value


def _rounded(value: str | None) -> str | None:
    if value is None or "." not in value:
        return value
    num_integer_digits = len(value.partition(".")[0].lstrip("-0"))
    if num_integer_digits >= _EXACT_DIGITS:
        return value
    return answers.canonical_number(f"{float(value):.{max(_DIGITS, num_integer_digits)}g}")
