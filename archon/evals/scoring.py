"""Score an answer of an architecture, and the samples of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from archon.answers import read_target
from archon.errors import ArchonError, ScoringError
from archon.evals.benchmarks import Item
from archon.evals.records import Draw
from archon.evals.scorers import Attempt, Score, Scorer
from archon.evals.scorers.choice import shuffled
from archon.graph.answer import Answer
from archon.graph.candidates import has_run
from archon.graph.grouping import first_values
from archon.graph.nodes.registry import NODE_TYPES
from archon.types import Candidate


class ItemScoring:
    """Scores the answer to one item by several scorers.

    Parameters
    ----------
    scorers
        The first decides whether the answer is right. The others only add figures.
    seed
        Random seed of scorers that ask a model.
    """

    def __init__(self, item: Item, scorers: Sequence[Scorer], seed: int) -> None:
        self._item, self._scorers, self._seed = item, scorers, seed
        self.choices = shown_choices(item, scorers)
        """The options of the question, in the order in which it shows them."""

    @property
    def target(self) -> str:
        """The target of the item; for a question with options, the text of the right one."""
        item = self._item
        if not item.choices:
            return item.target
        return read_target(item.target, "choice", choices=item.choices) or item.target

    @property
    def targets(self) -> tuple[str, ...]:
        """All accepted answers, if there are several; of options, their texts."""
        item = self._item
        if len(item.targets) < 2:
            return ()
        if not item.choices:
            return item.targets
        return tuple(
            read_target(target, "choice", choices=item.choices) or target for target in item.targets
        )

    async def record_fields(self, answer: Answer) -> dict[str, Any]:
        """Score an answer and the samples of all nodes; return the fields of a record.

        If a scorer after the first fails, its error is recorded in place of its score.

        Raises
        ------
        ScoringError
            The first scorer fails or returns an invalid score; the error names the item.
        """
        first, *others = self._scorers
        attempt = self._attempt(answer, first)
        try:
            score = await first.score(attempt)
            draws = await self._draws(answer, first)
        except ScoringError as error:
            raise ScoringError(f"item {self._item.id!r}: {error}") from error
        fields: dict[str, Any] = {
            "value": score.answer,
            "score": score.value,
            "explanation": score.explanation,
            "metrics": dict(score.metrics),
            "metric_weights": dict(score.metric_weights),
            "scoring_usage": score.usage,
            "draws": draws,
            "other_scores": {},
            "explanations": {},
            "scorer_errors": {},
        }
        for scorer in others:
            try:
                other = await scorer.score(self._attempt(answer, scorer))
            except ArchonError as error:
                fields["scorer_errors"][scorer.label] = str(error)
                continue
            fields["other_scores"][scorer.label] = other.value
            fields["explanations"][scorer.label] = other.explanation
            fields["scoring_usage"] += other.usage
            for key, figures in (
                ("metrics", other.metrics),
                ("metric_weights", other.metric_weights),
            ):
                fields[key] |= {f"{scorer.label}: {name}": v for name, v in figures.items()}
        return fields

    def _attempt(self, answer: Answer, scorer: Scorer) -> Attempt:
        text = _text(answer.candidates[0], scorer) if answer.candidates else answer.text
        item = self._item
        return Attempt(
            text,
            item.target,
            answer.value,
            targets=item.targets,
            choices=item.choices,
            shown_choices=self.choices,
            question=item.question,
            item=item.id,
            row=item.metadata,
            trace=answer.trace,
            seed=self._seed,
        )

    async def _draws(self, answer: Answer, scorer: Scorer) -> dict[str, tuple[Draw, ...]]:
        """Score each node's samples as if they were the answer.

        Programs are scored by their results. Equal samples are scored once. Samples with the same
        value get the first one's, since vote@k counts equal values.
        """
        if not scorer.type.judges_samples:
            return {}
        attempt = self._attempt(answer, scorer)
        attempts = {
            node: [replace(attempt, value=c.value, text=_text(c, scorer)) for c in candidates]
            for node, candidates in _samples(answer).items()
        }
        distinct = {_key(a, scorer): a for listed in attempts.values() for a in listed}
        scores: list[Score] = await asyncio.gather(*map(scorer.score, distinct.values()))
        of_key = dict(zip(distinct, scores, strict=True))
        draws: dict[str, tuple[Draw, ...]] = {}
        for node, listed in attempts.items():
            found = [of_key[_key(a, scorer)] for a in listed]
            kind = answer.trace.question.answer
            values = await first_values([score.answer for score in found], kind)
            draws[node] = tuple(
                Draw(value, score.value) for value, score in zip(values, found, strict=True)
            )
        return draws


def shown_choices(item: Item, scorers: Sequence[Scorer]) -> tuple[str, ...]:
    """Return an item's options in the order in which its question shows them."""
    shuffles = any(getattr(scorer.parameters, "shuffle", False) for scorer in scorers)
    return shuffled(item.choices, item.id) if shuffles else item.choices


def _samples(answer: Answer) -> dict[str, list[Candidate]]:
    """Return node → the samples that it wrote, with the results of programs that were run."""
    ran = {
        c.id: c
        for node in answer.trace.nodes.values()
        if NODE_TYPES[node.type].effects.values
        for c in node.outputs
    }
    written = {
        name: [ran.get(c.id, c) for c in node.outputs if c.id.node == name]
        for name, node in answer.trace.nodes.items()
    }
    return {name: candidates for name, candidates in written.items() if candidates}


def _key(attempt: Attempt, scorer: Scorer) -> tuple[str | None, str]:
    """Return what a sample's score depends on."""
    has_value = scorer.type.reads == "value" and attempt.value is not None
    return (attempt.value, "" if has_value else attempt.text)


def _text(candidate: Candidate, scorer: Scorer) -> str:
    """Return the text to score.

    The text is empty if the candidate has no value, and either its program was run or the scorer
    judges values. The scorer might otherwise find a value in a program that failed, or in a text
    that was cut off.
    """
    has_none = has_run(candidate) or scorer.type.reads == "value"
    return "" if candidate.value is None and has_none else candidate.text
