"""The value of a program, and the error of a program without one."""

from __future__ import annotations

import asyncio
import sys

import pytest
from sandbox_doubles import SHORT
from typical_programs import SUPPORTED, UNSUPPORTED

from archon.errors import MissingExtraError, SandboxError
from archon.sandbox import Kind, Outcome, Sandbox, SandboxLimits


@pytest.mark.parametrize("name", SUPPORTED)
async def test_a_typical_program_has_the_expected_value(sandbox: Sandbox, name: str) -> None:
    code, value = SUPPORTED[name]
    outcome = await sandbox.run_program(code)
    assert (outcome.kind, outcome.error) == ("ok", None)
    assert outcome.value == value
    assert type(outcome.value) is type(value)


@pytest.mark.parametrize("name", UNSUPPORTED)
async def test_a_feature_that_the_interpreter_lacks_is_named_in_the_error(
    sandbox: Sandbox, name: str
) -> None:
    code, missing = UNSUPPORTED[name]
    outcome = await sandbox.run_program(code)
    assert outcome.kind == "error"
    assert missing in (outcome.error or "")


@pytest.mark.parametrize(
    "beneath",
    [
        "# Check\nassert solution() == 8, 'wrong'",
        "def check():\n    assert solution() == 8\n\ncheck()",
        "print(solution(",
        "import numpy",
        "while True:\n    pass",
    ],
)
async def test_a_failure_after_the_solution_is_ignored(sandbox: Sandbox, beneath: str) -> None:
    code = f"RATE = 7\n\ndef solution(\n):\n    # seven\n    return RATE\n\n{beneath}"
    outcome = await sandbox.run_program(code, limits=SHORT)
    assert (outcome.kind, outcome.value) == ("ok", 7)


async def test_a_solution_may_call_functions_defined_after_it(sandbox: Sandbox) -> None:
    code = "def solution():\n    return half(8)\n\ndef half(n):\n    return n / 2"
    assert (await sandbox.run_program(code)).value == 4


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("def solution():\n    return 1\nanswer = 2\nprint(3)\n4", 1),
        ("answer = 2\nprint(3)\n4", 4),
        ("answer = 2\nprint(3)", 2),
        ("print(1)\nprint(3)\nprint()", "3"),
        ("def solution():\n    print(5)\nsolution()", "5"),
        ("def solution(n):\n    return n\nanswer = solution(6)", 6),
        ("def solution(n):\n    return n\nprint(solution(7))", "7"),
        ("solution = 8\nprint(solution + 1)", "9"),
        ("def answer():\n    return 1\nprint(2)", "2"),
        ("solution = lambda: 3", 3),
        ("x = 1", None),
        ("", None),
        ("# nothing but a comment", None),
    ],
)
async def test_the_answer_is_the_first_available_value(
    sandbox: Sandbox, code: str, value: object
) -> None:
    outcome = await sandbox.run_program(code)
    assert (outcome.kind, outcome.value) == ("ok", value)


async def test_a_solution_that_fails_is_an_error_whatever_was_printed(sandbox: Sandbox) -> None:
    code = "def solution():\n    x = 1\n    return x / 0\nanswer = 5\nprint(5)"
    outcome = await sandbox.run_program(code)
    assert outcome.kind == "error"
    assert outcome.value is None
    assert outcome.stdout == "5\n"
    assert outcome.error == "ZeroDivisionError: division by zero (line 3)"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("x = 1\ny = = 2", "SyntaxError: Expected an expression (line 2)"),
        ("\n\nundefined", "NameError: name 'undefined' is not defined (line 3)"),
        ("raise ValueError('no ' * 9)", "ValueError: no no no no no no no no no  (line 1)"),
    ],
)
async def test_an_error_names_type_message_and_line(
    sandbox: Sandbox, code: str, error: str
) -> None:
    assert (await sandbox.run(code)).error == error


async def test_the_text_of_an_error_is_truncated(sandbox: Sandbox) -> None:
    outcome = await sandbox.run("raise ValueError('x' * 100000)")
    assert len(outcome.error or "") < 600


async def test_run_sets_inputs_and_returns_the_last_expression(sandbox: Sandbox) -> None:
    outcome = await sandbox.run(
        "print(len(words))\nsum(numbers)", inputs={"numbers": [1, 2.5], "words": {"a": None}}
    )
    assert (outcome.value, outcome.stdout) == (3.5, "1\n")


async def test_a_program_has_the_same_value_in_every_process(sandbox: Sandbox) -> None:
    code = (
        "import random, time, datetime\n"
        "random.shuffle(x := list(range(9)))\n"
        "[random.random(), x, list({'a', 'b', 'c'}), time.time(), str(datetime.datetime.now())]"
    )
    first, second = await sandbox.run(code), await sandbox.run(code)
    assert first.kind == "ok"
    assert first.value == second.value


async def test_programs_share_no_state(sandbox: Sandbox) -> None:
    await sandbox.run("left = 1\nlen = 2\nimport math\nmath.left = 3")
    outcome = await sandbox.run("[len([1]), left]")
    assert outcome.error == "NameError: name 'left' is not defined (line 1)"


async def test_sleeping_takes_no_time(sandbox: Sandbox) -> None:
    outcome = await sandbox.run("import time\ntime.sleep(1000)\n1")
    assert outcome.value == 1
    assert outcome.seconds < 60


@pytest.mark.parametrize(
    ("limits", "code", "kind", "error"),
    [
        (SandboxLimits(seconds=0.1), "while True: pass", "timeout", "more than 0.1 seconds"),
        (SandboxLimits(memory_bytes=8 << 20), "[0] * 10**7", "memory", "more than 8,388,608 bytes"),
        (
            SandboxLimits(output_bytes=9),
            "print('0123456789')",
            "output",
            "printed more than 9 bytes",
        ),
        (SandboxLimits(output_bytes=9), "'0123456789'", "output", "value has more than 9 bytes"),
        (SandboxLimits(code_bytes=9), "123456 + 78", "error", "11 bytes; 9 are allowed"),
    ],
)
async def test_an_exceeded_limit_is_named(
    sandbox: Sandbox, limits: SandboxLimits, code: str, kind: Kind, error: str
) -> None:
    outcome = await sandbox.run(code, limits=limits)
    assert outcome.kind == kind
    assert error in (outcome.error or "")


async def test_time_is_counted_over_all_pieces_of_a_program(sandbox: Sandbox) -> None:
    code = "def solution():\n    while True: pass\nfor _ in range(10**5): pass"
    outcome = await sandbox.run_program(code, limits=SandboxLimits(seconds=0.3))
    assert outcome.kind == "timeout"


async def test_output_is_truncated_at_the_limit(sandbox: Sandbox) -> None:
    outcome = await sandbox.run("while True: print('ab')", limits=SandboxLimits(output_bytes=7))
    assert outcome.stdout == "ab\nab\na"


async def test_a_closed_sandbox_refuses_programs() -> None:
    async with Sandbox(max_programs=1) as sandbox:
        assert await sandbox.run("1") == Outcome("ok", 1, seconds=pytest.approx(0, abs=60))
    with pytest.raises(SandboxError, match="closed"):
        await sandbox.run("1")


async def test_a_program_that_waits_for_a_closed_sandbox_is_refused() -> None:
    sandbox = Sandbox(max_programs=1)
    runs = [asyncio.create_task(sandbox.run("while True: pass", limits=SHORT)) for _ in range(2)]
    await asyncio.sleep(0)
    await sandbox.aclose()
    first, second = await asyncio.gather(*runs, return_exceptions=True)
    assert isinstance(first, Outcome)
    assert first.kind == "timeout"
    assert isinstance(second, SandboxError)


async def test_a_process_that_does_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    with pytest.raises(SandboxError, match="cannot start a sandbox process"):
        await Sandbox(max_programs=1).run("1")


def test_a_missing_interpreter_is_the_users_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingExtraError, match=r"archon-inference\[sandbox\]"):
        Sandbox()


def test_a_missing_program_file_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pydantic_monty._binary._script_dirs", list)
    with pytest.raises(MissingExtraError, match=r"archon-inference\[sandbox\]"):
        Sandbox()
