"""Statistics of each node of an architecture over all answers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from archon.evals.records import Draw
from archon.evals.view.flow import Flow


@dataclass
class NodeTally:
    """The statistics of one node: sums over the answers of a run."""

    node: str
    runs: int = 0
    """Number of answers whose trace contains this node."""
    bypassed: int = 0
    """Number of answers for which the node did not run, because its ``when`` was false."""
    seconds: float = 0.0
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    led: int = 0
    """Number of answers for which the node has at least one input and one output candidate."""
    changed: int = 0
    """Number of answers in ``led`` whose first input and first output candidate differ in value."""
    helped: int = 0
    """Number of answers in ``changed`` for which the first candidate became right."""
    hurt: int = 0
    """Number of answers in ``changed`` for which the first candidate became wrong."""
    read: int = 0
    """Number of input candidates."""
    passed: int = 0
    """Number of output candidates."""
    dropped: int = 0
    """Number of input candidates that were neither passed on nor fused."""
    written: int = 0
    """Number of candidates that the node wrote."""
    right: int = 0
    """Number of candidates in ``written`` that are right."""


class NodeTallies:
    """The statistics of all nodes, in the order of the architecture file."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        self._tallies = {name: NodeTally(name) for name in architecture.get("nodes", {})}

    def add(self, flow: Flow, draws: Mapping[str, tuple[Draw, ...]]) -> list[str]:
        """Add one answer; return the nodes that changed the value of the first candidate."""
        changed = []
        for node in flow.trace["nodes"]:
            name = node["node"]
            tally = self._tallies.setdefault(name, NodeTally(name))
            tally.runs += 1
            tally.bypassed += node["bypassed"]
            tally.seconds += node["seconds"]
            usage = node["usage"]
            for key in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens"):
                setattr(tally, key, getattr(tally, key) + usage[key])
            tally.read += len(node["inputs"])
            tally.passed += len(node["outputs"])
            tally.dropped += sum(not drop.reason.fused for drop in flow.drops[name])
            tally.written += len(draws.get(name, ()))
            tally.right += sum(draw.is_right for draw in draws.get(name, ()))
            if _count_lead(tally, flow, node):
                changed.append(name)
        return changed

    def to_json(self) -> list[dict[str, Any]]:
        """Return the statistics of each node as plain data."""
        return [asdict(tally) for tally in self._tallies.values()]


def _count_lead(tally: NodeTally, flow: Flow, node: Mapping[str, Any]) -> bool:
    before, after = flow.leads(node)
    if before is None or after is None:
        return False
    tally.led += 1
    if flow.value(before) == flow.value(after):
        return False
    tally.changed += 1
    was, now = flow.scores.get(before), flow.scores.get(after)
    if was is not None and now is not None:
        tally.helped += now.is_right and not was.is_right
        tally.hurt += was.is_right and not now.is_right
    return True
