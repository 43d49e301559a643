"""Candidates and unit tests: construction from completions, and joining where edges meet."""

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
    """Return one candidate per successful completion of the messages.

    Its value is read from the text as an answer of the kind ``answer``. A completion whose
    reasoning was cut off has no value and gets ``CUT_OFF_MARK``.
    """
    cut_off = (Annotation(node, "mark", CUT_OFF_MARK),)
    return [
        Candidate(
            CandidateId(node, completion.draw),
            completion.text,
            _value(completion, answer),
            parents,
            cut_off if completion.is_reasoning_cut_off else (),
            mean_logprob=_mean(completion.logprobs),
            messages=messages,
        )
        for completion in completions
        if completion.error is None
    ]


def _value(completion: Completion, answer: AnswerKind) -> str | None:
    if completion.is_reasoning_cut_off:
        return None
    return answers.read_answer(
        completion.text, answer, is_truncated=completion.finish_reason == "length"
    )


CUT_OFF_MARK = "reasoning cut off"
"""Marks a candidate whose reasoning was cut off, so that it has no answer."""


def is_cut_off(candidate: Candidate) -> bool:
    """Return True if the candidate's reasoning was cut off, so that it has no answer."""
    return any(a.kind == "mark" and a.value == CUT_OFF_MARK for a in candidate.annotations)


def join(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Return the union of the groups by identity, in the order in which candidates first appear.

    A candidate that arrives on several paths has the annotations of all of them, each once. If its
    program was run on one path, it has the value of that path.
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
    value = other.value if any(map(_is_program_mark, new)) else known.value
    return replace(known, value=value, annotations=known.annotations + new)


PROGRAM_MARK = "program: "
"""Beginning of every mark that records how a candidate's program ended."""


def has_run(candidate: Candidate) -> bool:
    """Return True if the candidate's program was run; its value is then the result, or None."""
    return any(map(_is_program_mark, candidate.annotations))


def _is_program_mark(annotation: Annotation) -> bool:
    return annotation.kind == "mark" and str(annotation.value).startswith(PROGRAM_MARK)


def reply_text(candidate: Candidate, kind: AnswerKind) -> str:
    """Return a candidate's text, with the result of its program if one was run."""
    if candidate.value is None or kind == "code" or not has_run(candidate):
        return candidate.text
    return f"{candidate.text}\n\nThe answer is {candidate.value}."


def join_tests(groups: Iterable[Iterable[UnitTest]]) -> tuple[UnitTest, ...]:
    """Return the union of the groups, in the order in which tests first appear.

    Tests of equal method and text are one test, regardless of their writers.
    """
    joined: dict[tuple[UnitTestMethod, str], UnitTest] = {}
    for group in groups:
        for test in group:
            joined.setdefault((test.method, test.text), test)
    return tuple(joined.values())


def _mean(values: Sequence[float] | None) -> float | None:
    return fsum(values) / len(values) if values else None  # statistics.fmean is slow to import
