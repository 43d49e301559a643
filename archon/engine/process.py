"""The process that computes: an engine does not survive a fork.

The engine's thread is missing in a forked child, and so are the threads of OpenMP's pool, for which
the first parallel loop would wait for ever. So the child of a process that has loaded a model gets
an error at once.
"""

from __future__ import annotations

import os

from archon.errors import EngineError

_owner: int | None = None


def claim_process() -> None:
    """Note that this process computes.

    Raises
    ------
    EngineError
        It was forked from one that does.
    """
    global _owner
    if _owner is None:
        _owner = os.getpid()
    elif _owner != os.getpid():
        raise EngineError(
            "this process was forked from one that had loaded a local model, and no engine "
            "survives a fork. Start processes with the 'spawn' method "
            "(multiprocessing.get_context('spawn')), or load local models after the fork only "
            "(gunicorn: without --preload)"
        )
