"""Where model files come from and where they are kept.

``pull`` tries a card's sources in order and returns a file whose bytes have the right digest;
``find`` answers the same question without touching the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archon.lazy_exports import lazy_exports

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

__getattr__ = lazy_exports(  # most commands only ask where the cache is
    globals(),
    dict.fromkeys(__all__, "archon.weights.cache")
    | dict.fromkeys(("OnProgress", "PullProgress"), "archon.weights.progress")
    | dict.fromkeys(("identity", "pull"), "archon.weights.pulling"),
)
