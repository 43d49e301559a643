"""What the cache remembers: a tree of prompt prefixes, one cache block to a node.

Keys and values are other ones under each adapter, so that each has a root of its own.

A node stands for the tokens from the root down to it; its block holds the keys and values of the
last ``BLOCK_SIZE`` of them. Prompts that begin alike walk the same path, so a prefix is computed
once and shared. A prompt enters its nodes before they are computed (``ready`` is false until
then): another that begins alike and arrives meanwhile sees that it pays to wait.

A node used by a live prompt is never evicted. Of the others the least recently used leaf goes
first, and those that a ``Hold`` pins, as somebody will read them again, go last. What a draw leaves
behind was last used when its prompt was, so that it goes before prompts that came later.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.types import Hold

_Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class PrefixNode:
    """One block of a prefix."""

    key: _Key
    """The tokens of this block."""
    block: int
    parent: PrefixNode | None
    children: dict[_Key, PrefixNode] = field(default_factory=dict)
    users: int = 0
    """Live prompts whose path runs through this node."""
    pins: int = 0
    """Holds that are not released and under which it was used."""
    ready: bool = False
    last_used: int = 0


class PrefixTree:
    """The tree, its users and its order of eviction. It owns the blocks of its nodes."""

    def __init__(self) -> None:
        self._roots: dict[str, PrefixNode] = {}
        self._nodes: set[PrefixNode] = set()
        self._num_unused = 0
        self._clock = 0
        self._held: dict[Hold, set[PrefixNode]] = {}
        self._leaves: list[tuple[bool, int, int, PrefixNode]] = []
        """A heap of what may be evicted: (pinned, last used, tie-breaker, node). An entry counts
        only while it describes its node as it is."""
        self._tie_breaker = count()

    def _root(self, adapter: str) -> PrefixNode:
        return self._roots.setdefault(adapter, PrefixNode((), -1, None))

    def match(self, token_ids: Sequence[int], adapter: str = "") -> list[PrefixNode]:
        """The longest known path of whole blocks along these tokens, ready or not."""
        path: list[PrefixNode] = []
        node = self._root(adapter)
        for at in range(0, len(token_ids) - BLOCK_SIZE + 1, BLOCK_SIZE):
            child = node.children.get(tuple(token_ids[at : at + BLOCK_SIZE]))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def extend(
        self,
        path: list[PrefixNode],
        token_ids: Sequence[int],
        blocks: Sequence[int],
        adapter: str = "",
    ) -> list[PrefixNode]:
        """Add nodes, not ready yet, for the whole blocks of ``token_ids`` beyond ``path``.

        ``blocks`` are the cache blocks of the new nodes. Returns the whole path, which its caller
        now uses: ``release`` ends that.
        """
        node = path[-1] if path else self._root(adapter)
        path = list(path)
        for block in blocks:
            at = len(path) * BLOCK_SIZE
            child = PrefixNode(tuple(token_ids[at : at + BLOCK_SIZE]), block, node)
            assert len(child.key) == BLOCK_SIZE
            node.children[child.key] = child
            self._nodes.add(child)
            self._num_unused += 1
            path.append(child)
            node = child
        self._clock += 1
        for node in path:
            self._num_unused -= not node.users
            node.users += 1
            node.last_used = self._clock
        return path

    def adopt(
        self,
        path: Sequence[PrefixNode],
        token_ids: Sequence[int],
        blocks: Sequence[int],
        adapter: str = "",
    ) -> set[int]:
        """Take computed blocks over: those of the tokens of ``token_ids`` beyond ``path``.

        ``path`` is in use. Returns what is taken: not what is there from another text, nor what
        lies behind a block that is just being computed for one.
        """
        node = path[-1] if path else self._root(adapter)
        last_used = node.last_used
        taken: set[int] = set()
        for number, block in enumerate(blocks, len(path)):
            key = tuple(token_ids[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])
            child = node.children.get(key)
            if child is None:
                child = PrefixNode(key, block, node, ready=True, last_used=last_used)
                node.children[key] = child
                self._nodes.add(child)
                self._num_unused += 1
                taken.add(block)
            elif not child.ready:
                break
            node = child
        self._note_leaf(node)
        return taken

    def release(self, path: Sequence[PrefixNode]) -> list[int]:
        """End a use of a path; returns the blocks of nodes that nobody will make ready now."""
        freed: list[int] = []
        for node in reversed(path):
            node.users -= 1
            if not node.users:
                self._num_unused += 1
                if node.ready:
                    self._note_leaf(node)
                else:
                    freed.append(self._remove(node))
        return freed

    # ----------------------------------------------------------------------------------- pins

    def pin(self, hold: Hold, path: Iterable[PrefixNode]) -> None:
        """Evict a path that is in use after all others, until the hold is released."""
        if hold.released:
            return
        held = self._held.setdefault(hold, set())
        for node in path:
            if node not in held:
                held.add(node)
                node.pins += 1

    def drop_released_pins(self) -> None:
        """Let go of what was pinned by holds that have been released since."""
        for hold in [hold for hold in self._held if hold.released]:
            for node in self._held.pop(hold):
                node.pins -= 1
                self._note_leaf(node)

    # ------------------------------------------------------------------------------- eviction

    def drop(self, adapter: str) -> list[int]:
        """Forget all that is known under an adapter, which no live prompt uses; returns blocks."""
        nodes = list(self._roots.pop(adapter, PrefixNode((), -1, None)).children.values())
        for node in nodes:  # grows as it goes, so that children stand behind their parents
            nodes += node.children.values()
        return [self._remove(node) for node in reversed(nodes)]

    def num_evictable(self) -> int:
        """Blocks that ``evict`` could free."""
        return self._num_unused

    def evict(self, count: int) -> list[int]:
        """Drop ``count`` unused blocks, or all there are, pinned ones last."""
        freed: list[int] = []
        while self._leaves and len(freed) < count:
            entry = heapq.heappop(self._leaves)
            if self._is_true(entry):
                freed.append(self._remove(entry[-1]))
        return freed

    def _note_leaf(self, node: PrefixNode) -> None:
        """Enter a node in the order of eviction, if it may be evicted."""
        if node in self._nodes and not node.users and not node.children:
            entry = (node.pins > 0, node.last_used, next(self._tie_breaker), node)
            heapq.heappush(self._leaves, entry)
            if len(self._leaves) > 2 * len(self._nodes) + 64:
                newest = {e[-1]: e for e in self._leaves if self._is_true(e)}
                self._leaves = sorted(newest.values())

    def _is_true(self, entry: tuple[bool, int, int, PrefixNode]) -> bool:
        pinned, last_used, _, node = entry
        is_free = node in self._nodes and not node.users and not node.children
        return is_free and (pinned, last_used) == (node.pins > 0, node.last_used)

    def _remove(self, node: PrefixNode) -> int:
        parent = node.parent
        assert parent is not None
        assert not node.children
        assert not node.users
        del parent.children[node.key]
        self._nodes.discard(node)
        self._num_unused -= 1
        self._note_leaf(parent)
        return node.block
