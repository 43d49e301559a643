"""Fake runs for pages, with invented texts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from archon.evals.records import Draw, Record
from archon.evals.view.source import Answer
from archon.types import Usage

DRAFTS = 16
NODES: dict[str, Any] = {
    "draft": {"type": "generator", "model": "solver", "samples": DRAFTS, "inputs": []},
    "notes": {"type": "critic", "model": "judge", "inputs": ["draft"]},
    "best": {"type": "ranker", "model": "judge", "inputs": ["notes"], "keep": 3},
    "merged": {"type": "fuser", "model": "solver", "samples": 2, "inputs": ["best"]},
    "check": {"type": "verifier", "model": "judge", "inputs": ["merged"]},
    "answer": {"type": "vote", "inputs": ["draft", "check"]},
}
ZERO = {
    "prompt_tokens": 300,
    "cached_tokens": 100,
    "completion_tokens": 40,
    "generated_tokens": 40,
    "choice_tokens": 0,
    "calls": 1,
}
SAMPLING = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 320, "stop": []}
EXEMPLARS = [
    {"role": role, "content": f"{role} {n}: the exemplar that stands before every question. " * 8}
    for n in range(4)
    for role in ("user", "assistant")
]


class FakeRun:
    """A run of ``NODES`` over the given entries."""

    def __init__(self, entries: Sequence[Answer], name: str = "fake", **report: Any) -> None:
        self._entries = list(entries)
        records = [record for record, _ in entries]
        right = sum(record.score for record in records) / max(1, len(records))
        self.description: dict[str, Any] = {
            "specification": {
                "architecture": {"name": name, "description": "A fake.", "output": "answer"}
                | {"nodes": NODES},
                "models": {"solver": {"name": "tiny", "precision": "int8"}, "judge": None},
            },
            "items": {"count": max(1, len({record.item for record in records}))},
            "epochs": 1,
            "start_time": "2026-01-02T03:04:05+00:00",
            "versions": {"python": "3.11.2"},
            "machine": {"platform": "Linux", "cpus": 2},
        }
        self.report: dict[str, Any] = {
            "architecture": name,
            "benchmark": "sums",
            "split": "select",
            "scorer": "number-exact",
            "seed": 0,
            "epochs": 1,
            "limit": None,
            "models": {"solver": "tiny", "judge": None},
            "num_items": len({record.item for record in records}),
            "num_runs": len(records),
            "num_errors": sum(record.error is not None for record in records),
            "accuracy": right,
            "accuracy_interval": [max(0.0, right - 0.1), min(1.0, right + 0.1)],
            "cost_tokens": 1000.0 + 10 * len(name),
            "seconds": 0.5,
            "usage": ZERO,
            "wall_seconds": 12.0,
            "tokens_per_second": 345.0,
            "run": f"runs/{name}",
            "interrupted": False,
        } | report

    def answers(self) -> Iterator[Answer]:
        return iter(self._entries)


def entry(item: str, *, epoch: int = 0, target: str = "7", **texts: str) -> Answer:
    """An answer of ``NODES``; ``texts`` replaces the question, a candidate's text or a critique."""
    chance = random.Random(ascii(item) + str(epoch))
    words = texts.get("draft", "First I add the numbers, then I check the sum once more.")
    question = texts.get("question", f"What is {item} plus something? Think about it step by step.")
    values = [chance.choice([target, target, "8", "9", None]) for _ in range(DRAFTS)]
    drafts = [
        _candidate("draft", draw, f"{words} ({draw}) So it is {value}.", value)
        for draw, value in enumerate(values)
    ]
    noted = [
        _noted(draft, "notes", "critique", texts.get("critique", f"Short. ({place})"))
        for place, draft in enumerate(drafts)
    ]
    order = list(range(DRAFTS))
    chance.shuffle(order)
    ranked = [
        _noted(noted[index], "best", "score", 1 - place / DRAFTS)
        for place, index in enumerate(order)
    ]
    best = ranked[:3]
    merged = [
        _candidate(
            "merged", draw, f"Fused {draw} of {item}: {words}", target, [one["id"] for one in best]
        )
        for draw in range(2)
    ]
    kept = [_noted(merged[0], "check", "verdict", "pass", "Right.\nVerdict: correct")]
    votes: dict[str, dict[str, Any]] = {}
    for candidate in [*drafts, *kept]:
        if candidate["value"] is not None:
            votes.setdefault(candidate["value"], candidate)
    winners = sorted(votes.values(), key=lambda one: -values.count(one["value"]))
    answer = [_noted(one, "answer", "score", float(values.count(one["value"]))) for one in winners]
    ranking = " > ".join(f"[{index + 1}]" for index in order)
    judgements = [
        _call(one["text"], [reply])
        for one, reply in zip(
            merged, ["Right.\nVerdict: correct", "No.\nVerdict: incorrect"], strict=True
        )
    ]
    nodes = [
        _node("draft", [], drafts, [_call(question, [one["text"] for one in drafts])]),
        _node("notes", drafts, noted, [_call(question, ["[1] Short."])]),
        _node("best", noted, best, [_call(question, [ranking])], ranked[3:]),
        _node("merged", best, merged, [_call(question, [one["text"] for one in merged])]),
        _node("check", merged, kept, judgements),
        _node("answer", [*drafts, *kept], answer, []),
    ]
    value = answer[0]["value"]
    record = Record(
        specification="0" * 32,
        item=item,
        epoch=epoch,
        question=question,
        target=target,
        text=answer[0]["text"],
        value=value,
        score=int(value == target),
        explanation=f"{value!r}, target {target!r}",
        cost_tokens=1000 + chance.randrange(500),
        usage=Usage(prompt_tokens=300, completion_tokens=40, generated_tokens=40, calls=21),
        seconds=0.5,
        error=None,
        draws={
            "draft": tuple(Draw(value, int(value == target)) for value in values),
            "merged": (Draw(target, 1), Draw(target, 1)),
        },
    )
    trace = {"architecture": "fake", "output": "answer", "seconds": 0.5, "cost_tokens": 1000}
    return record, {**trace, "nodes": nodes}


def failure(item: str, error: str = "LMError: it did not answer", epoch: int = 0) -> Answer:
    """An item that failed."""
    record = Record(
        specification="0" * 32,
        item=item,
        epoch=epoch,
        question="What is lost?",
        target="7",
        text=None,
        value=None,
        score=0,
        explanation="failed",
        cost_tokens=0,
        usage=Usage(),
        seconds=0.1,
        error=error,
    )
    return record, None


def _candidate(
    node: str, draw: int, text: str, value: str | None, parents: Sequence[Any] = ()
) -> dict[str, Any]:
    identity = {"node": node, "draw": draw}
    return {
        "id": identity,
        "text": text,
        "value": value,
        "parents": list(parents),
        "annotations": [],
    }


def _noted(
    candidate: dict[str, Any], node: str, kind: str, value: str | float, reason: str = ""
) -> dict[str, Any]:
    note = {"node": node, "kind": kind, "value": value, "reason": reason}
    return {**candidate, "annotations": [*candidate["annotations"], note]}


def _node(
    name: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    calls: Sequence[Any],
    dropped: Sequence[Any] = (),
) -> dict[str, Any]:
    return {
        "node": name,
        "type": NODES[name]["type"],
        "bypassed": False,
        "start_seconds": 0.0,
        "seconds": 0.25,
        "usage": ZERO,
        "inputs": [one["id"] for one in inputs],
        "outputs": list(outputs),
        "dropped": list(dropped),
        "calls": list(calls),
    }


def _call(prompt: str, texts: Sequence[str]) -> dict[str, Any]:
    return {
        "messages": [*EXEMPLARS, {"role": "user", "content": prompt}],
        "sampling": SAMPLING,
        "first_draw": 0,
        "start_seconds": 0.0,
        "seconds": 0.25,
        "completions": [
            {"text": text, "draw": draw, "finish_reason": "stop", "usage": ZERO}
            for draw, text in enumerate(texts)
        ],
    }
