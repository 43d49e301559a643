"""Fetch model files, verify them, and find them in the cache.

``pull`` tries a card's sources in order, and returns the path of a file or folder with the right
digest. ``find`` returns the path of weights that are already present, without using the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from archon.weights.cache import cache_dir, find, find_anywhere, model_dir, remove, resolve
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
    "resolve",
]

__getattr__ = lazy_exports(  # most commands need only the path of the cache
    globals(),
    dict.fromkeys(__all__, "archon.weights.cache")
    | dict.fromkeys(("OnProgress", "PullProgress"), "archon.weights.progress")
    | dict.fromkeys(("identity", "pull"), "archon.weights.pulling"),
)
