"""Values of candidates in which values that are the same are equal strings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from archon import answers
from archon.answers.kinds import ANSWER_TYPES
from archon.types import AnswerKind, Candidate


async def grouped_values(candidates: Sequence[Candidate], kind: AnswerKind) -> list[str | None]:
    """Return each candidate's value or, if an earlier value is the same, that earlier value."""
    return await first_values([candidate.value for candidate in candidates], kind)


async def first_values(values: Sequence[str | None], kind: AnswerKind) -> list[str | None]:
    """Return for each value the first one that is the same.

    For most kinds, the values are unchanged. Equivalent expressions are found in a thread, because
    a comparison takes milliseconds or more.
    """
    known = [value for value in values if value is not None]
    if ANSWER_TYPES[kind].grouping != "equivalence" or len(set(known)) < 2:
        return list(values)
    firsts = dict(zip(known, await asyncio.to_thread(answers.first_same, known, kind), strict=True))
    return [None if value is None else firsts[value] for value in values]
