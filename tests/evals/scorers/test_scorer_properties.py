"""A target scores 1 against itself, and no scorer reads a part of a target."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon.answers import read_target
from archon.evals.scorers import Attempt, plain_scorer

NUMBERS = st.one_of(
    st.integers(-(10**9), 10**9).map(str),
    st.tuples(st.integers(-999, 999), st.integers(1, 99)).map(lambda n: f"{n[0]}/{n[1]}"),
    st.decimals(-1000, 1000, places=3, allow_nan=False).map(lambda d: f"{d:f}"),
)
LETTERS = st.characters(categories=["Lu", "Ll", "Lo"], exclude_characters="ßŉ")
WORDS = st.text(LETTERS, min_size=1, max_size=8)
PHRASES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
TARGETS = {
    "number-exact": NUMBERS,
    "number-close": NUMBERS,
    "text-exact": PHRASES,
    "includes": PHRASES | NUMBERS,
    "f1": PHRASES,
    "json": VALUES.map(json.dumps),
    "choice": st.sampled_from("ABCD"),
}


def score(name: str, value: str | None, text: str, target: str) -> float:
    judge = plain_scorer(name)
    kind = judge.kind
    canonical = target if judge.type.reads_row_targets else read_target(target, kind)
    assert canonical is not None, (name, target)
    return judge(value, text, canonical).value


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_a_target_scores_one_against_itself(name: str, data: st.DataObject) -> None:
    target = data.draw(TARGETS[name])
    judge = plain_scorer(name)
    value = read_target(target, judge.kind)
    assert score(name, value, target, target) == 1
    attempt = Attempt(target, value or target, value, targets=(target,))
    assert judge.function(attempt).value == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["number-exact", "includes"])
@given(
    number=st.integers(1, 10**6), part=st.integers(1, 10**6), mark=st.sampled_from(["", ".", "/"])
)
def test_no_scorer_reads_part_of_a_number(name: str, number: int, part: int, mark: str) -> None:
    whole = f"{number}{mark}{part}"
    for target in (str(number), str(part)):
        if read_target(whole, "number") != target:
            assert score(name, None, whole, target) == 0, (whole, target)
            assert score(name, None, target, whole) == 0, (target, whole)


@pytest.mark.parametrize("name", ["text-exact", "includes", "f1"])
@given(word=WORDS, more=WORDS)
def test_no_scorer_reads_part_of_a_word(name: str, word: str, more: str) -> None:
    assert score(name, None, word, word + more) == 0
    if name != "includes" or (word + more).casefold() != word.casefold():
        assert score(name, None, word + more, word) == 0
