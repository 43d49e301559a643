"""From runs to the data of a page: a summary that is read at once, and a chunk for each answer."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from archon.evals.folder import Record
from archon.evals.report import compare
from archon.evals.view.flow import Flow
from archon.evals.view.nodes import NodeTallies
from archon.evals.view.source import RunData, Trace
from archon.evals.view.texts import SharedTexts, Texts

_MAX_QUESTION_CHARS, _MAX_VALUE_CHARS = 300, 200
_NUMBER = re.compile(r"(\d+)")


@dataclass
class Page:
    """What a page holds."""

    summary: dict[str, Any]
    """Runs, items and a row for each answer; a row names its chunk by number."""
    chunks: list[str]
    """Packed answers (``texts.pack``)."""
    shared: str
    """The packed list of the texts that chunks share."""


@dataclass
class _Answers:
    """The rows of one run and the chunks behind them."""

    nodes: NodeTallies
    drafting: frozenset[str]
    """Nodes that write answers without reading any."""
    rows: list[tuple[Record, dict[str, Any], str]] = field(default_factory=list)

    def add(self, record: Record, trace: Trace | None, shared: SharedTexts) -> None:
        texts = Texts(shared)
        changed: list[str] = []
        flow = None
        if trace is not None:
            read = Flow.of(trace, record.draws)
            changed = self.nodes.add(read, record.draws)
            flow = read.to_json(texts)
        row = {
            "epoch": record.epoch,
            "outcome": "failed" if record.error else "right" if record.score else "wrong",
            "answer": _short(record.value, _MAX_VALUE_CHARS),
            "cost": record.cost_tokens,
            "seconds": record.seconds,
            "agreement": self._agreement(record),
            "some_right": any(draw.score for draws in record.draws.values() for draw in draws),
            "changed": changed,
        }
        self.rows.append((record, row, texts.packed(_details(record, texts) | {"trace": flow})))

    def _agreement(self, record: Record) -> float | None:
        """The largest share of the drafts that give one value."""
        values = [draw.value for node in self.drafting for draw in record.draws.get(node, ())]
        if len(values) < 2:
            return None
        votes = Counter(value for value in values if value is not None)
        return max(votes.values(), default=0) / len(values)


def gather(runs: Sequence[RunData]) -> Page:
    """The data of one page; the same records give the same page in whatever order they came.

    Raises
    ------
    UsageError : two runs have no item in common, or one cannot be read.
    MissingExtraError : several runs are compared, and scipy is not installed.
    """
    shared = SharedTexts(trace for run in runs for _, trace in run.entries() if trace is not None)
    answers = [_read(run, shared) for run in runs]
    comparison = _comparison(runs, answers) if len(runs) > 1 else None
    names = _names(runs, comparison)
    items = _items(answers)
    places = {item["id"]: place for place, item in enumerate(items)}
    chunks: list[str] = []
    for run in answers:
        for record, row, chunk in run.rows:
            row |= {"item": places[record.item], "chunk": len(chunks)}
            chunks.append(chunk)
    summary = {
        "runs": [
            _run(name, run, part) for name, run, part in zip(names, runs, answers, strict=True)
        ],
        "items": items,
        "rows": [[row for _, row, _ in run.rows] for run in answers],
        "comparison": comparison,
    }
    digest = sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()
    return Page(summary | {"key": digest[:16]}, chunks, shared.packed())


def _read(run: RunData, shared: SharedTexts) -> _Answers:
    architecture = run.description["architecture"]
    drafting = frozenset(
        name for name, node in architecture["nodes"].items() if not node.get("inputs")
    )
    answers = _Answers(NodeTallies(architecture), drafting)
    for record, trace in run.entries():
        answers.add(record, trace, shared)
    answers.rows.sort(key=lambda row: (_natural(row[0].item), row[0].epoch))
    return answers


def _run(name: str, run: RunData, answers: _Answers) -> dict[str, Any]:
    asked, architecture = run.description, run.description["architecture"]
    return {
        "name": name,
        "report": run.report,
        "description": architecture.get("description", ""),
        "nodes": architecture["nodes"],
        "output": architecture["output"],
        "answer": architecture.get("answer"),
        "tallies": answers.nodes.to_json(),
        "start_time": asked.get("start_time"),
        "versions": asked.get("versions", {}),
        "machine": asked.get("machine", {}),
        "precisions": {
            role: card.get("precision") for role, card in asked.get("models", {}).items() if card
        },
    }


def _comparison(runs: Sequence[RunData], answers: Sequence[_Answers]) -> dict[str, Any]:
    records = [[record for record, _, _ in run.rows] for run in answers]
    found = compare([run.report for run in runs], records)
    indices = list(itertools.combinations(range(len(runs)), 2))
    pairs = [
        dict(pair) | {"runs": list(places)}
        for pair, places in zip(found["pairs"], indices, strict=True)
    ]
    return {**found, "pairs": pairs}


def _names(runs: Sequence[RunData], comparison: Mapping[str, Any] | None) -> list[str]:
    """The names of the runs; in a comparison those that it tells apart."""
    if comparison is None:
        return [str(run.report["architecture"]) for run in runs]
    names = {pair["runs"][0]: pair["a"] for pair in comparison["pairs"]}
    names |= {pair["runs"][1]: pair["b"] for pair in comparison["pairs"]}
    return [names[place] for place in range(len(runs))]


def _items(answers: Sequence[_Answers]) -> list[dict[str, str]]:
    """Every item of any run, in the natural order of their ids: item 9 before item 10."""
    first: dict[str, Record] = {}
    for run in answers:
        for record, _, _ in run.rows:
            first.setdefault(record.item, record)
    return [
        {
            "id": name,
            "question": _short(first[name].question, _MAX_QUESTION_CHARS) or "",
            "target": _short(first[name].target, _MAX_VALUE_CHARS) or "",
        }
        for name in sorted(first, key=_natural)
    ]


def _details(record: Record, texts: Texts) -> dict[str, Any]:
    return {
        "question": texts.number(record.question),
        "target": record.target,
        "text": None if record.text is None else texts.number(record.text),
        "value": record.value,
        "explanation": record.explanation,
        "error": record.error,
        "usage": asdict(record.usage),
    }


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in _NUMBER.split(name)
    ]


def _short(text: str | None, length: int) -> str | None:
    return text if text is None or len(text) <= length else text[:length] + "…"
