"""A contender in a child process, which loads it once and runs a round for each seed.

The first message of the parent contains the factory, the task and earlier settings. Each later
message is the seed of a round. Between rounds the child waits for a line, so that it uses no CPU
time while other contenders are measured.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from archon.bench.child_process import ChildProcess
from archon.bench.peers.contender import Contender, Load, PeerTask, Round
from archon.errors import ArchonError


class ContenderProcess:
    """Handle of a contender in the parent process. Ctrl-C does not reach the child.

    Parameters
    ----------
    factory
        ``module:function`` that loads the contender.
    settings
        The settings from an earlier process of the same contender.

    Raises
    ------
    ChildError
        The contender cannot be loaded.
    """

    def __init__(
        self, factory: str, task: PeerTask, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._child = ChildProcess(["-m", __name__], num_threads=task.threads, own_session=True)
        message = {"factory": factory, "task": task.to_json(), "settings": settings}
        self.settings: dict[str, Any] = self._ask(message)["settings"]

    def run(self, seed: int) -> Round:
        """Run a timed round.

        Raises
        ------
        ChildError
            The round failed, or the process ended.
        """
        return Round(**self._ask(seed))

    def close(self) -> None:
        """Kill the process."""
        self._child.close()

    def _ask(self, message: Any) -> Any:
        try:
            return self._child.ask(message)
        except BaseException:
            self.close()
            raise


def main() -> int:
    """Answer messages of the parent until it closes standard input.

    Only answers go to standard output; output of libraries is redirected to standard error.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        contender = _load(json.loads(sys.stdin.readline()))
        _answer(answers, {"settings": contender.settings})
        for line in sys.stdin:
            _answer(answers, asdict(contender.run(json.loads(line))))
    except ArchonError as error:
        _answer(answers, {"error": str(error)})
        return 1
    return 0


def _load(message: dict[str, Any]) -> Contender:
    module, _, function = message["factory"].partition(":")
    load: Load = getattr(importlib.import_module(module), function)
    return load(PeerTask.from_json(message["task"]), message["settings"])


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
