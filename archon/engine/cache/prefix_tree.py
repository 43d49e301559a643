"""Tree of cached prefixes; a node has the cache blocks of ``BLOCK_SIZE`` tokens.

A node represents the tokens on the path from the root to itself; its blocks have the keys and
values of the last ``BLOCK_SIZE`` tokens. Texts with a common prefix share a path, so the prefix is
computed once (the idea of RadixAttention: Zheng et al. 2023, arXiv 2312.07104). Keys and values
depend on the adapter, so each adapter has its own root.

A prompt adds its nodes before they are computed (``ready`` is False until then). A later prompt
with the same prefix finds them and waits, instead of computing the prefix again.

Nodes that a live prompt uses are never evicted. Of the others, the least recently used leaf is
evicted first. Nodes that a ``Hold`` pins, because they will be read again, are evicted last. The
blocks of a finished sample have the same time of last use as its prompt, so they are evicted before
later prompts.

Layers with a sliding window have their own blocks in each node (``WindowBlocks``). They can be
evicted without the node as soon as no live prompt needs them, because a text can continue after any
node if the blocks of the last ``window`` tokens are present.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.cache.layout import LayerGroup
from archon.types import Hold

_Key = tuple[int, ...]
_Entry = Sequence[int]


@dataclass(slots=True, eq=False)
class WindowBlocks:
    """The blocks of a node for one layer group with a sliding window."""

    blocks: _Entry = ()
    """Empty before a prompt computes them, and after they were evicted."""
    users: int = 0
    """Number of live prompts that need them: those that compute them, or whose next token has them
    in its window."""
    ready: bool = False
    last_used: int = 0

    @property
    def is_pending(self) -> bool:
        """True if a prompt is about to compute them."""
        return self.users > 0 and not self.ready


@dataclass(slots=True, eq=False)
class PrefixNode:
    """A node of the prefix tree, with the blocks of ``BLOCK_SIZE`` tokens."""

    key: _Key
    """These tokens."""
    blocks: _Entry
    """Blocks of the layers that attend to all tokens; empty if there are none."""
    parent: PrefixNode | None
    children: dict[_Key, PrefixNode] = field(default_factory=dict)
    users: int = 0
    """Number of live prompts that use this node."""
    pins: int = 0
    """Number of unreleased holds that pin this node."""
    ready: bool = False
    last_used: int = 0
    windows: tuple[WindowBlocks, ...] = ()
    """Blocks of the layer groups with a window, in the order of ``PrefixTree.groups``."""


_Candidate = tuple[bool, int, int, PrefixNode, int | None]
"""(pinned, last used, tie-breaker, node, layer group), for the node itself without a group."""


class PrefixTree:
    """Tree of cached prefixes, with its order of eviction. It owns the blocks of its nodes.

    Parameters
    ----------
    groups
        The layer groups that have a window.
    """

    def __init__(self, groups: Sequence[LayerGroup] = ()) -> None:
        self.groups = tuple(groups)
        self._roots: dict[str, PrefixNode] = {}
        self._nodes: set[PrefixNode] = set()
        self.num_evictable = 0
        """Number of blocks that ``evict`` could free."""
        self._clock = 0
        self._pinned: dict[Hold, set[PrefixNode]] = {}
        self._candidates: list[_Candidate] = []
        """Heap of what may be evicted. Those that no longer describe their node are skipped."""
        self._tie_breaker = count()

    def _root(self, adapter: str) -> PrefixNode:
        return self._roots.setdefault(adapter, PrefixNode((), (), None))

    def match(self, token_ids: Sequence[int], adapter: str = "") -> list[PrefixNode]:
        """Return the longest path of full blocks whose tokens are a prefix of these tokens.

        Its nodes may not be ready yet.
        """
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
        entries: Sequence[_Entry],
        adapter: str = "",
    ) -> list[PrefixNode]:
        """Extend ``path`` by one node per entry, and mark its nodes as in use until ``release``.

        Parameters
        ----------
        token_ids
            Tokens of the text, starting at the root.
        entries
            Blocks of each new node for the layers that attend to all tokens. The nodes are not
            ready yet.

        Returns
        -------
        The extended path.
        """
        node = path[-1] if path else self._root(adapter)
        path = list(path)
        for blocks in entries:
            at = len(path) * BLOCK_SIZE
            node = self._add(node, tuple(token_ids[at : at + BLOCK_SIZE]), blocks)
            path.append(node)
        self._clock += 1
        for node in path:
            self.num_evictable -= 0 if node.users else len(node.blocks)
            node.users += 1
            node.last_used = self._clock
        return path

    def adopt(
        self,
        path: Sequence[PrefixNode],
        token_ids: Sequence[int],
        entries: Sequence[_Entry],
        windows: Sequence[Sequence[_Entry]] = (),
        adapter: str = "",
    ) -> set[int]:
        """Add ready nodes for computed blocks, which continue a path that is in use.

        Parameters
        ----------
        token_ids
            Tokens of the text, starting at the root.
        entries
            Blocks of each node after ``path`` for the layers that attend to all tokens.
        windows
            Blocks of each of these nodes for each layer group with a window; an entry is empty if
            the text no longer has its blocks.

        Returns
        -------
        The blocks that the tree now owns. If it already has blocks for the same tokens, it does not
        take others. It also takes no blocks after a node that is still being computed.
        """
        node = path[-1] if path else self._root(adapter)
        last_used = node.last_used
        taken: set[int] = set()
        for number, blocks in enumerate(entries, len(path)):
            key = tuple(token_ids[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])
            child = node.children.get(key)
            if child is None:
                child = self._add(node, key, blocks)
                child.ready, child.last_used = True, last_used
                taken.update(blocks)
            elif not child.ready:
                break
            for group, per_node in enumerate(windows):
                taken.update(self._adopt_window(child, group, per_node[number - len(path)]))
            node = child
        self._queue_if_leaf(node)
        return taken

    def _adopt_window(self, node: PrefixNode, group: int, blocks: _Entry) -> _Entry:
        """Give a node the blocks of a layer group, unless it has some; return those it takes."""
        window = node.windows[group]
        if window.blocks or window.users:
            return ()
        window.blocks, window.ready, window.last_used = blocks, bool(blocks), node.last_used
        self.num_evictable += len(blocks)
        self._queue_window(node, group)
        return blocks

    def release(self, path: Sequence[PrefixNode]) -> list[int]:
        """End one use of a path; return the blocks of its unused nodes that are not ready.

        These nodes are removed, because no sequence will compute them. Uses of their blocks within
        windows must have ended (``leave_window``).
        """
        freed: list[int] = []
        for node in reversed(path):
            node.users -= 1
            if not node.users:
                self.num_evictable += len(node.blocks)
                if node.ready:
                    self._queue_if_leaf(node)
                else:
                    freed += self._remove(node)
        return freed

    # -------------------------------------------------------------------------------- windows

    def num_reusable(self, path: Sequence[PrefixNode]) -> int:
        """Return after how many nodes of a path a text can continue without computing any of them.

        Every layer group with a window must have the blocks of the last ``window`` tokens.
        """
        if not self.groups:
            return len(path)
        found, missing = 0, [0] * len(self.groups)  # number of the last node without blocks
        for number, node in enumerate(path, 1):
            for group, window in enumerate(node.windows):
                if not window.ready:
                    missing[group] = number
            if all(
                last <= group.first_entry(number * BLOCK_SIZE)
                for last, group in zip(missing, self.groups, strict=True)
            ):
                found = number
        return found

    def enter_window(self, group: int, path: Iterable[PrefixNode]) -> None:
        """Mark the blocks of a layer group in these nodes as in use until ``leave_window``."""
        for node in path:
            window = node.windows[group]
            self.num_evictable -= 0 if window.users else len(window.blocks)
            window.users += 1
            window.last_used = self._clock

    def leave_window(self, group: int, path: Iterable[PrefixNode]) -> list[int]:
        """End one use of these blocks; return those that no prompt has computed or will compute."""
        freed: list[int] = []
        for node in path:
            window = node.windows[group]
            window.users -= 1
            if not window.users:
                self.num_evictable += len(window.blocks)
                if window.ready:
                    self._queue_window(node, group)
                else:
                    freed += self._clear(window)
        return freed

    def mark_ready(self, path: Iterable[PrefixNode]) -> None:
        """Record that the blocks of these nodes are computed."""
        for node in path:
            node.ready = True
            for window in node.windows:
                window.ready = bool(window.blocks)

    # ----------------------------------------------------------------------------------- pins

    def pin(self, hold: Hold, path: Iterable[PrefixNode]) -> None:
        """Pin a path that is in use, so that it is evicted last until the hold is released."""
        if hold.released:
            return
        nodes = self._pinned.setdefault(hold, set())
        for node in path:
            if node not in nodes:
                nodes.add(node)
                node.pins += 1

    def drop_released_pins(self) -> None:
        """Unpin the nodes of all released holds."""
        for hold in [hold for hold in self._pinned if hold.released]:
            for node in self._pinned.pop(hold):
                node.pins -= 1
                self._queue_if_leaf(node)
                for group in range(len(node.windows)):
                    self._queue_window(node, group)

    # ------------------------------------------------------------------------------- eviction

    def drop(self, adapter: str) -> list[int]:
        """Remove all nodes of an adapter and return their blocks; no live prompt may use it."""
        nodes = list(self._roots.pop(adapter, PrefixNode((), (), None)).children.values())
        for node in nodes:  # the list grows during the loop: children come after their parents
            nodes += node.children.values()
        return [block for node in reversed(nodes) for block in self._remove(node)]

    def evict(self, count: int) -> list[int]:
        """Evict at least ``count`` unused blocks if there are so many, pinned ones last; return
        them."""
        freed: list[int] = []
        while self._candidates and len(freed) < count:
            candidate = heapq.heappop(self._candidates)
            if self._is_current(candidate):
                node, group = candidate[-2:]
                freed += self._remove(node) if group is None else self._clear(node.windows[group])
        return freed

    def _queue_if_leaf(self, node: PrefixNode) -> None:
        """Add a node to the candidates if it can be evicted."""
        if node in self._nodes and not node.users and not node.children:
            self._queue((node.pins > 0, node.last_used, next(self._tie_breaker), node, None))

    def _queue_window(self, node: PrefixNode, group: int) -> None:
        """Add the blocks of a layer group to the candidates if they can be evicted."""
        window = node.windows[group]
        if node in self._nodes and window.blocks and not window.users:
            self._queue((node.pins > 0, window.last_used, next(self._tie_breaker), node, group))

    def _queue(self, candidate: _Candidate) -> None:
        heapq.heappush(self._candidates, candidate)
        if len(self._candidates) > 2 * (1 + len(self.groups)) * len(self._nodes) + 64:
            newest = {c[-2:]: c for c in self._candidates if self._is_current(c)}
            self._candidates = sorted(newest.values())

    def _is_current(self, candidate: _Candidate) -> bool:
        pinned, last_used, _, node, group = candidate
        if node not in self._nodes or pinned != (node.pins > 0):
            return False
        if group is None:
            return not node.users and not node.children and last_used == node.last_used
        window = node.windows[group]
        return bool(window.blocks) and not window.users and last_used == window.last_used

    def _add(self, parent: PrefixNode, key: _Key, blocks: _Entry) -> PrefixNode:
        assert len(key) == BLOCK_SIZE
        child = parent.children[key] = PrefixNode(key, blocks, parent)
        if self.groups:
            child.windows = tuple(WindowBlocks() for _ in self.groups)
        self._nodes.add(child)
        self.num_evictable += len(blocks)
        return child

    def _remove(self, node: PrefixNode) -> list[int]:
        """Remove a node and return all of its blocks."""
        parent = node.parent
        assert parent is not None
        assert not node.children
        assert not node.users
        del parent.children[node.key]
        self._nodes.discard(node)
        self.num_evictable -= len(node.blocks)
        self._queue_if_leaf(parent)
        return [*node.blocks, *(b for window in node.windows for b in self._clear(window))]

    def _clear(self, window: WindowBlocks) -> _Entry:
        """Remove unused blocks of a layer group and return them."""
        assert not window.users
        blocks, window.blocks, window.ready = window.blocks, (), False
        self.num_evictable -= len(blocks)
        return blocks
