"""``code``: programs that pass the tests in their item's row, as in HumanEval and MBPP.

Programs run in the sandbox (``archon.sandbox``), whose interpreter knows a part of Python. With
the user's consent, they run in full Python instead (``archon.sandbox.full_python``). Without it, a
program that needs more than the sandbox is an error and not a wrong answer.
"""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from archon.errors import ScoringError
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup
from archon.graph.nodes.program_execution import shared_sandbox
from archon.sandbox import Checked, SandboxLimits
from archon.sandbox.full_python import check_in_full_python
from archon.spec.common import Name, StrictModel
from archon.spec.messages import shown

TEST_COLUMNS = ("test_list", "tests", "test")
_SETUP_COLUMNS = ("test_setup_code", "test_imports")


class CodeTests(StrictModel):
    """Parameters of ``code``."""

    tests: Name | None = Field(
        None,
        description="Column with the tests: Python code, or a list of it. By default the first of "
        "'test_list', 'tests' and 'test'. If the code defines check(), it is called with the "
        "function of the column 'entry_point'.",
    )
    entry_point: Name = Field("entry_point", description="Column with the function's name.")
    seconds: float = Field(5, gt=0, le=600, description="CPU time limit of a test.")


def _make(setup: Setup) -> Judge:
    parameters: CodeTests = setup.parameters
    limits = SandboxLimits(seconds=parameters.seconds, memory_bytes=256 << 20)
    sandbox = None if setup.allow_code_execution else shared_sandbox()

    async def judge(attempt: Attempt) -> Score:
        answer = attempt.read("code")
        if answer is None:
            return Score(0, None, "no program in the answer")
        preamble, tests = _tests(attempt, parameters)
        program = _complete(answer, attempt, parameters)
        program = f"{preamble}{program}"
        if sandbox is None:
            checked = await check_in_full_python(program, tests, limits=limits)
        else:
            checked = await sandbox.check(
                program, [f"{preamble}{test}" for test in tests], limits=limits
            )
            _check_support(checked, program)
        return _score(answer, tests, checked)

    return judge


def _score(answer: str, tests: Sequence[str], checked: Checked) -> Score:
    passed = checked.num_passed
    metrics = {"tests_passed": passed / len(tests)}
    if passed == len(tests):
        return Score(1, answer, f"passes all {len(tests)} tests", metrics)
    number, failed = next((i, t) for i, t in enumerate(checked.tests, 1) if t.kind != "ok")
    reason = f"passes {passed} of {len(tests)} tests; test {number}: {failed.error}"
    return Score(0, answer, reason, metrics)


def _tests(attempt: Attempt, parameters: CodeTests) -> tuple[str, list[str]]:
    """Return the code that precedes the program and the tests, and the tests of an item's row."""
    row = attempt.row
    names = TEST_COLUMNS if parameters.tests is None else (parameters.tests,)
    column = next((name for name in names if row.get(name)), None)
    if column is None:
        columns = ", ".join(row) or "none"
        raise ScoringError(
            f"the row has no tests in {' or '.join(map(shown, names))}; its other columns are "
            f"{columns}; name the column in the scorer's 'tests'"
        )
    setup = "".join(f"{line}\n" for name in _SETUP_COLUMNS for line in _lines(row, name))
    entry_point = row.get(parameters.entry_point)
    tests = []
    for test in _lines(row, column):
        if re.search(r"^def check\(", test, re.MULTILINE) and entry_point:
            test = f"{test}\n\ncheck({entry_point})"
        tests.append(test)
    return setup, tests


def _lines(row: Mapping[str, Any], name: str) -> list[str]:
    value = row.get(name) or []
    return [str(part) for part in (value if isinstance(value, list | tuple) else [value])]


def _complete(program: str, attempt: Attempt, parameters: CodeTests) -> str:
    """Add the beginning of a program that the question gives.

    If the answer only continues the question's function, that is all of the question. Otherwise it
    is what precedes the function, such as imports.
    """
    entry_point = attempt.row.get(parameters.entry_point)
    if not entry_point:
        return program
    defines = re.compile(rf"^(?:async )?def {re.escape(str(entry_point))}\b", re.MULTILINE)
    given = defines.search(attempt.question)
    if given is None:
        return program
    if defines.search(program) is None:
        body = (
            program
            if program[:1].isspace()
            else "".join(f"    {line}" for line in program.splitlines(keepends=True))
        )
        return f"{attempt.question.rstrip()}\n{body}"
    return f"{attempt.question[: given.start()]}\n{program}"


# ---------------------------------------------------------------------- limits of the sandbox

_MODULE = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_NAME = re.compile(r"NameError: name '(\w+)' is not defined")
_UNSUPPORTED = (
    "NotImplementedError: The monty ",
    "ImportError: cannot import name",
    "AttributeError: module ",
    "TypeError: a test cannot wait",
)
_NOT_PLAIN = ("other than plain data", "is not plain data")


def _check_support(checked: Checked, program: str) -> None:
    """Raise ``ScoringError`` if the sandbox, and not the program, is why a test failed."""
    for test in checked.tests:
        error = test.error or ""
        module, name = _MODULE.match(error), _NAME.match(error)
        needs_more = (
            (module and _exists(module[1]))
            or (name and hasattr(builtins, name[1]))
            or error.startswith(_UNSUPPORTED)
            or any(text in error for text in _NOT_PLAIN)
        )
        if needs_more:
            raise ScoringError(
                f"the program needs more of Python than the restricted sandbox has ({error}); "
                "--allow-code-execution runs programs in full Python, in a separate process"
            )


def _exists(module: str) -> bool:
    if module in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


SCORER_TYPES = (
    ScorerType(
        name="code",
        description="Right if the program passes all tests of its row, run in the sandbox.",
        kinds=("code",),
        make=_make,
        parameters=CodeTests,
        reads_row_targets=True,
        reads_row=True,
        is_async=True,
    ),
)
