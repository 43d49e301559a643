"""Gather a page's data: a summary, and a chunk for each answer that is unpacked on demand."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from archon.evals.comparison import compare
from archon.evals.equal_cost import equal_cost
from archon.evals.records import Record
from archon.evals.view.flow import Flow
from archon.evals.view.nodes import NodeTallies
from archon.evals.view.source import RunData, Trace
from archon.evals.view.texts import SharedTexts, Texts

_MAX_QUESTION_CHARS, _MAX_VALUE_CHARS = 300, 200
_NUMBER = re.compile(r"(\d+)")


@dataclass
class Page:
    """The data of a page that shows runs."""

    summary: dict[str, Any]
    """The runs, the items, and a row for each answer. A row refers to its chunk by number."""
    chunks: list[str]
    """One chunk for each answer: its texts and its trace, packed by ``texts.pack``."""
    shared: str
    """The chunk of texts that several answers share."""


@dataclass
class _Answers:
    """The answers of one run, each with its record, its row in the summary, and its chunk."""

    nodes: NodeTallies
    sources: frozenset[str]
    """The nodes without inputs."""
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
            "outcome": "failed" if record.error else "right" if record.is_right else "wrong",
            "score": record.score,
            "answer": _short(record.value, _MAX_VALUE_CHARS),
            "cost": record.cost_tokens,
            "seconds": record.seconds,
            "agreement": self._agreement(record),
            "some_right": any(draw.is_right for draws in record.draws.values() for draw in draws),
            "changed": changed,
        }
        self.rows.append((record, row, texts.packed(_details(record, texts) | {"trace": flow})))

    def _agreement(self, record: Record) -> float | None:
        """Return the share of samples of ``sources`` that have the most frequent value.

        Return None if there are fewer than two samples.
        """
        values = [draw.value for node in self.sources for draw in record.draws.get(node, ())]
        if len(values) < 2:
            return None
        votes = Counter(value for value in values if value is not None)
        return max(votes.values(), default=0) / len(values)


def gather(runs: Sequence[RunData]) -> Page:
    """Return the data of a page; it does not depend on the order of the records.

    Raises
    ------
    UsageError
        Two runs have no item in common.
    StorageError, SpecError
        A journal cannot be read.
    MissingExtraError
        Several runs are compared, and scipy is not installed.
    """
    shared = SharedTexts(trace for run in runs for _, trace in run.answers() if trace is not None)
    answers = [_read(run, shared) for run in runs]
    comparison = _comparison(runs, answers) if len(runs) > 1 else None
    names = _names(runs, comparison)
    items = _items(answers)
    positions = {item["id"]: position for position, item in enumerate(items)}
    chunks: list[str] = []
    for run in answers:
        for record, row, chunk in run.rows:
            row |= {"item": positions[record.item], "chunk": len(chunks)}
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
    architecture = run.description["specification"]["architecture"]
    nodes = architecture["nodes"].items()
    sources = frozenset(name for name, node in nodes if not node.get("inputs"))
    answers = _Answers(NodeTallies(architecture), sources)
    for record, trace in run.answers():
        answers.add(record, trace, shared)
    answers.rows.sort(key=lambda row: (_natural(row[0].item), row[0].epoch))
    return answers


def _run(name: str, run: RunData, answers: _Answers) -> dict[str, Any]:
    asked = run.description
    architecture, models = (asked["specification"][key] for key in ("architecture", "models"))
    nested = {
        model["architecture"]["name"]: model["architecture"].get("nodes", {})
        for model in models.values()
        if model and "architecture" in model
    }
    return {
        "name": name,
        "report": run.report,
        "num_asked": asked["items"]["count"] * asked["epochs"],
        "description": architecture.get("description", ""),
        "nodes": architecture["nodes"],
        "nested": nested,
        "output": architecture["output"],
        "tallies": answers.nodes.to_json(),
        **{key: asked.get(key) for key in ("start_time", "versions", "machine")},
        "precisions": {role: model.get("precision") for role, model in models.items() if model},
    }


def _comparison(runs: Sequence[RunData], answers: Sequence[_Answers]) -> dict[str, Any]:
    """Return the data of ``archon compare``, and the indices of the two runs of each pair."""
    records = [[record for record, _, _ in run.rows] for run in answers]
    found = compare([run.report for run in runs], records)
    names = [row["name"] for row in found["rows"]]
    pairs = [
        pair | {"runs": [names.index(pair["a"]), names.index(pair["b"])]} for pair in found["pairs"]
    ]
    specs = [run.description["specification"]["architecture"] for run in runs]
    return {**found, "pairs": pairs, "equal_cost": equal_cost(names, specs, records)}


def _names(runs: Sequence[RunData], comparison: Mapping[str, Any] | None) -> list[str]:
    """Return the names of the runs; in a comparison, all names are different."""
    if comparison is None:
        return [str(run.report["architecture"]) for run in runs]
    return [row["name"] for row in comparison["rows"]]


def _items(answers: Sequence[_Answers]) -> list[dict[str, str]]:
    """Return the items of all runs, sorted by id in natural order (``item-9``, ``item-10``)."""
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
