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


def no_value_mark(node: str, outcome: str) -> Annotation:
    """The mark of a node that finds no value among its candidates; ``outcome`` is what it does."""
    return Annotation(node, "mark", NO_VALUE, outcome)


def unverified_mark(node: str) -> Annotation:
    """The mark of a verifier that passes failed candidates on."""
    return Annotation(node, "mark", UNVERIFIED, "no candidate passes the verifier; all are kept")


def notes(candidates: Sequence[Candidate], answer: AnswerKind) -> tuple[str, ...]:
    """The notes on an answer, the first of the candidates of the output node.

    ``answer`` is the kind of answer that was asked for.
    """
    if not candidates:
        return ("no candidate reached the output",)
    marks = (mark for mark in candidates[0].annotations if mark.kind == "mark")
    return tuple(dict.fromkeys(_note(mark, answer) for mark in marks))


def _note(mark: Annotation, answer: AnswerKind) -> str:
    if mark.value == NO_VALUE:
        return f"no candidate {_LACKING[answer]}; {mark.reason}"
    return mark.reason or str(mark.value)
