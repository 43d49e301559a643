"""The worker processes of the sandbox: they may die, and none remains."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandbox_doubles import SHORT, kernel_limit, num_open_files, serving, workers, zombies

from archon.sandbox import Outcome, Sandbox, SandboxLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

ENDLESS = "while True: pass"
PATIENCE_SECONDS = 20


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until a condition is true, with a timeout."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_ends_with_its_run(sandbox: Sandbox) -> None:
    for code in ("1", "1 / 0", "'a' * 10 ** 10", "exec('x = 1\\n' * 10 ** 6)"):
        await sandbox.run(code)
        assert not workers() + zombies()


async def test_a_cancelled_run_ends_its_process(sandbox: Sandbox) -> None:
    run = asyncio.create_task(sandbox.run(ENDLESS, limits=SandboxLimits(seconds=600)))
    await until(lambda: len(serving()) == 1)
    await cancelled(run)
    assert not workers()


async def test_a_cancelled_check_ends_both_its_processes(sandbox: Sandbox) -> None:
    program = "def solution():\n    while True: pass"
    check = asyncio.create_task(
        sandbox.check(program, ["solution()"], limits=SandboxLimits(seconds=600))
    )
    await until(lambda: len(serving()) == 2)
    await cancelled(check)
    assert not workers()


async def test_a_waiting_run_can_be_cancelled(sandbox: Sandbox) -> None:
    limits = SandboxLimits(seconds=600)
    runs = [asyncio.create_task(sandbox.run(ENDLESS, limits=limits)) for _ in range(6)]
    await until(lambda: len(serving()) == 2)
    for run in reversed(runs):
        run.cancel()
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert not workers()
    assert (await sandbox.run("1")).value == 1


async def test_runs_cancelled_at_any_moment_leave_no_process(sandbox: Sandbox) -> None:
    held = []
    for number in range(120):
        run = asyncio.create_task(sandbox.run(ENDLESS))
        await asyncio.sleep(number % 30 * 0.0003)
        run.cancel()
        held.append(run)
    await asyncio.wait(held)
    assert not workers()
    assert [(await sandbox.run("1")).value for _ in range(3)] == [1, 1, 1]
    await until(lambda: not zombies())


@pytest.mark.parametrize(("name", "kind"), [("SIGKILL", "killed"), ("SIGSTOP", "timeout")])
async def test_a_process_may_die_or_hang(sandbox: Sandbox, name: str, kind: str) -> None:
    run = asyncio.create_task(sandbox.run(ENDLESS, limits=SandboxLimits(seconds=1)))
    await until(lambda: len(serving()) == 1)
    os.kill(serving()[0], signal.Signals[name])
    outcome = await run
    assert outcome.kind == kind
    assert outcome.error
    assert (await sandbox.run("1")).value == 1
    assert not workers()


async def test_a_process_that_dies_does_not_affect_others(sandbox: Sandbox) -> None:
    other = asyncio.create_task(sandbox.run("x = 0\nwhile x < 10 ** 6: x += 1\nx"))
    for code in ("'a' * 10 ** 10", "print('x' * 10 ** 6)", "exec('x = 1\\n' * 10 ** 6)"):
        assert (await sandbox.run(code)).kind in ("memory", "output")
    assert (await other).value == 10**6


async def test_no_more_programs_run_at_a_time_than_allowed(sandbox: Sandbox) -> None:
    start = time.monotonic()
    outcomes = await asyncio.gather(*(sandbox.run(ENDLESS, limits=SHORT) for _ in range(6)))
    assert [outcome.kind for outcome in outcomes] == ["timeout"] * 6
    assert time.monotonic() - start >= 3 * SHORT.seconds


async def test_the_kernel_limits_the_process_too(sandbox: Sandbox) -> None:
    limits = SandboxLimits(seconds=600, memory_bytes=8 << 20)
    run = asyncio.create_task(sandbox.run(ENDLESS, limits=limits))
    await until(lambda: len(serving()) == 1)
    (pid,) = serving()
    assert kernel_limit(pid, "Max processes") == "0"
    assert kernel_limit(pid, "Max cpu time") == "601"
    assert kernel_limit(pid, "Max address space") == str((256 + 16) << 20)
    assert environment(pid) == b""
    await cancelled(run)


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_many_runs_leave_no_process_and_no_file_open(sandbox: Sandbox) -> None:
    endings = ["1", "1 / 0", "print('x' * 10 ** 6)", "'a' * 10 ** 10", ENDLESS]

    async def one(number: int) -> None:
        code = endings[number % len(endings)]
        if number % 3:
            await sandbox.run(code, limits=SandboxLimits(seconds=0.02))
            return
        run = asyncio.create_task(sandbox.run(ENDLESS))
        await asyncio.sleep(0.005)
        run.cancel()
        await asyncio.wait([run])

    await one(0)
    before = num_open_files()
    for start in range(0, 200, 4):
        await asyncio.gather(*(one(start + i) for i in range(4)))
    await sandbox.run("1")
    assert not workers()
    await until(lambda: not zombies())
    await until(lambda: num_open_files() <= before)


def test_loops_of_several_threads_share_a_sandbox(sandbox: Sandbox) -> None:
    outcomes: list[Outcome] = []

    async def some(start: int) -> None:
        outcomes.extend(await asyncio.gather(*(sandbox.run(f"{start} + {i}") for i in range(8))))

    threads = [threading.Thread(target=lambda n=n: asyncio.run(some(n * 8))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(str(outcome.value)) for outcome in outcomes) == list(range(32))


def test_a_closed_loop_does_not_affect_the_next(sandbox: Sandbox) -> None:
    async def leave() -> None:
        run = asyncio.create_task(sandbox.run(ENDLESS))
        await until(lambda: len(serving()) == 1)
        assert not run.done()

    asyncio.run(leave())
    assert asyncio.run(sandbox.run("1")).value == 1


SCRIPT = """
import asyncio, os, sys, threading
sys.path.insert(0, {folder!r})
from sandbox_doubles import workers
from archon.sandbox import SandboxLimits, Sandbox

limits = SandboxLimits(seconds={seconds})
run = lambda: asyncio.run(Sandbox(1).run("while True: pass", limits=limits))
threading.Thread(target=run, daemon=True).start()
while not workers():
    pass
print(*workers(), flush=True)
{end}
"""


@pytest.mark.parametrize(
    ("end", "seconds"),
    [("", 600), ("os._exit(0)", 0.5), ("os.kill(os.getpid(), 9)", 0.5)],
    ids=["returns", "exits at once", "is killed"],
)
def test_the_end_of_the_interpreter_leaves_no_process(end: str, seconds: float) -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent), seconds=seconds, end=end)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    (pid,) = done.stdout.split()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _is_worker(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_worker(pid)


def _is_worker(pid: str) -> bool:
    try:
        return (Path("/proc") / pid / "comm").read_text() == "monty\n"
    except OSError:
        return False
