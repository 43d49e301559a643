"""Display a graph's nodes as a live tree while it answers a question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archon.cli.console import console, counted
from archon.types import Event, NodeFinished, NodeStarted, OnEvent, TokenDelta

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from archon.graph.architecture import Architecture

REFRESHES_PER_SECOND = 8


@contextmanager
def live_tree(architecture: Architecture) -> Iterator[OnEvent | None]:
    """Display the tree while the block runs; yield its listener, or None without a terminal."""
    if not console().is_interactive:
        yield None
        return
    from rich.live import Live

    nodes = NodeTree(architecture)
    with Live(
        get_renderable=nodes.render,
        console=console(),
        refresh_per_second=REFRESHES_PER_SECOND,
        redirect_stdout=False,
    ):
        yield nodes.on_event


@dataclass
class NodeTree:
    """Collects a graph's events and renders the state of its nodes as a tree."""

    architecture: Architecture
    started: set[str] = field(default_factory=set)
    deltas: dict[str, int] = field(default_factory=dict)
    finished: dict[str, NodeFinished] = field(default_factory=dict)

    def on_event(self, event: Event) -> None:
        """Record that a node started, produced a token or finished."""
        match event:
            case NodeStarted():
                self.started.add(event.node)
            case TokenDelta():
                self.deltas[event.node] = self.deltas.get(event.node, 0) + 1
            case NodeFinished():
                self.finished[event.node] = event

    def render(self) -> Tree:
        """Render the tree. A node's parent is whichever of its inputs comes last in graph order."""
        from rich.text import Text
        from rich.tree import Tree

        graph = self.architecture.graph
        tree = Tree(Text(self.architecture.name, style="bold"))
        branches: dict[str, Tree] = {}
        for name in graph.order:
            inputs = graph.inputs[name]
            parent = branches[max(inputs, key=graph.order.index)] if inputs else tree
            branches[name] = parent.add(self._line(name))
        return tree

    def _line(self, name: str) -> Text:
        from rich.text import Text

        kind = self.architecture.spec.nodes[name].type
        if name in self.finished:
            done = self.finished[name]
            if done.bypassed:
                return Text(f"– {name} ({kind}): bypassed", style="dim")
            tokens = done.usage.completion_tokens
            candidates = counted(done.candidates, "candidate")
            result = f"{candidates}, {tokens} tokens, {done.seconds:.1f} s"
            if done.cut is not None:
                return Text(f"! {name} ({kind}): {result}, cut short ({done.cut})", style="yellow")
            return Text(f"✓ {name} ({kind}): {result}", style="green")
        if name in self.started:
            return Text(f"… {name} ({kind}): {self.deltas.get(name, 0)} tokens", style="yellow")
        return Text(f"· {name} ({kind})", style="dim")
