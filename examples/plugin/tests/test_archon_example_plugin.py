"""Tests of the example plug-in. Run them with ``pytest`` after ``pip install -e .``."""

from __future__ import annotations

import archon_example_plugin  # noqa: F401 - registers everything

from archon.testing import (
    check_benchmark,
    check_node,
    check_scorer,
    check_template,
    run_node,
)


def test_shortest_keeps_the_shortest_candidate_with_a_value() -> None:
    check_node("shortest", {"keep": 2})
    kept = run_node("shortest", ["17 + 25 = 42\nThe answer is 42.", "42", "?"], keep=1)
    assert [candidate.text for candidate in kept] == ["42"]


def test_doubt_scores_by_the_reply() -> None:
    check_node("doubt")
    scored = run_node("doubt", ["41", "42"], replies=["Yes, it is wrong.", "No."])
    assert [candidate.score for candidate in scored] == [0, 1]


def test_at_most_counts_words() -> None:
    check_scorer("at-most", [("one two three", "x", 1), ("one two three four", "x", 0)], words=3)


def test_the_template_and_the_benchmark_are_valid() -> None:
    check_template("teacher")
    check_benchmark("doubles")
