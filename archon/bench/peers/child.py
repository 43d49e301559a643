"""The process of one contender: reads a line, does what it says, answers with a line.

The first line holds the factory, the task and earlier settings; every other line is the seed of a
round. Between rounds the process is blocked reading, so that it takes no time from the one that
is measured. Answers have the standard output for themselves: whatever a library prints goes to
standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import IO, Any

from archon.bench.peers.contender import Contender, Task
from archon.errors import ArchonError


def main() -> int:
    """Serve one parent until it closes our standard input."""
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
    contender: Contender = load(Task.from_json(order["task"]), order["settings"])
    return contender


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
