"""One engine for all cards that run the same weights alike, whatever their adapters and sampling.

So the texts of several roles meet in one batch, over one copy of the weights and one cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary, WeakValueDictionary

from archon.engine.engine import Engine
from archon.engine.worker import EngineWorker
from archon.forks import reset_in_child

_WORKERS: WeakValueDictionary[Hashable, EngineWorker] = WeakValueDictionary()
_NUM_USERS: WeakKeyDictionary[EngineWorker, int] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _forget() -> None:
    """In a forked child: its parent's engines do not run here."""
    global _LOCK
    _LOCK = threading.Lock()
    _WORKERS.clear()
    _NUM_USERS.clear()


reset_in_child(_forget)


def shared_worker(key: Hashable, load: Callable[[], Engine]) -> EngineWorker:
    """The worker of a key, loaded where nobody uses it yet; ``leave`` ends the use."""
    with _LOCK:
        worker = _WORKERS.get(key)
        if worker is None:
            worker = _WORKERS[key] = EngineWorker(load())
        _NUM_USERS[worker] = _NUM_USERS.get(worker, 0) + 1
        return worker


def leave(worker: EngineWorker) -> None:
    """End a use; with the last one the engine's thread stops."""
    with _LOCK:
        _NUM_USERS[worker] = _NUM_USERS.get(worker, 1) - 1
        if _NUM_USERS[worker] > 0:
            return
        for key in [key for key, other in _WORKERS.items() if other is worker]:
            del _WORKERS[key]
    worker.close()
