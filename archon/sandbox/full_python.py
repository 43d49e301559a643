"""Run programs and their tests in full Python, in a separate and restricted process.

The interpreter of the sandbox supports a part of Python. Programs that need more, such as all of
the standard library, run here if the user allows it. This is weaker than the sandbox: the process
has limits on CPU time, memory, files and child processes, no network and no view of other processes
(Linux namespaces, if ``unshare`` works), an empty environment and a temporary working folder. If
the parent is root, it runs as the user *nobody*, and it never runs as root. Otherwise it can read
and delete whatever the user can, and so hostile programs should only run in a container.

A program shares its process with its tests. It can therefore not be prevented from forging their
results, but it cannot pass by ending early.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from archon.errors import SandboxError
from archon.sandbox.outcome import Checked, Kind, Outcome, SandboxLimits
from archon.warn_once import warn_once

FULL_PYTHON_LIMITS = SandboxLimits(seconds=10.0, memory_bytes=1 << 30)
_NOBODY = 65534
_START_SECONDS = 20.0
"""Wall time that the process may need in addition to its limit, on a busy machine."""
_WALL_PER_CPU = 3
_MAX_REPLY = 1 << 20

_HARNESS = """
import json, os, sys
task = json.loads(sys.stdin.buffer.read())
try:
    import resource
    for name, bound in task["limits"].items():
        if hasattr(resource, name):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            resource.setrlimit(which, (bound, bound))
except ImportError:
    pass
replies = os.dup(1)
silent = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(silent, number)
def run(code, name, space):
    try:
        exec(compile(code, name, "exec"), space)
    except BaseException as error:
        return (type(error).__name__ + ": " + str(error))[:500]
space = {"__name__": "program"}
failed = run(task["program"], "program", space)
results = [failed or run(test, "test", dict(space)) for test in task["tests"]]
reply = json.dumps({"nonce": task["nonce"], "program": failed, "tests": results})
os.write(replies, reply.encode())
os._exit(0)
"""


@dataclass(frozen=True)
class _Isolation:
    """Separation of the process from the user's: a command before Python, and a user."""

    command: tuple[str, ...]
    owner: int | None
    """The user to whom the working folder is given; None if the user stays the same."""


async def check_in_full_python(
    code: str, tests: Sequence[str], *, limits: SandboxLimits = FULL_PYTHON_LIMITS
) -> Checked:
    """Run a program and its tests, such as ``assert f(2) == 4``, in full Python.

    All run in one process, within the limits together. A test passes if it ends without an
    exception.

    Raises
    ------
    SandboxError
        The process cannot be started.
    """
    if (size := len(code.encode(errors="replace"))) > limits.code_bytes:
        reason = f"the program has {size:,} bytes; {limits.code_bytes:,} are allowed"
        return _all(Outcome("error", error=reason), tests)
    nonce, start = secrets.token_hex(16), time.perf_counter()
    task = {
        "program": code,
        "tests": list(tests),
        "nonce": nonce,
        "limits": {
            "RLIMIT_AS": limits.memory_bytes,
            "RLIMIT_CPU": max(1, round(limits.seconds)),
            "RLIMIT_FSIZE": 16 << 20,
            "RLIMIT_NPROC": 0,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_CORE": 0,
        },
    }
    isolation = await asyncio.to_thread(_isolation)
    with tempfile.TemporaryDirectory(prefix="archon-program-") as folder:
        if isolation.owner is not None:
            os.chown(folder, isolation.owner, isolation.owner)
        reply = await _run(isolation, task, folder, limits)
    seconds = time.perf_counter() - start
    try:
        found = json.loads(reply or b"")
        assert found["nonce"] == nonce
        results = [_outcome(error, seconds) for error in found["tests"]]
        return Checked(_outcome(found["program"], seconds), tuple(results))
    except (ValueError, TypeError, KeyError, AssertionError):
        kind: Kind = "timeout" if reply is None else "killed"
        reason = f"it ran for more than {limits.seconds:g} seconds"
        if reply is not None:
            reason = "the process ended before its tests, for example at a limit"
        return _all(Outcome(kind, error=reason, seconds=seconds), tests)


def _outcome(error: str | None, seconds: float) -> Outcome:
    return Outcome("ok" if error is None else "error", error=error, seconds=seconds)


def _all(outcome: Outcome, tests: Sequence[str]) -> Checked:
    return Checked(outcome, (outcome,) * len(tests))


async def _run(
    isolation: _Isolation, task: object, folder: str, limits: SandboxLimits
) -> bytes | None:
    """Return what the harness writes; None if it takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *isolation.command,
            sys.executable,
            "-I",
            "-c",
            _HARNESS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"cannot start a process for a program: {error}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS + _WALL_PER_CPU * limits.seconds):
            with contextlib.suppress(ConnectionError):
                process.stdin.write(json.dumps(task).encode())
                await process.stdin.drain()
                process.stdin.close()
            reply = b""
            while len(reply) <= _MAX_REPLY and (part := await process.stdout.read(1 << 16)):
                reply += part
            return reply
    except TimeoutError:
        return None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(folder: str) -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {"HOME": folder, "TMPDIR": folder, "PATH": os.defpath} | dict.fromkeys(threads, "1")


@cache
def _isolation() -> _Isolation:
    """Return the strictest isolation with which Python starts on this machine.

    Raises
    ------
    SandboxError
        Python cannot be started, or only as root.
    """
    is_root = sys.platform != "win32" and os.geteuid() == 0
    owner = _NOBODY if is_root else None
    users: list[tuple[str, ...]] = [()]
    if is_root:
        setpriv = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
        # The second one can read every file, which it needs if Python is in root's folder.
        can_read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
        users = [
            (*setpriv, "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"),
            (*setpriv, "--no-new-privs", *can_read),
        ]
    namespaces: tuple[str, ...] = ("unshare", "--net", "--ipc", "--pid", "--fork", "--kill-child")
    if not is_root:
        namespaces = (*namespaces, "--user")
    for command in (namespaces, ()):
        for user in users:
            isolation = _Isolation((*command, *user), owner)
            if _works(isolation):
                if not command:
                    warn_once(
                        "programs run without namespaces, because 'unshare' does not work here: "
                        "they can use the network; run Archon in a container"
                    )
                return isolation
    reason = " as the user nobody (with setpriv); run Archon as another user" if is_root else ""
    raise SandboxError(f"cannot start {sys.executable} for programs{reason}")


def _works(isolation: _Isolation) -> bool:
    with tempfile.TemporaryDirectory(prefix="archon-program-") as folder:
        if isolation.owner is not None:
            os.chown(folder, isolation.owner, isolation.owner)
        try:
            ended = subprocess.run(
                [*isolation.command, sys.executable, "-I", "-c", "print(6 * 7)"],
                capture_output=True,
                timeout=_START_SECONDS * 3,
                cwd=folder,
                env=_environment(folder),
                check=False,
            )
        except (OSError, subprocess.SubprocessError, ValueError):
            return False
    return bool(ended.stdout == b"42\n")
