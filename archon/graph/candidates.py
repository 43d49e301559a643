"""Make candidates from completions, and merge the candidates that reach a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import fsum

from archon import answers
from archon.answers.kinds import ANSWER_TYPES
from archon.answers.letters import letter_of
from archon.types import (
    Annotation,
    Candidate,
    CandidateId,
    Completion,
    Message,
    Question,
    UnitTest,
    UnitTestMethod,
)


def from_completions(
    node: str,
    completions: Iterable[Completion],
    question: Question,
    parents: tuple[CandidateId, ...] = (),
    messages: tuple[Message, ...] = (),
) -> list[Candidate]:
    """Return one candidate for each completion of ``messages`` that did not fail.

    A candidate's value is the answer that its text states, of the type that the question asks for.
    A candidate whose reasoning was cut off has no value and is marked with ``CUT_OFF_MARK``.
    """
    cut_off = (Annotation(node, "mark", CUT_OFF_MARK),)
    return [
        Candidate(
            CandidateId(node, completion.draw),
            completion.text,
            _value(completion, question),
            parents,
            cut_off if completion.is_reasoning_cut_off else (),
            mean_logprob=_mean(completion.logprobs),
            messages=messages,
        )
        for completion in completions
        if completion.error is None
    ]


def _value(completion: Completion, question: Question) -> str | None:
    if completion.is_reasoning_cut_off:
        return None
    return answers.read_answer(
        completion.text,
        question.answer,
        is_truncated=completion.finish_reason == "length",
        choices=question.choices,
    )


CUT_OFF_MARK = "reasoning cut off"
"""The mark of a candidate whose reasoning was cut off before it stated an answer."""


def is_cut_off(candidate: Candidate) -> bool:
    """Return True if the candidate's reasoning was cut off before it stated an answer."""
    return any(a.kind == "mark" and a.value == CUT_OFF_MARK for a in candidate.annotations)


def join(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """Merge the candidates of several inputs, in the order in which they first appear.

    Candidates with the same id become one candidate with the annotations from all inputs, without
    duplicates. If its program was run on one path through the graph, the value from that path is
    used.
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
"""Prefix of a mark that records how a candidate's program ended."""


def has_run(candidate: Candidate) -> bool:
    """Return True if the candidate's program was run.

    Its value is then the program's result, or None if there is no valid result.
    """
    return any(map(_is_program_mark, candidate.annotations))


def _is_program_mark(annotation: Annotation) -> bool:
    return annotation.kind == "mark" and str(annotation.value).startswith(PROGRAM_MARK)


def reply_text(candidate: Candidate, question: Question) -> str:
    """Return a candidate's text; if its program was run, add the result as the answer."""
    if candidate.value is None or question.answer == "code" or not has_run(candidate):
        return candidate.text
    value = letter_of(candidate.value, question.choices)
    return f"{candidate.text}\n\n{ANSWER_TYPES[question.answer].reply(value)}"


def join_tests(groups: Iterable[Iterable[UnitTest]]) -> tuple[UnitTest, ...]:
    """Merge the unit tests of several inputs, in the order in which they first appear.

    Tests with the same method and text become one, even if different nodes wrote them.
    """
    joined: dict[tuple[UnitTestMethod, str], UnitTest] = {}
    for group in groups:
        for test in group:
            joined.setdefault((test.method, test.text), test)
    return tuple(joined.values())


def _mean(values: Sequence[float] | None) -> float | None:
    return fsum(values) / len(values) if values else None  # statistics.fmean is slow to import
