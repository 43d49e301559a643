"""A worker process as its parent sees it: limited by the kernel, then killed and reaped."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import math
import os
import signal
import sys
from types import ModuleType

from archon.sandbox.outcome import SandboxLimits
from archon.warn_once import warn_once

OVERHEAD_BYTES = 256 << 20
"""Of address space: the program file, the stacks of its threads, the allocator's reserves."""

_UNBOUND = (
    "the sandbox runs programs without {}, which this platform does not allow to set; "
    "the interpreter's own limits hold"
)
_running: set[int] = set()


def bind(pid: int, limits: SandboxLimits) -> None:
    """Limit a process's address space and processor time, and deny it new files and processes.

    This holds even if the interpreter is broken: a process that may open no more files cannot
    open sockets either. Only Linux lets one process bind another; elsewhere, and where the system
    refuses a limit, there are the interpreter's own limits and the parent's clock, and a warning
    says so once.
    """
    _running.add(pid)
    try:
        import resource
    except ImportError:  # Windows has none
        warn_once(_UNBOUND.format("any limit of the system's"))
        return
    if sys.platform != "linux":
        warn_once(_UNBOUND.format("any limit of the system's"))
        return
    bounds = {
        "RLIMIT_AS": OVERHEAD_BYTES + 2 * limits.memory_bytes,
        "RLIMIT_CPU": math.ceil(limits.seconds) + 1,
        "RLIMIT_NOFILE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
    }
    for name, bound in bounds.items():
        try:
            _bind(resource, pid, name, bound)
        except ProcessLookupError:  # it has ended already
            return
        except (AttributeError, ValueError, OSError):
            warn_once(_UNBOUND.format(name))


def _bind(resource: ModuleType, pid: int, name: str, bound: int) -> None:
    """Set one limit, which a stricter one that holds already is left under."""
    which = getattr(resource, name)
    _, hard = resource.prlimit(pid, which)
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.prlimit(pid, which, (bound, bound))


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
