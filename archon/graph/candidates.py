"""Candidates on their way through a graph: made from completions, joined where edges meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from archon.answers import read_answer
from archon.types import AnswerKind, Candidate, CandidateId, Completion


def from_completions(
    node: str,
    completions: Iterable[Completion],
    answer: AnswerKind,
    parents: tuple[CandidateId, ...] = (),
) -> list[Candidate]:
    """One candidate for each completion, its value read from the text as ``answer`` asks."""
    return [
        Candidate(
            CandidateId(node, completion.draw),
            completion.text,
            read_answer(completion.text, answer),
            parents,
            mean_logprob=fmean(completion.logprobs) if completion.logprobs else None,
        )
        for completion in completions
    ]


def join(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The union of the groups by identity, in the order in which candidates first appear.

    A candidate that arrives by several ways carries the annotations of all of them, each once.
    """
    if len(groups) == 1:
        return list(groups[0])
    joined: dict[CandidateId, Candidate] = {}
    for group in groups:
        for candidate in group:
            known = joined.setdefault(candidate.id, candidate)
            if known is not candidate:
                joined[candidate.id] = _merged(known, candidate)
    return list(joined.values())


def _merged(known: Candidate, other: Candidate) -> Candidate:
    new = tuple(a for a in other.annotations if a not in known.annotations)
    return replace(known, annotations=known.annotations + new) if new else known
