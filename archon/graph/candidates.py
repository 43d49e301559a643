"""Candidates and unit tests in a graph: made from completions, joined where edges meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import fsum

from archon import answers
from archon.types import (
    Annotation,
    AnswerKind,
    Candidate,
    CandidateId,
    Completion,
    Message,
    UnitTest,
    UnitTestMethod,
)


def from_completions(
    node: str,
    completions: Iterable[Completion],
    answer: AnswerKind,
    parents: tuple[CandidateId, ...] = (),
    messages: tuple[Message, ...] = (),
) -> list[Candidate]:
    """One candidate for each completion of the messages, its value read from the text as
    ``answer`` asks. A completion that ended within its reasoning has no value and is marked."""
    return [
        Candidate(
            CandidateId(node, completion.draw),
            completion.text,
            _value(completion, answer),
            parents,
            _cut_off(node) if completion.is_reasoning_cut_off else (),
            mean_logprob=_mean(completion.logprobs) if completion.logprobs else None,
            messages=messages,
        )
        for completion in completions
        if completion.error is None  # a sample that failed has no text
    ]


def _value(completion: Completion, answer: AnswerKind) -> str | None:
    if completion.is_reasoning_cut_off:
        return None
    return answers.read_answer(
        completion.text, answer, is_truncated=completion.finish_reason == "length"
    )


CUT_OFF_MARK = "reasoning cut off"
"""Marks a candidate whose completion ended within its reasoning; it answers nothing."""


def is_cut_off(candidate: Candidate) -> bool:
    """Whether the candidate answers nothing, because its reasoning never ended."""
    return any(a.kind == "mark" and a.value == CUT_OFF_MARK for a in candidate.annotations)


def _cut_off(node: str) -> tuple[Annotation, ...]:
    return (Annotation(node, "mark", CUT_OFF_MARK),)


def join(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The union of the groups by identity, in the order in which candidates first appear.

    A candidate that arrives by several ways carries the annotations of all of them, each once, and
    the value that its program came to where that was run on one of the ways.
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
    if not new:
        return known
    value = other.value if any(map(_tells_of_program, new)) else known.value
    return replace(known, value=value, annotations=known.annotations + new)


PROGRAM_MARK = "program: "
"""What every mark begins with that tells how a candidate's program ended."""


def has_run(candidate: Candidate) -> bool:
    """Whether the candidate's value is what its program came to, None where it came to nothing."""
    return any(map(_tells_of_program, candidate.annotations))


def _tells_of_program(annotation: Annotation) -> bool:
    return annotation.kind == "mark" and str(annotation.value).startswith(PROGRAM_MARK)


def reply_text(candidate: Candidate, kind: AnswerKind) -> str:
    """A candidate's text for a reader who sees nothing else.

    A program does not say what it comes to, so that is added.
    """
    if candidate.value is None or kind == "code" or not has_run(candidate):
        return candidate.text
    return f"{candidate.text}\n\nThe answer is {candidate.value}."


def join_tests(groups: Iterable[Iterable[UnitTest]]) -> tuple[UnitTest, ...]:
    """The union of the groups, in the order in which tests first appear.

    Tests that say the same are one, whoever wrote them.
    """
    joined: dict[tuple[UnitTestMethod, str], UnitTest] = {}
    for group in groups:
        for test in group:
            joined.setdefault((test.method, test.text), test)
    return tuple(joined.values())


def _mean(values: Sequence[float]) -> float:
    """As ``statistics.fmean``, whose module takes long to import."""
    return fsum(values) / len(values)
