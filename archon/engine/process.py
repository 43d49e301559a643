"""Check that no engine is used after a fork.

A forked child has neither the engine's thread nor the threads of OpenMP's pool, and its first
parallel loop would wait for them forever. Therefore, an error is raised in a child of a process
that has loaded a model.
"""

from __future__ import annotations

import os

from archon.errors import EngineError

_owner: int | None = None


def claim_process() -> None:
    """Record that this process runs an engine.

    Raises
    ------
    EngineError
        This process was forked from one that runs an engine.
    """
    global _owner
    if _owner is None:
        _owner = os.getpid()
    elif _owner != os.getpid():
        raise EngineError(
            "this process was forked from one that had already loaded a local model, and an engine "
            "does not survive a fork. Start processes with the 'spawn' method "
            "(multiprocessing.get_context('spawn')), or load local models only after the fork "
            "(gunicorn: without --preload)"
        )
