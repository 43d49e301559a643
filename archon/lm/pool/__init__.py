"""The pool of draws on disk: a draw is made once, and found by every run that asks for it.

``pooling`` puts a pool under everything that is asked within it; where nothing does, models answer
as if there were none. In the order of reading: ``scope`` (who uses a pool), ``pool`` (finding,
making and waiting), ``claims`` (who is making what), ``store`` (the file), ``payload`` (a
completion as bytes), ``upkeep`` (looking at the file and emptying it).
"""

from archon.lm.pool.pool import DrawPool
from archon.lm.pool.scope import Scope, pooling
from archon.lm.pool.store import max_pool_bytes, pool_path
from archon.lm.pool.upkeep import ModelDraws, PoolContents, clear, contents

__all__ = [
    "DrawPool",
    "ModelDraws",
    "PoolContents",
    "Scope",
    "clear",
    "contents",
    "max_pool_bytes",
    "pool_path",
    "pooling",
]
