"""Progress of a graph, for clients that ask for it: readable lines, and events for a page.

A request asks with ``archon.progress`` and ``archon.events``. Nodes of an architecture that is
another node's model are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from archon.graph.architecture import Architecture
from archon.graph.drops import Identity, drops, identity
from archon.graph.trace import NodeTrace, node_json
from archon.types import (
    Candidate,
    Event,
    NodeDelta,
    NodeFinished,
    NodeStarted,
    TokenDelta,
    ToolCallDelta,
)

_MAX_VALUES = 6
_MAX_CHARS = 40


class ProgressLines:
    """Describes each step of one run in a line, for ``reasoning_content``.

    There are no more lines after the first text of the answer, so that all reasoning precedes it.
    """

    def __init__(self, architecture: Architecture) -> None:
        self._nodes = architecture.spec.nodes
        self._is_over = False

    def line(self, event: Event) -> str:
        """Return the line for an event, with a line break; empty if the event needs none."""
        if isinstance(event, TokenDelta):
            self._is_over = self._is_over or not event.is_reasoning
        elif (
            self._is_over
            or isinstance(event, NodeDelta | ToolCallDelta)
            or event.node not in self._nodes
        ):
            return ""
        elif isinstance(event, NodeStarted):
            node = self._nodes[event.node]
            samples = getattr(node, "samples", 1)
            count = f", {samples} samples" if samples != 1 else ""
            return f"{event.node} ({node.type}{count}) …\n"
        elif event.bypassed:
            return f"{event.node}: not needed\n"
        elif isinstance(event.trace, NodeTrace):
            return f"{event.node}: {'; '.join(_parts(event, event.trace))}\n"
        return ""


class NodeEvents:
    """Converts the events of one run to JSON data, for ``archon.events``."""

    def __init__(self, architecture: Architecture) -> None:
        self._nodes = architecture.spec.nodes
        self._candidates: dict[Identity, dict[str, Any]] = {}

    def data(self, event: Event) -> dict[str, Any] | None:
        """Return the data of an event; None if it is not reported.

        The ``result`` of a node is its entry in the trace, with ``drops``: the candidates that it
        did not pass on, and the reasons.
        """
        if isinstance(event, TokenDelta | ToolCallDelta) or event.node not in self._nodes:
            return None
        match event:
            case NodeStarted(node=node):
                return {"type": "node.started", "node": node}
            case NodeDelta(node=node, draw=draw, text=text, is_reasoning=is_reasoning):
                kind = "node.reasoning.delta" if is_reasoning else "node.delta"
                return {"type": kind, "node": node, "draw": draw, "delta": text}
            case NodeFinished(trace=NodeTrace() as trace):
                result = self._finished(trace)
                return {"type": "node.finished", "node": event.node, "result": result}
        return None

    def _finished(self, trace: NodeTrace) -> dict[str, Any]:
        data = node_json(trace)
        self._candidates.update({identity(output["id"]): output for output in data["outputs"]})
        data["drops"] = [
            {
                "candidate": {"node": drop.candidate[0], "draw": drop.candidate[1]},
                "why": drop.reason.why,
                "argument": drop.reason.argument,
                "fused": drop.reason.fused,
            }
            for drop in drops(data, self._candidates)
        ]
        return data


def _parts(event: NodeFinished, trace: NodeTrace) -> Iterable[str]:
    """Yield the parts of the line of a node that has finished."""
    outputs = trace.outputs
    count = f"{len(outputs)} candidate{'' if len(outputs) == 1 else 's'}"
    yield f"{count}: {_votes(outputs)}" if outputs else count
    judged = Counter(
        note.value
        for candidate in (*outputs, *trace.dropped)
        for note in candidate.annotations
        if note.node == trace.node and note.kind == "verdict"
    )
    if judged:
        yield ", ".join(f"{number} {verdict}" for verdict, number in judged.most_common())
    scores = [
        f"{float(note.value):.2g}"
        for candidate in outputs
        for note in candidate.annotations
        if note.node == trace.node and note.kind == "score"
    ]
    if scores and not judged:
        yield f"scores {', '.join(scores[:_MAX_VALUES])}{' …' if len(scores) > _MAX_VALUES else ''}"
    if trace.num_failed_samples:
        yield f"{trace.num_failed_samples} failed"
    if event.cut is not None:
        yield f"cut short by the limit of {event.cut}"
    if event.usage.completion_tokens:
        yield f"{event.usage.completion_tokens} tokens"
    yield f"{event.seconds:.1f} s"


def _votes(candidates: Sequence[Candidate]) -> str:
    """Return the values of candidates, the most frequent first, with their numbers."""
    votes = Counter(candidate.value for candidate in candidates).most_common()
    shown = [
        f"{_short(value)}{f' ×{number}' if number > 1 else ''}"
        for value, number in votes[:_MAX_VALUES]
    ]
    return ", ".join(shown) + (", …" if len(votes) > _MAX_VALUES else "")


def _short(value: str | None) -> str:
    if value is None:
        return "no value"
    line = " ".join(value.split())
    return line if len(line) <= _MAX_CHARS else line[:_MAX_CHARS] + "…"
