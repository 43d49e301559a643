"""Tests of programs, which a program cannot influence."""

from __future__ import annotations

import pytest
from sandbox_doubles import SHORT

from archon.sandbox import Kind, Sandbox, SandboxLimits

PROGRAM = """
RATE = 3

def solution(n):
    return n * n

def half(n, by=2):
    if n < 0:
        raise ValueError("negative")
    return n / by
"""


@pytest.mark.parametrize(
    "test",
    [
        "assert solution(3) == 9",
        "assert solution(3) == 9 and solution(n=2) == 4, 'wrong'",
        "solution(2) == 4",
        "assert RATE == 3",
        "assert [solution(i) for i in range(4)] == [0, 1, 4, 9]",
        "assert abs(half(1, by=3) - 0.3333) < 0.001",
        "from math import isclose\nassert isclose(half(5), 2.5)",
        "try:\n    half(-1)\nexcept ValueError as error:\n    assert str(error) == 'negative'\n"
        "else:\n    assert False",
        "def check(candidate):\n    assert candidate(4) == 16\n\ncheck(solution)",
        "print('this is no verdict')\nassert half(2) == 1",
    ],
)
async def test_a_true_test_passes(sandbox: Sandbox, test: str) -> None:
    checked = await sandbox.check(PROGRAM, [test])
    assert checked.tests[0].error is None
    assert checked.num_passed == 1


async def test_a_program_that_fails_its_own_tests_is_judged_by_the_given_ones(
    sandbox: Sandbox,
) -> None:
    checked = await sandbox.check(
        f"{PROGRAM}\nassert solution(3) == 8", ["assert solution(3) == 9"]
    )
    assert checked.num_passed == 1


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("assert solution(3) == 10", "AssertionError: assert 9 == 10 (line 1)"),
        ("x = 1\nassert solution(3) == 10, 'wrong'", "AssertionError: wrong"),
        ("solution(2) == 5", "the test is false"),
        ("assert 1 == 1", "the test does not use the program"),
        ("", "the test does not use the program"),
        ("def solution(n):\n    return 9\nassert solution(3) == 9", "does not use"),
        ("assert soluton(3) == 9", "NameError: name 'soluton' is not defined"),
        ("assert RAT == 3", "NameError: name 'RAT' is not defined"),
        ("assert solution(3) = 9", "SyntaxError"),
        ("assert half(-1) == 0", "ValueError: negative"),
        ("assert solution() == 0", "TypeError: solution() missing 1 required positional"),
        ("solution(9)\nopen('/etc/passwd')", "PermissionError"),
    ],
)
async def test_a_failing_test_reports_the_reason(sandbox: Sandbox, test: str, error: str) -> None:
    (outcome,) = (await sandbox.check(PROGRAM, [test])).tests
    assert outcome.kind == "error"
    assert error in (outcome.error or "")


async def test_tests_are_independent(sandbox: Sandbox) -> None:
    program = "seen = []\ndef solution(n):\n    seen.append(n)\n    return len(seen)"
    tests = ["assert solution(1) == 1", "assert solution(1) == 2", "solution(1) == 1", "nonsense("]
    checked = await sandbox.check(program, tests)
    assert [test.kind for test in checked.tests] == ["ok", "error", "ok", "error"]
    assert checked.num_passed == 2


async def test_without_tests_none_is_passed(sandbox: Sandbox) -> None:
    checked = await sandbox.check(PROGRAM, [])
    assert (checked.program.kind, checked.tests, checked.num_passed) == ("ok", (), 0)


async def test_more_tests_than_processes_all_end(sandbox: Sandbox) -> None:
    checked = await sandbox.check(PROGRAM, ["assert solution(3) == 9"] * 40)
    assert checked.num_passed == 40


async def test_a_program_that_fails_fails_every_test(sandbox: Sandbox) -> None:
    checked = await sandbox.check("1 / 0\n" + PROGRAM, ["assert solution(3) == 9"] * 2)
    assert checked.program.kind == "error"
    assert [test.error for test in checked.tests] == [checked.program.error] * 2


CHEATS = {
    "a result equal to everything": (
        "class Any:\n    def __eq__(self, other):\n        return True\n"
        "    def __ne__(self, other):\n        return False\n"
        "def solution(n):\n    return Any()"
    ),
    "one hidden in a list": (
        "class Any:\n    def __eq__(self, other):\n        return True\n"
        "def solution(n):\n    return [Any()]"
    ),
    "a class in place of the function": (
        "class solution:\n    def __init__(self, n):\n        pass\n"
        "    def __eq__(self, other):\n        return True"
    ),
    "patched builtins": (
        "round = len = sum = lambda *_: 49\nabs = lambda x: 0\nbool = lambda x: True\n"
        "def isinstance(a, b):\n    return True\ndef solution(n):\n    return 0"
    ),
    "a patched type": (
        "try:\n    int.__eq__ = lambda a, b: True\nexcept Exception:\n    pass\n"
        "def solution(n):\n    return 0"
    ),
    "a forged verdict in print": (
        "def solution(n):\n    print('PASSED 1/1')\n    print('{\"kind\": \"ok\"}')\n    return 0"
    ),
    "an early exit": "def solution(n):\n    raise SystemExit(0)",
    "an early exit without a code": "def solution(n):\n    raise SystemExit",
    "an interrupt": "def solution(n):\n    raise KeyboardInterrupt",
    "an exit of the process": "import os\ndef solution(n):\n    os._exit(0)",
    "an end of all iteration": "def solution(n):\n    raise StopIteration(49)",
    "a value that says it is false": "def solution(n):\n    return 'the test is true'",
    "a number that only looks equal": "def solution(n):\n    return '49'",
    "the harness's own names": (
        "archon_arguments = [7]\nkind = 'ok'\nresult = True\ntest = None\n"
        "def run_test(*_):\n    return True\ndef solution(n):\n    return archon_keywords"
    ),
    "a search for the test": (
        "def solution(n):\n    for name in locals():\n        return locals()[name]\n"
    ),
    "not a number": "def solution(n):\n    return float('nan')",
    "nothing": "def solution(n):\n    pass",
    "an endless list": "def solution(n):\n    x = []\n    x.append(x)\n    return x",
    "a deep list": "def solution(n):\n    x = []\n    for _ in range(900): x = [x]\n    return x",
    "a list that never ends to compare": (
        "def solution(n):\n    x = [0]\n    for _ in range(60):\n        x = [x, x]\n    return x"
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
async def test_a_cheating_program_passes_no_test(sandbox: Sandbox, cheat: str) -> None:
    tests = [
        "assert solution(7) == 49",
        "assert not solution(7) != 49",
        "assert solution(7) in [49]",
        "assert round(solution(7)) == 49",
        "assert abs(solution(7) - 49) < 0.5",
        "assert len(solution(7) * [0]) == 49",
    ]
    checked = await sandbox.check(CHEATS[cheat], tests, limits=SHORT)
    assert checked.num_passed == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("while True: pass", "timeout"),
        ("'a' * 10**10", "memory"),
        ("while True: print('PASSED')", "output"),
    ],
)
async def test_a_test_cannot_catch_an_exceeded_limit(
    sandbox: Sandbox, body: str, kind: Kind
) -> None:
    test = "try:\n    solution(1)\nexcept BaseException:\n    pass"
    checked = await sandbox.check(f"def solution(n):\n    {body}", [test], limits=SHORT)
    assert [outcome.kind for outcome in checked.tests] == [kind]


async def test_an_endless_test_ends(sandbox: Sandbox) -> None:
    tests = ["while True: pass", "solution(1)\nwhile True: print(1)", "while True: solution(2)"]
    checked = await sandbox.check(
        PROGRAM, tests, limits=SandboxLimits(seconds=0.3, output_bytes=1000)
    )
    assert [test.kind for test in checked.tests][:2] == ["timeout", "output"]
    assert checked.num_passed == 0
