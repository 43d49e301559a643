"""``code``: tests in the row decide; programs cannot pass by ending early or by escaping."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from scorer_doubles import check_size, score_of, scorer_of

from archon.errors import ScoringError
from archon.evals.scorers import Scorer, find_scorers
from archon.spec.benchmark import BenchmarkCard

pytest.importorskip("pydantic_monty")

ADD = {"test_list": ["assert add(2, 3) == 5", "assert add(-1, 1) == 0"]}
CHECK = {
    "entry_point": "add",
    "test": "def check(f):\n    assert f(2, 3) == 5\n    assert f(0, 0) == 0",
}
RIGHT = [
    "def add(a, b):\n    return a + b",
    "def add(a, b):\n    return b + a",
    "def add(x, y):\n    total = x\n    total += y\n    return total",
    "add = lambda a, b: a + b",
    "def add(*numbers):\n    return sum(numbers)",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "def add(a, b, c=0):\n    return a + b + c",
    "import math\ndef add(a, b):\n    return math.floor(a + b)",
    "def plus(a, b):\n    return a + b\ndef add(a, b):\n    return plus(a, b)",
    "def add(a, b):\n    return [a + b][0]",
    "def add(a, b):\n    return int(str(a + b))",
    "def add(a, b):\n    return a - -b",
]
WRONG = [
    "def add(a, b):\n    return a - b",
    "def add(a, b):\n    return None",
    "def add(a, b):\n    return '5'",
    "def add(a):\n    return a",
    "def sub(a, b):\n    return a + b",
    "def add(a, b)\n    return a + b",
    "def add(a, b):\n    raise ValueError",
    "def add(a, b):\n    while True: pass",
    "def add(a, b):\n    return 5",
    "x = 1",
    "I cannot write this.",
    "def add(a, b):\n    return add(a, b)",
    "1 / 0\ndef add(a, b):\n    return a + b",
]


def full_python() -> Scorer:
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}, "answer": "code"}
    given = {"name": "code", "seconds": 1}
    return find_scorers(
        BenchmarkCard.model_validate(card), given=[given], allow_code_execution=True
    )[0]


def restricted() -> Scorer:
    return scorer_of({"name": "code", "seconds": 0.3})


check_size(RIGHT, WRONG, RIGHT, WRONG)


@pytest.mark.parametrize("row", [ADD, CHECK], ids=["asserts", "check"])
async def test_programs_pass_or_fail(row: dict[str, object]) -> None:
    scorer = restricted()
    for program in RIGHT:
        score = await score_of(scorer, f"```python\n{program}\n```", "", row=row)
        assert (score.value, score.metrics["tests_passed"]) == (1, 1), score.explanation
    for program in WRONG:
        score = await score_of(scorer, f"```python\n{program}\n```", "", row=row)
        assert score.value == 0, program
        assert "test" in score.explanation


async def test_passed_tests_are_a_metric() -> None:
    score = await score_of(restricted(), "def add(a, b):\n    return 5", "", row=ADD)
    assert (score.value, dict(score.metrics)) == (0, {"tests_passed": 0.5})


async def test_the_beginning_in_the_question_is_completed() -> None:
    question = "from typing import List\n\ndef add(a, b):\n    '''Add.'''\n"
    for text in ("return a + b", "    return a + b", "def add(a, b):\n    return a + b"):
        score = await score_of(restricted(), text, "", row=CHECK, question=question)
        assert score.value == 1, (text, score.explanation)


async def test_code_before_the_tests_is_run_for_program_and_tests() -> None:
    row = ADD | {"test_setup_code": "five = 5", "test_list": ["assert add(2, 3) == five"]}
    assert (await score_of(restricted(), RIGHT[0], "", row=row)).value == 1


async def test_a_row_without_tests_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(ScoringError, match=r"no tests in 'test_list' or .* columns are subject"):
        await score_of(restricted(), RIGHT[0], "", row={"subject": "x"})


NEEDS_MORE = [
    "import heapq\ndef add(a, b):\n    return a + b",
    "def add(a, b):\n    import heapq\n    return a + b",
    "def add(a, b):\n    yield a\n",
]


@pytest.mark.parametrize("program", NEEDS_MORE)
async def test_without_consent_the_error_explains(program: str) -> None:
    with pytest.raises(ScoringError, match=r"restricted sandbox.*--allow-code-execution"):
        await score_of(restricted(), program, "", row=ADD)


# Each must end before its last line, or fail a test.
ESCAPES = [
    "import sys\nsys.exit(0)",
    "import os\nos._exit(0)",
    "import os\nos.abort()",
    "while True: pass",
    "x = ' ' * (1 << 40)",
    "import os\nos.fork()",
    "import subprocess\nsubprocess.run(['true'], check=True)",
    "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1)",
    "open('/etc/archon-escaped', 'w').write('x')",
    "import os\nos.environ['ARCHON_SECRET']",
    "import os\nos.listdir(os.getcwd())[0]",
    "open('big', 'w').write('x' * (1 << 26))",
    "import os\nos.kill(PARENT, 0)",
    "import os\nos.setuid(0)\nassert os.getuid()",
    'print(\'{"nonce": "", "program": null, "tests": [null, null]}\')\nimport os\nos._exit(0)',
]


async def test_full_python_runs_what_the_sandbox_does_not_know() -> None:
    for program in ("import heapq\nclass A:\n    pass\ndef add(a, b):\n    return a + b", RIGHT[0]):
        score = await score_of(full_python(), program, "", row=ADD)
        assert score.value == 1, score.explanation
    assert (await score_of(full_python(), WRONG[0], "", row=CHECK)).value == 0


@pytest.mark.parametrize("escape", ESCAPES)
async def test_programs_cannot_escape_or_pass_early(
    escape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHON_SECRET", "a-secret")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, parent = str(server.getsockname()[1]), str(os.getpid())
        program = escape.replace("PORT", port).replace("PARENT", parent)
        score = await score_of(full_python(), f"{program}\n{RIGHT[0]}", "", row=ADD)
    assert score.value == 0, score.explanation
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert "archon-escaped" not in os.listdir("/etc")  # noqa: PTH208


async def test_megabytes_are_no_program() -> None:
    for text in ("x = 1\n" * 200_000, "(" * 1_000_000):
        for scorer in (restricted(), full_python()):
            assert (await score_of(scorer, text, "", row=ADD)).value == 0
