"""Who uses a pool: what is asked while ``pooling`` is entered, in this task and its children."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archon.lm.pool.pool import DrawPool


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The answering of one item: its pool, its name, and which draws were counted in it."""

    pool: DrawPool
    origin: str
    counted: set[bytes] = field(default_factory=set)
    """Keys of draws whose making is in the usage of this item already."""


_SCOPE: ContextVar[Scope | None] = ContextVar("archon_pool", default=None)


@contextmanager
def pooling(pool: DrawPool | None, origin: str) -> Iterator[None]:
    """Answer one item by draws of a pool.

    A draw found under the same origin was made for this very item, in an earlier sitting that
    ended before the item's record was written. Its usage is then told as if it were made now, once,
    so that records do not depend on where a run was cut off.

    Parameters
    ----------
    pool : None answers without one.
    origin : names run, item and epoch; no other run may use the same, whether or not it still
        exists.
    """
    token = _SCOPE.set(None if pool is None else Scope(pool, origin))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def active_scope() -> Scope | None:
    """What the running task answers, or None where it uses no pool."""
    return _SCOPE.get()
