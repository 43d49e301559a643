"""What the kernel denies a worker process, should the interpreter in it be broken."""

from __future__ import annotations

import contextlib
import math
import sys

from archon.sandbox.outcome import Limits

OVERHEAD_BYTES = 256 << 20
"""Of address space: the program file, the stacks of its threads, the allocator's reserves."""


def restrain(pid: int, limits: Limits) -> None:
    """Bind a running process: address space, time of the processor, new files and processes.

    A process that may open no more files cannot open sockets either. Only Linux lets one process
    bind another; elsewhere the interpreter's own limits and the parent's clock are all there is.
    """
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
