"""Notes on how an answer was chosen, from the marks in its candidate's annotations."""

from __future__ import annotations

from collections.abc import Sequence

from archon.answers.kinds import ANSWER_TYPES
from archon.types import Annotation, AnswerKind, Candidate

NO_VALUE = "no_value"
"""The mark of a candidate that a node chose although no candidate had a value."""
UNVERIFIED = "unverified"
"""The mark of candidates that a verifier passes on although all of them failed."""


def no_value_mark(node: str, outcome: str) -> Annotation:
    """Return the mark of a node whose candidates have no value; ``outcome`` is what it did."""
    return Annotation(node, "mark", NO_VALUE, outcome)


def unverified_mark(node: str) -> Annotation:
    """Return the mark of a verifier that passes on all candidates because all of them failed."""
    return Annotation(node, "mark", UNVERIFIED, "no candidate passes the verifier; all are kept")


def notes(candidates: Sequence[Candidate], answer: AnswerKind) -> tuple[str, ...]:
    """Return the notes on the answer, which is the first of the output node's candidates."""
    if not candidates:
        return ("no candidate reached the output",)
    marks = (mark for mark in candidates[0].annotations if mark.kind == "mark")
    return tuple(dict.fromkeys(_note(mark, answer) for mark in marks))


def advice(value: str | None, answer: AnswerKind) -> str | None:
    """Return what to change if an answer lacks a value that its type needs, or None."""
    declared = ANSWER_TYPES[answer]
    if value is not None or not declared.needs_value:
        return None
    others = " or ".join(f"'{kind}'" for kind in ("text", "choice", "number") if kind != answer)
    return (
        f"the answer {declared.states_none}; if the question asks for something else, set the type "
        f"of the answer, for example to {others}, with --answer, with the key 'answer' of the "
        "architecture, or in Question(answer=...)"
    )


def _note(mark: Annotation, answer: AnswerKind) -> str:
    if mark.value == NO_VALUE:
        return f"no candidate {ANSWER_TYPES[answer].states}; {mark.reason}"
    return mark.reason or str(mark.value)
