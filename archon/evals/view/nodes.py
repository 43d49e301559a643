"""What each node of an architecture did over a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from archon.evals.records import Draw
from archon.evals.view.flow import Flow


@dataclass
class NodeTally:
    """Sums over the answers of a run."""

    node: str
    runs: int = 0
    bypassed: int = 0
    seconds: float = 0.0
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    led: int = 0
    """Answers in which there was a leading candidate before the node and after it."""
    changed: int = 0
    """Of these, those in which the value of the leading candidate is another after the node."""
    helped: int = 0
    """Of these, from wrong to right."""
    hurt: int = 0
    """And from right to wrong."""
    read: int = 0
    """Candidates that came in."""
    passed: int = 0
    """Candidates that went out."""
    dropped: int = 0
    written: int = 0
    """Texts that the node wrote and that were scored."""
    right: int = 0
    """Of these, the right ones."""


class NodeTallies:
    """A tally for every node, in the order in which they are declared."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        self._tallies = {name: NodeTally(name) for name in architecture.get("nodes", {})}

    def add(self, flow: Flow, draws: Mapping[str, tuple[Draw, ...]]) -> list[str]:
        """Count one answer; the nodes that changed it."""
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
        """All tallies as plain data."""
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
