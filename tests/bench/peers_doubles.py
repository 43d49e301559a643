"""Fake contenders that need no model: one that works, and several that fail."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from archon.bench.peers.contender import PeerTask, Round
from archon.bench.workload import Workload
from archon.errors import ModelError


def task(path: str, **changes: Any) -> PeerTask:
    """Make a small task; ``changes`` replace its fields."""
    usual: dict[str, Any] = {
        "path": path,
        "digest": "",
        "vocab_size": 100,
        "workload": Workload(4, 2, 12, 8, 6),
        "decode_only": False,
        "precision": "float32",
        "threads": 1,
        "fraction": None,
        "round_seconds": 0.01,
    }
    return PeerTask(**{**usual, **changes})


class Fake:
    """A contender of 10 tokens per second, 20 in the second round, on half of the prompts."""

    def __init__(self, task: PeerTask, settings: Mapping[str, Any] | None) -> None:
        self.task = task
        self.settings: dict[str, Any] = dict(settings or {"process": os.getpid()})

    def run(self, seed: int) -> Round:
        print("what a library says does not disturb the answers")
        num_prompts = max(1, self.task.workload.num_prompts // 2)
        return Round(num_prompts, 20, 2.0 / (1 + seed))


class Slow(Fake):
    """A contender whose round never ends."""

    def run(self, seed: int) -> Round:
        time.sleep(600)
        return super().run(seed)


class Dying(Fake):
    """A contender that is killed in its second round."""

    def run(self, seed: int) -> Round:
        if seed:
            os.kill(os.getpid(), 9)
        return super().run(seed)


class Crashing(Fake):
    """A contender that raises an unexpected error."""

    def run(self, seed: int) -> Round:
        raise ZeroDivisionError("by nought")


class Refusing(Fake):
    """A contender that cannot be loaded."""

    def __init__(self, task: PeerTask, settings: Mapping[str, Any] | None) -> None:
        raise ModelError("these weights are none")
