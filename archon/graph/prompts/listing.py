"""Candidates and critiques as they stand in a prompt: numbered from 1 and fenced."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archon.types import Candidate

_BACKTICKS = re.compile("`{3,}")

OF_ALL = "of all candidates"
"""``reason`` of a critique that could not be divided among the candidates it speaks of."""


def list_candidates(candidates: Sequence[Candidate]) -> str:
    """Each candidate's text between fences that do not occur in it, under its number."""
    return "\n\n".join(
        f"[{number}]\n{_fenced(candidate.text)}" for number, candidate in enumerate(candidates, 1)
    )


def list_critiques(candidates: Sequence[Candidate]) -> str:
    """Every critique under the number of its candidate; an undivided one once, under ``[all]``."""
    own: list[str] = []
    of_all: dict[str, None] = {}
    for number, candidate in enumerate(candidates, 1):
        for critique in candidate.critiques:
            if critique.reason == OF_ALL:
                of_all[f"[all] {critique.value}"] = None
            else:
                own.append(f"[{number}] {critique.value}")
    if not own and not of_all:
        return ""
    return "\n\n".join(["Critiques of the candidates:", *own, *of_all])


def _fenced(text: str) -> str:
    runs = _BACKTICKS.findall(text)
    fence = "`" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}\n{text}\n{fence}"
