"""A contender in a child process, which loads once and runs a round for every seed.

The parent's first message holds the factory, the task and earlier settings; every other message is
the seed of a round. Between rounds the child is blocked reading, so that it takes no time from the
contender that is measured.
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
from archon.bench.peers.contender import Contender, PeerTask, Round
from archon.errors import ArchonError


class ContenderProcess:
    """The parent's side. An interrupt of the terminal does not reach the child.

    Parameters
    ----------
    factory
        ``module:function`` of what loads the contender.
    settings
        What an earlier process of the same contender found.

    Raises
    ------
    ChildError
        The contender could not be loaded.
    """

    def __init__(
        self, factory: str, task: PeerTask, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._child = ChildProcess(["-m", __name__], num_threads=task.threads, own_session=True)
        order = {"factory": factory, "task": task.to_json(), "settings": settings}
        self.settings: dict[str, Any] = self._ask(order)["settings"]

    def run(self, seed: int) -> Round:
        """One timed round.

        Raises
        ------
        ChildError
            It failed; the process is gone.
        """
        return Round(**self._ask(seed))

    def close(self) -> None:
        """End the process at once, whatever it is doing."""
        self._child.close()

    def _ask(self, message: Any) -> Any:
        try:
            return self._child.ask(message)
        except BaseException:
            self.close()
            raise


def main() -> int:
    """Serve one parent until it closes standard input.

    The answers have the standard output for themselves: what a library prints goes to standard
    error.
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


def _load(order: dict[str, Any]) -> Contender:
    module, _, function = order["factory"].partition(":")
    load = getattr(importlib.import_module(module), function)
    contender: Contender = load(PeerTask.from_json(order["task"]), order["settings"])
    return contender


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
