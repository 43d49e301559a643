"""Where model files come from and where they are kept.

``pull`` tries a card's sources in order and returns a file whose bytes have the right digest;
``find`` answers the same question without touching the network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archon.weights.cache import cache_dir, find, find_anywhere, model_dir, remove
    from archon.weights.progress import OnProgress, PullProgress
    from archon.weights.pulling import identity, pull

__all__ = [
    "OnProgress",
    "PullProgress",
    "cache_dir",
    "find",
    "find_anywhere",
    "identity",
    "model_dir",
    "pull",
    "remove",
]

_HOMES = {
    "OnProgress": "progress",
    "PullProgress": "progress",
    "identity": "pulling",
    "pull": "pulling",
}


def __getattr__(name: str) -> Any:
    """Import a function at first use: most commands only ask where the cache is."""
    if name not in __all__:
        raise AttributeError(f"module 'archon.weights' has no attribute {name!r}")
    home = importlib.import_module(f"archon.weights.{_HOMES.get(name, 'cache')}")
    value = globals()[name] = getattr(home, name)
    return value
