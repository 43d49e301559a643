"""What whoever reads an answer should know: marks that nodes put on it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from archon.types import Annotation, AnswerKind, Candidate

NO_VALUE = "no_value"
"""The mark of a candidate that was not chosen: nothing states a value that could be."""
UNVERIFIED = "unverified"
"""The mark of a candidate that a verifier passes on although it failed."""

_LACKING: dict[AnswerKind, str] = {
    "number": "states a number",
    "text": "states an answer",
    "code": "contains a program",
}


def no_value_mark(node: str, answer: AnswerKind, outcome: str) -> Annotation:
    """The mark of a node that found no value among its candidates, and what it does instead."""
    return Annotation(node, "mark", NO_VALUE, f"no candidate {_LACKING[answer]}; {outcome}")


def unverified_mark(node: str) -> Annotation:
    """The mark of a verifier that passes failed candidates on."""
    return Annotation(node, "mark", UNVERIFIED, "no candidate passes the verifier; all are kept")


def notes(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The notes on an answer, the first of the candidates of the output node."""
    if not candidates:
        return ("no candidate reached the output",)
    marks = (mark for mark in candidates[0].annotations if mark.kind == "mark")
    return tuple(dict.fromkeys(mark.reason or str(mark.value) for mark in marks))
