"""Check scorers, templates and benchmarks of plug-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from archon import api
from archon.answers import read_answer
from archon.evals.scorers import find_scorer
from archon.evals.scorers.declaration import Attempt, Score
from archon.graph.nodes.registry import prompt_kinds
from archon.plugins import lookup
from archon.spec.benchmark import PythonCard
from archon.spec.validation import parse
from archon.types import AnswerKind


def run_scorer(
    name: str,
    text: str,
    target: str,
    *,
    answer: AnswerKind = "text",
    row: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> Score:
    """Score one answer with a scorer, and check the result.

    Parameters
    ----------
    name
        The scorer.
    text, target
        The text of the answer, and the target.
    answer
        The kind of answer.
    row
        Other columns of the item's row.
    parameters
        Parameters of the scorer.
    """
    data = {"version": 1, "name": "check", "source": {"python": "check"}, "answer": answer}
    card = parse(PythonCard, data)
    scorer = find_scorer(card, name=({"name": name, **parameters} if parameters else name))
    value = read_answer(text, answer)
    return asyncio.run(scorer.score(Attempt(text, target, value, row=row or {})))


def check_scorer(
    name: str,
    cases: Iterable[tuple[str, str, float]] = (),
    *,
    answer: AnswerKind | None = None,
    **parameters: Any,
) -> None:
    """Check that a scorer returns scores from 0 to 1 for ordinary and for odd answers.

    Parameters
    ----------
    name
        The scorer.
    cases
        (text, target, expected score).
    answer
        The kind of answer; by default all that the scorer judges.
    parameters
        Parameters of the scorer.

    Raises
    ------
    AssertionError
        A score is not the expected one.
    ScoringError
        The scorer fails or returns an invalid score.
    """
    found = lookup.find("scorer", name)
    assert found is not None, f"the scorer {name!r} is not registered; import its module first"
    kinds = get_args(AnswerKind) if found is None else found.declaration.kinds
    for kind in kinds if answer is None else (answer,):
        for text in ("", "42", "The answer is 42.", "é\n\n{}\x00", "x" * 10_000):
            run_scorer(name, text, "42", answer=kind, **parameters)
        for text, target, expected in cases:
            score = run_scorer(name, text, target, answer=kind, **parameters).value
            assert abs(score - expected) < 1e-9, f"{name}: {text!r} scores {score}, not {expected}"


def check_template(name: str, node: str = "generator") -> None:
    """Check that a template is registered and has the placeholders of its node type.

    Raises
    ------
    AssertionError
        The node type or the template does not exist.
    SpecError
        A placeholder is missing or does not exist.
    """
    kinds = {kind.name: kind for kind in prompt_kinds()}
    assert node in kinds, f"there are no templates for {node!r}; there are {', '.join(kinds)}"
    assert name in kinds[node].templates, f"there is no template {name!r} for a {node}"


def check_benchmark(name: str, *, split: str = "select") -> None:
    """Check that a benchmark can be loaded, and that its items have questions and targets.

    Raises
    ------
    AssertionError
        There are no items, or an item has no target.
    SpecError
        A row is invalid.
    """
    assert lookup.find("benchmark", name), f"the benchmark {name!r} is not registered"
    items = api.benchmark(name, split=split).items
    assert items, f"{name}: the split {split!r} has no items"
    for item in items:
        assert item.question.strip(), f"{name}: the item {item.id} has no question"
        assert item.target.strip(), f"{name}: the item {item.id} has no target"
