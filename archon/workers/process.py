"""A process for work that must be stopped at a time limit, such as comparing expressions.

A thread cannot be stopped, and ``math-verify`` uses signals, which only the main thread of a
process may receive. ``main.py`` therefore does the work in a separate process. The operating
system limits its CPU time, so that the result does not depend on how busy the machine is. If the
process takes much longer, its parent kills it. The next call starts a new process.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from archon.forks import reset_in_child

WALL_SECONDS_PER_SECOND = 6
"""Wall time after which the parent kills the process, per second of CPU time that it may use."""
START_SECONDS = 120
"""Maximum wall time until a new process is ready."""


class WorkTimeoutError(Exception):
    """The work was stopped at its time limit, or because it used too much memory."""


class WorkError(Exception):
    """The process cannot be started, or the work failed."""


class Worker:
    """One process that does one kind of work (``main.WORK``), a call at a time."""

    def __init__(self, work: str) -> None:
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"archon-{work}")

    def call(self, seconds: float, **arguments: Any) -> Any:
        """Do the work with these arguments, which are JSON data, and return its result.

        Any thread may call this method. Calls wait for each other.

        Raises
        ------
        WorkTimeoutError
            The work did not end within ``seconds`` of CPU time.
        WorkError
            The process cannot be started, or the work failed.
        """
        asked = json.dumps({"seconds": seconds, "arguments": arguments}).encode() + b"\n"
        with self._lock:
            reply = _exchange(self._started(), asked, seconds * WALL_SECONDS_PER_SECOND)
            if reply is None:
                self._end()
                raise WorkTimeoutError
        answer = json.loads(reply)
        if "error" in answer:
            raise WorkError(answer["error"])
        return answer["result"]

    async def acall(self, seconds: float, **arguments: Any) -> Any:
        """Do the work as ``call`` does, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self.call, seconds, **arguments))

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            root = str(Path(__file__).parents[2])
            paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "archon.workers.main", self._work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )
            if _exchange(self._process, b"", START_SECONDS) is None:
                self._end()
                raise WorkError(f"cannot start the process for {self._work}")
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # unsent data of a process that has ended
                    continue
        process.wait()


def _exchange(process: subprocess.Popen[bytes], asked: bytes, seconds: float) -> bytes | None:
    """Send a line, and return the line that the process replies; None if it ends or is too late."""
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        if asked:
            process.stdin.write(asked)
            process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        return None
    finally:
        timer.cancel()
    return line if line.endswith(b"\n") else None


@cache
def shared_worker(work: str) -> Worker:
    """Return the worker of this process for a kind of work."""
    worker = Worker(work)
    atexit.register(worker.close)
    return worker


reset_in_child(shared_worker.cache_clear)  # a child must not write into its parent's pipes
