"""A child process that reads and answers lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Self

from archon.errors import ArchonError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ChildError(ArchonError):
    """The child process reported an error, or exited without an answer."""


class ChildProcess:
    """A Python process that runs while the ``with`` block runs; it is killed at the end.

    Parameters
    ----------
    arguments
        Arguments of the Python interpreter, such as ``["-m", "archon", "serve"]``.
    num_threads
        Number of threads of the numeric libraries; None for their defaults.
    own_session
        Start the process in a new session, so that Ctrl-C reaches only the parent.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        num_threads: int | None = None,
        own_session: bool = False,
    ) -> None:
        threads = {} if num_threads is None else dict.fromkeys(_THREAD_VARIABLES, str(num_threads))
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=own_session,
            env={**os.environ, **threads},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, message: Any) -> Any:
        """Send a line and return the answer.

        Raises
        ------
        ChildError
            The answer is an object with the key ``error``, or the process exited.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended, which ``receive`` reports
        return self.receive()

    def receive(self) -> Any:
        """Return the JSON value in the next line of output. Raises the errors of ``ask``."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(self._exit_reason())
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(answer["error"])
        return answer

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _exit_reason(self) -> str:
        """Wait until the process exits; return its status and its last line of standard error."""
        status = self._process.wait()
        self._stderr.seek(0)
        last = self._stderr.read().decode(errors="replace").strip().rpartition("\n")[2].strip()
        ended = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{ended}: {last}" if last else ended
