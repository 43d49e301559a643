"""A worker process as its parent sees it: bound by the kernel while it serves, gone afterwards."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import math
import os
import signal
import sys

from archon.sandbox.outcome import Limits

OVERHEAD_BYTES = 256 << 20
"""Of address space: the program file, the stacks of its threads, the allocator's reserves."""

_running: set[int] = set()


def bind(pid: int, limits: Limits) -> None:
    """Limit a process's address space and processor time, and deny it new files and processes.

    This holds even if the interpreter is broken: a process that may open no more files cannot
    open sockets either. Only Linux lets one process bind another; elsewhere there are the
    interpreter's own limits and the parent's clock.
    """
    _running.add(pid)
    if sys.platform != "linux":
        return
    import resource

    bounds = {
        resource.RLIMIT_AS: OVERHEAD_BYTES + 2 * limits.memory_bytes,
        resource.RLIMIT_CPU: math.ceil(limits.seconds) + 1,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError):  # it has ended already, or the system forbids this as well
        for name, bound in bounds.items():
            resource.prlimit(pid, name, (bound, bound))


async def end(pid: int) -> None:
    """Kill a process and wait until it is gone.

    The interpreter's library kills its workers, but may leave a zombie until the next one starts.
    """
    _running.discard(pid)
    if sys.platform == "win32":
        return
    _kill(pid)
    with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
        await asyncio.to_thread(_wait, pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)


def _wait(pid: int) -> None:
    with contextlib.suppress(OSError):  # the library has waited for it
        os.waitpid(pid, 0)


@atexit.register
def _kill_all() -> None:
    """End what still runs, in threads that nobody waits for, as the interpreter ends."""
    for pid in list(_running):
        _kill(pid)
