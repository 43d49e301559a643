"""Why a candidate that a node read is not among those that it passed on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon.graph.parsing import read_ranking, read_verdict

Identity = tuple[str, int]
"""Node and draw of a candidate."""
Plain = Mapping[str, Any]
"""A node, a candidate or a call as plain data of a trace."""

_VERDICTS = {"pass": "judged right", "fail": "judged wrong", "abstain": "not clearly judged"}


@dataclass(frozen=True, slots=True)
class Drop:
    """A candidate that went no further."""

    candidate: Identity
    why: str
    argument: str = ""
    """What the model said of it, where it was asked."""
    fused: bool = False
    """It lives on in a new text that was written from it."""


def identity(data: Plain) -> Identity:
    """The identity of a candidate from its plain data."""
    return data["node"], data["draw"]


def drops(node: Plain, candidates: Mapping[Identity, Plain]) -> Iterator[Drop]:
    """What a node dropped, in the order of its inputs; ``candidates`` holds all of the question."""
    kept = {identity(output["id"]) for output in node["outputs"]}
    inputs = [identity(entry) for entry in node["inputs"]]
    dropped = [entry for entry in inputs if entry not in kept]
    match node["type"]:
        case "ranker":
            yield from _outranked(node, inputs, dropped)
        case "verifier":
            yield from (_judged(node, candidates[entry]) for entry in dropped)
        case "vote":
            yield from (_outvoted(node, candidates[entry]) for entry in dropped)
        case "fuser" if node["outputs"]:
            yield from (Drop(entry, "read for the fused answers", fused=True) for entry in dropped)
        case _:
            yield from (Drop(entry, "not passed on") for entry in dropped)


def _outranked(
    node: Plain, inputs: Sequence[Identity], dropped: Sequence[Identity]
) -> Iterator[Drop]:
    replies = [completion["text"] for completion in _completions(node)]
    order = read_ranking(replies[0], len(inputs)) if replies else None
    places = {inputs[index]: place for place, index in enumerate(order or range(len(inputs)), 1)}
    how = "ranked" if order is not None else "no ranking could be read, and it came"
    for entry in dropped:
        place = f"{places[entry]} of {len(inputs)}"
        yield Drop(entry, f"{how} {place}; the first {len(node['outputs'])} are kept")


def _judged(node: Plain, candidate: Plain) -> Drop:
    """Calls end in any order: that of a candidate is the one whose prompt shows its text."""
    argument = next(
        (
            call["completions"][0]["text"]
            for call in node["calls"]
            if call["completions"] and candidate["text"] in call["messages"][-1]["content"]
        ),
        None,
    )
    if argument is None:
        return _judged_without_model(node, candidate)
    verdict = _VERDICTS[read_verdict(argument)]
    if verdict == _VERDICTS["pass"]:
        verdict += f", but only the first {len(node['outputs'])} are kept"
    return Drop(identity(candidate["id"]), verdict, argument)


def _judged_without_model(node: Plain, candidate: Plain) -> Drop:
    """What a node's own annotation of a candidate says, where no call tells it."""
    own = next((c for c in node.get("dropped", ()) if c["id"] == candidate["id"]), candidate)
    notes = [n for n in own["annotations"] if n["node"] == node["node"] and n["kind"] == "verdict"]
    if not notes:
        return Drop(identity(candidate["id"]), "dropped")
    verdict = _VERDICTS[notes[-1]["value"]]
    if notes[-1]["value"] == "pass":
        verdict += f", but only the first {len(node['outputs'])} are kept"
    return Drop(identity(candidate["id"]), verdict, notes[-1]["reason"])


def _outvoted(node: Plain, candidate: Plain) -> Drop:
    value = candidate["value"]
    if value is None:
        return Drop(identity(candidate["id"]), "gives no value, so it has no vote")
    same = next((output for output in node["outputs"] if output["value"] == value), None)
    if same is None:
        return Drop(identity(candidate["id"]), "not passed on")
    name, draw = identity(same["id"])
    why = f"votes for {name} {draw}, the earliest that gives this value"
    return Drop(identity(candidate["id"]), why)


def _completions(node: Plain) -> Iterator[Plain]:
    return (completion for call in node["calls"] for completion in call["completions"])
