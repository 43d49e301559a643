"""Convert a trace to the page's format: the candidates, and what each node did with them.

Each candidate is stored once, and texts are replaced with their numbers in a ``Texts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archon.evals.records import Draw
from archon.evals.view.texts import Texts
from archon.graph.drops import Drop, Identity, drops, identity
from archon.graph.nodes.declaration import Plain

Scores = Mapping[Identity, Draw]
"""Candidate → its value and its score as if it were the answer."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A trace, with an index of its candidates and of the dropped candidates."""

    trace: Plain
    scores: Scores
    candidates: dict[Identity, Plain] = field(default_factory=dict)
    """Every candidate in the trace, with its final annotations."""
    drops: dict[str, list[Drop]] = field(default_factory=dict)
    """Node → the candidates that it dropped, with the reasons."""

    @classmethod
    def of(cls, trace: Plain, draws: Mapping[str, tuple[Draw, ...]] | None = None) -> Flow:
        """Index a trace; ``draws`` contains the scored samples from its record."""
        flow = cls(trace, _scores(trace, draws or {}))
        for node in trace["nodes"]:
            flow.candidates.update({identity(output["id"]): output for output in node["outputs"]})
        for node in trace["nodes"]:
            flow.drops[node["node"]] = list(drops(node, flow.candidates))
        return flow

    def leads(self, node: Plain) -> tuple[Identity | None, Identity | None]:
        """Return the first input and first output candidate of a node; None if there is none."""
        before, after = node["inputs"], node["outputs"]
        return (
            identity(before[0]) if before else None,
            identity(after[0]["id"]) if after else None,
        )

    def value(self, candidate: Identity) -> str | None:
        """Return the value of a candidate; None if it states none."""
        value: str | None = self.candidates[candidate]["value"]
        return value

    def to_json(self, texts: Texts) -> dict[str, Any]:
        """Return the trace in the page's format; candidates are numbered from 0."""
        numbers = {entry: number for number, entry in enumerate(self.candidates)}
        scores = self.scores
        reasoning = {
            (node["node"], completion["draw"]): completion["reasoning"]
            for node in self.trace["nodes"]
            for call in node["calls"]
            for completion in call["completions"]
            if "reasoning" in completion
        }
        return {
            "architecture": self.trace["architecture"],
            "output": self.trace["output"],
            "seconds": self.trace["seconds"],
            "cost": self.trace["cost_tokens"],
            "candidates": [
                {
                    "node": node,
                    "draw": draw,
                    "text": texts.number(candidate["text"]),
                    "value": candidate["value"],
                    "parents": [numbers[identity(parent)] for parent in candidate["parents"]],
                    "right": int(scores[node, draw].is_right) if (node, draw) in scores else None,
                    "score": scores[node, draw].score if (node, draw) in scores else None,
                    **_reasoning(reasoning.get((node, draw)), texts),
                }
                for (node, draw), candidate in self.candidates.items()
            ],
            "nodes": [self._node(node, numbers, texts) for node in self.trace["nodes"]],
        }

    def _node(self, node: Plain, numbers: Mapping[Identity, int], texts: Texts) -> dict[str, Any]:
        return {
            **{key: node[key] for key in ("node", "type", "bypassed", "seconds", "usage")},
            "start": node["start_seconds"],
            "inputs": [numbers[identity(entry)] for entry in node["inputs"]],
            "outputs": [numbers[identity(output["id"])] for output in node["outputs"]],
            "notes": [
                {
                    "candidate": numbers[identity(output["id"])],
                    "kind": note["kind"],
                    "value": _note_value(note, texts),
                    "reason": _optional(note["reason"], texts),
                }
                for output in node["outputs"]
                for note in output["annotations"]
                if note["node"] == node["node"]
            ],
            "drops": [
                {
                    "candidate": numbers[drop.candidate],
                    "why": drop.reason.why,
                    "argument": _optional(drop.reason.argument, texts),
                    "fused": drop.reason.fused,
                }
                for drop in self.drops[node["node"]]
            ],
            "calls": [_call(call, texts) for call in node["calls"]],
        }


def _scores(trace: Plain, draws: Mapping[str, tuple[Draw, ...]]) -> dict[Identity, Draw]:
    scores: dict[Identity, Draw] = {}
    for node in trace["nodes"]:
        name = node["node"]
        written = [identity(output["id"]) for output in node["outputs"]]
        written = [entry for entry in written if entry[0] == name]
        scores.update(zip(written, draws.get(name, ()), strict=False))
    return scores


def _optional(text: str | None, texts: Texts) -> int | None:
    return texts.number(text) if text else None


def _note_value(note: Plain, texts: Texts) -> Any:
    return texts.number(note["value"]) if note["kind"] == "critique" else note["value"]


def _call(call: Plain, texts: Texts) -> dict[str, Any]:
    return {
        "messages": [[entry["role"], texts.number(entry["content"])] for entry in call["messages"]],
        "sampling": call["sampling"],
        "start": call["start_seconds"],
        "seconds": call["seconds"],
        "completions": [_completion(completion, texts) for completion in call["completions"]],
    }


def _completion(completion: Plain, texts: Texts) -> dict[str, Any]:
    usage = completion["usage"]
    data = {
        "text": texts.number(completion["text"]),
        **_reasoning(completion.get("reasoning"), texts),
        "notes": completion.get("notes", []),
        "draw": completion["draw"],
        "finish": completion["finish_reason"],
        "usage": {
            key: usage[key] for key in ("prompt_tokens", "cached_tokens", "completion_tokens")
        },
    }
    if "error" in completion:
        data["finish"] = f"error: {completion['error']}"
    if "trace" in completion:
        data["trace"] = Flow.of(completion["trace"]).to_json(texts)
    return data


def _reasoning(text: str | None, texts: Texts) -> dict[str, int]:
    """Return ``{"reasoning": NUMBER}`` for a completion's reasoning, or ``{}`` if it has none."""
    return {} if text is None else {"reasoning": texts.number(text)}
