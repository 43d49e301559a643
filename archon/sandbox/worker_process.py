"""Control a worker process from its parent: set operating system limits, kill and reap it."""

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
"""Address space for the interpreter's executable, its threads' stacks and reserved memory."""

_NOT_LIMITED = (
    "the sandbox runs programs without {}, which this platform does not support; "
    "the interpreter's own limits apply"
)
_running: set[int] = set()


def limit_process(pid: int, limits: SandboxLimits) -> None:
    """Limit a process's memory and CPU time; prevent it from opening files or starting processes.

    These limits apply even if the interpreter is broken. A process that cannot open files cannot
    open sockets either. Only on Linux can one process limit another. On other systems, or if the
    system refuses a limit, the interpreter's own limits and the parent's timer still apply, and a
    single warning is logged.
    """
    _running.add(pid)
    try:
        import resource
    except ImportError:  # Windows has none
        warn_once(_NOT_LIMITED.format("any limit of the system"))
        return
    if sys.platform != "linux":
        warn_once(_NOT_LIMITED.format("any limit of the system"))
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
            _set_limit(resource, pid, name, bound)
        except ProcessLookupError:  # it has ended
            return
        except (AttributeError, ValueError, OSError):
            warn_once(_NOT_LIMITED.format(name))


def _set_limit(resource: ModuleType, pid: int, name: str, bound: int) -> None:
    """Set one limit, or keep the process's current limit if that is stricter."""
    which = getattr(resource, name)
    _, hard = resource.prlimit(pid, which)
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.prlimit(pid, which, (bound, bound))


async def end(pid: int) -> None:
    """Kill a process and wait for its end.

    The interpreter's library kills its workers, but may leave a zombie process until the next
    worker starts.
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
    with contextlib.suppress(OSError):  # the library has already waited for it
        os.waitpid(pid, 0)


@atexit.register
def _kill_all() -> None:
    """Kill the remaining workers, for example of daemon threads, when Python exits."""
    for pid in list(_running):
        _kill(pid)
