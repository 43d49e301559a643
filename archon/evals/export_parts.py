"""Parts of the exports for other tools: the call that wrote an answer, and figures of scorers."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean, stdev
from typing import Any, NamedTuple

from archon.evals.records import Record
from archon.evals.run import Run
from archon.evals.scorers import scorer_label


class AnswerCall(NamedTuple):
    """The call whose completion is the answer, as plain data of a trace."""

    call: Mapping[str, Any]
    completion: Mapping[str, Any]


def answer_call(trace: Mapping[str, Any] | None) -> AnswerCall | None:
    """Return the call that wrote the answer; None if there is no answer or no such call."""
    nodes = {node["node"]: node for node in (trace or {}).get("nodes", ())}
    output = nodes.get((trace or {}).get("output"))
    if output is None or not output["outputs"]:
        return None
    identity = output["outputs"][0]["id"]
    for call in nodes.get(identity["node"], {"calls": ()})["calls"]:
        for completion in call["completions"]:
            if completion["draw"] == identity["draw"]:
                return AnswerCall(call, completion)
    return None


def start_time(run: Run) -> datetime:
    """Return the time at which the run started."""
    written = run.description.get("start_time", "1970-01-01T00:00:00+00:00")
    return datetime.fromisoformat(written).astimezone(UTC)


def run_id(run: Run) -> str:
    """Return the id of a run in hex digits; runs before ids have the digest of their settings."""
    return str(run.description.get("id", run.description["digest"]))


def scorer_choices(run: Run) -> list[Mapping[str, Any]]:
    """Return the scorers of a run, each with its name and its parameters."""
    score = run.description["specification"]["benchmark"]["score"]
    chosen = score if isinstance(score, list) else [score]
    return [choice if isinstance(choice, dict) else {"name": choice} for choice in chosen]


def scores_of(run: Run, record: Record) -> dict[str, float]:
    """Return scorer → score of an answer; the first decides the accuracy.

    A failure scores 0. A scorer that could not score the answer is missing.
    """
    first, *others = [scorer_label(dict(choice)) for choice in scorer_choices(run)]
    found = dict.fromkeys(others, 0.0) if record.error is not None else record.other_scores
    return {first: record.score, **found}


class Figures(NamedTuple):
    """Figures of one scorer over all items. Failures count as scores of 0."""

    accuracy: float
    """Mean over the items of the share of scores of 1."""
    accuracy_stderr: float
    """Standard error of ``accuracy`` over the items; 0 for a single item."""
    mean: float
    """Mean over the items of their mean score."""
    stderr: float
    """Standard error of ``mean`` over the items; 0 for a single item."""
    num_scores: int
    is_binary: bool
    """True if every score is 0 or 1."""


def figures(run: Run, records: Sequence[Record]) -> dict[str, Figures]:
    """Return scorer → its figures, in the order of the scorers."""
    by_scorer: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for label, score in scores_of(run, record).items():
            by_scorer[label][record.item].append(score)
    return {label: _figures(by_item) for label, by_item in by_scorer.items()}


def _figures(by_item: Mapping[str, Sequence[float]]) -> Figures:
    means = [fmean(scores) for scores in by_item.values()]
    rights = [fmean(score == 1 for score in scores) for scores in by_item.values()]
    every = [score for scores in by_item.values() for score in scores]
    is_binary = all(score in (0, 1) for score in every)
    errors = map(_standard_error, (rights, means))
    return Figures(fmean(rights), next(errors), fmean(means), next(errors), len(every), is_binary)


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def later(start: datetime, seconds: float) -> str:
    """Return the time some seconds after another, in ISO format."""
    return (start + timedelta(seconds=seconds)).isoformat()


def encoded(data: Any) -> str:
    """Return data as JSON in one line of ASCII; unpaired surrogates are replaced."""
    text = json.dumps(data)
    if "\\ud" in text:  # strict readers reject unpaired surrogates
        cleaned = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
        text = json.dumps(json.loads(cleaned))
    return text


def joined(parts: Iterator[str], separator: str) -> Iterator[str]:
    """Yield texts with a separator before each but the first."""
    for index, part in enumerate(parts):
        yield f"{separator}{part}" if index else part
