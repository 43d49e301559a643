"""Programs that candidates hold: where they run, and what their results mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache

from archon import answers
from archon.errors import BudgetError
from archon.forks import reset_in_child
from archon.graph.nodes.base import NodeContext
from archon.lm.concurrency import run_all
from archon.sandbox import Json, Outcome, Sandbox, SandboxLimits
from archon.types import AnswerKind

Ran = Outcome | BudgetError
"""What came of a program; an error where the question's time was up before."""

_DIGITS = 12
_EXACT_DIGITS = 15
"""Any decimal of so many digits has a float of its own."""


@cache
def shared_sandbox() -> Sandbox:
    """The one of this process, so that all architectures together run a bounded number of programs.

    It is never closed: while no program runs it holds nothing.

    Raises
    ------
    MissingExtraError
        The interpreter is not installed.
    """
    return Sandbox()


reset_in_child(shared_sandbox.cache_clear)  # the parent's programs take none of a child's slots


async def run_programs(
    context: NodeContext, sandbox: Sandbox, limits: SandboxLimits, codes: Sequence[str]
) -> Mapping[str, Ran]:
    """What came of each program. Equal ones are run once: the program alone decides about it.

    Raises
    ------
    SandboxError
        No process can be started.
    """

    async def run(code: str) -> Ran:
        try:
            return await context.in_time(sandbox.run_program(code, limits=limits))
        except BudgetError as error:
            return error

    distinct = list(dict.fromkeys(codes))
    return dict(zip(distinct, await run_all(map(run, distinct)), strict=True))


def value_of(result: Json, kind: AnswerKind) -> str | None:
    """The canonical value of a program's result, or None if it is none of the kind.

    Decimals are rounded to 12 significant digits, which takes away what binary fractions add, but
    never to more than units. A text is read as the text of an answer is.

    >>> [value_of(result, "number") for result in (12.0, 0.1 + 0.2, 1 / 3, "18 apples", True)]
    ['12', '0.3', '0.333333333333', '18', None]
    """
    if result is None or (kind == "number" and isinstance(result, bool | list | dict)):
        return None
    if isinstance(result, bool | list | dict):
        return answers.read_answer(json.dumps(result, ensure_ascii=False), kind)
    if isinstance(result, int):
        return str(result)
    if isinstance(result, float):
        return _rounded(answers.canonical_number(repr(result)))
    if kind == "number":
        return _rounded(answers.canonical_number(result) or answers.read_answer(result, kind))
    return answers.read_answer(result, kind)


def _rounded(value: str | None) -> str | None:
    if value is None or "." not in value:
        return value
    whole = len(value.partition(".")[0].lstrip("-0"))
    if whole >= _EXACT_DIGITS:
        return value
    return answers.canonical_number(f"{float(value):.{max(_DIGITS, whole)}g}")
