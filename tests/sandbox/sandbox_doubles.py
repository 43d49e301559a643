"""Helpers of the sandbox tests: small limits, and the worker processes."""

from __future__ import annotations

import os
from pathlib import Path

from archon.sandbox import SandboxLimits

SHORT = SandboxLimits(seconds=0.3)


def workers() -> list[int]:
    """The living worker processes of this process."""
    return [pid for pid, state in _children().items() if state != "Z"]


def zombies() -> list[int]:
    """Its worker processes that are dead and not waited for."""
    return [pid for pid, state in _children().items() if state == "Z"]


def serving() -> list[int]:
    """Its worker processes that are limited and run a program."""
    return [pid for pid in workers() if kernel_limit(pid, "Max open files") == "0"]


def kernel_limit(pid: int, name: str) -> str | None:
    """A limit of a process, as ``/proc`` shows it; None if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return None
    found = [line.removeprefix(name).split()[0] for line in lines if line.startswith(name)]
    return found[0] if found else None


def num_open_files() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def _children() -> dict[int, str]:
    """The worker processes of this process and their states."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if name.endswith("(monty") and int(parent) == os.getpid():
            found[int(folder.name)] = state
    return found
