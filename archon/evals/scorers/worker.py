"""A process for work that must be stopped after a time limit, such as comparing expressions.

A thread cannot be stopped, and ``math-verify`` uses signals, which only a process's main thread may
receive. Work is therefore done by ``worker_main.py`` in a process of its own. Its CPU time is
limited by the operating system, so that the result does not depend on how busy the machine is; the
parent kills it if it takes much longer. A killed process is replaced by the next call.
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
from functools import cache
from pathlib import Path
from typing import Any

from archon.errors import ScoringError
from archon.forks import reset_in_child

WALL_SECONDS_PER_SECOND = 6
"""Wall time after which the parent kills the process, per second of CPU time that it may use."""
START_SECONDS = 120
"""Maximum wall time until a new process is ready."""


class WorkTimeoutError(Exception):
    """The work was stopped at its time limit, or because it used too much memory."""


class Worker:
    """One process that does the work of one module, a call at a time.

    Parameters
    ----------
    work
        The function of ``worker_main.WORK``.
    """

    def __init__(self, work: str) -> None:
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"archon-{work}")

    async def call(self, seconds: float, **arguments: Any) -> Any:
        """Do the work with these arguments, which are JSON data, and return its result.

        Raises
        ------
        WorkTimeoutError
            The work did not end within ``seconds`` of CPU time.
        ScoringError
            The process cannot be started, or the work failed.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._call, seconds, arguments)

    def _call(self, seconds: float, arguments: dict[str, Any]) -> Any:
        process = self._started()
        asked = json.dumps({"seconds": seconds, "arguments": arguments}).encode() + b"\n"
        reply = _exchange(process, asked, seconds * WALL_SECONDS_PER_SECOND)
        if reply is None:
            self.close()
            raise WorkTimeoutError
        answer = json.loads(reply)
        if "error" in answer:
            raise ScoringError(answer["error"])
        return answer["result"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            root = str(Path(__file__).parents[3])
            paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "archon.evals.scorers.worker_main", self._work],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )
            if _exchange(self._process, b"", START_SECONDS) is None:
                self.close()
                raise ScoringError(f"cannot start the process of the {self._work} scorer")
        return self._process

    def close(self) -> None:
        """End the process."""
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
