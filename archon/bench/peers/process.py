"""A contender as its parent sees it: a child process that loads once and runs when told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from archon.bench.peers.contender import Round, Task
from archon.errors import ArchonError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ContenderError(ArchonError):
    """A contender could not be loaded, or failed in a round."""


class ContenderProcess:
    """A running child. It has a session of its own, so that an interrupt reaches the parent alone.

    Parameters
    ----------
    factory : ``module:function`` of what loads the contender.
    settings : what an earlier process of the same contender found.

    Raises
    ------
    ContenderError : it could not be loaded.
    """

    def __init__(self, factory: str, task: Task, settings: Mapping[str, Any] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "archon.bench.peers.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
            env={**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(task.threads))},
        )
        order = {"factory": factory, "task": task.to_json(), "settings": settings}
        try:
            self.settings: dict[str, Any] = self._ask(order)["settings"]
        except BaseException:
            self.close()
            raise

    def run(self, seed: int) -> Round:
        """One timed round.

        Raises
        ------
        ContenderError : it failed; the process is gone.
        """
        try:
            return Round(**self._ask(seed))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _ask(self, order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def _last_words(self) -> str:
        """The last line of its standard error, and how it ended."""
        status = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        ended = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{ended}: {last}" if last else ended
