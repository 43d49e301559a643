"""``regex``: what a pattern finds is the answer; a search that takes for ever is stopped."""

from __future__ import annotations

import time

import pytest
from scorer_doubles import check_size, score_of, scorer_of

from archon.errors import UsageError

# pattern → rows (text, target, points)
TABLES = {
    r"#### (.+)": [
        ("#### 5", "5", 1), ("a\n#### 5\nb", "5", 1), ("#### 1,000", "1000", 1),
        ("####5", "5", 0),
        ("#### 5\n#### 6", "6", 1), ("#### 5\n#### 6", "5", 0), ("5", "5", 0), ("", "5", 0),
        ("#### five", "5", 0), ("#### 5 kg", "5", 1), ("#### 5x", "5", 0), ("#### -5", "5", 0),
        ("#### -5", "-5", 1), ("#### 0.5", "0.5", 1), ("#### 1/2", "0.5", 1), ("#### 55", "5", 0),
    ],
    r"(?P<kind>\w+)=(?P<answer>-?\d+)": [
        ("x=5", "5", 1), ("x=-5", "-5", 1), ("x=-5", "5", 0), ("x=5 y=6", "6", 1),
        ("x =5", "5", 0),
        ("x=5 y=6", "5", 0), ("five=5", "5", 1), ("x=55", "5", 0), ("=5", "5", 0), ("x=", "5", 0),
        ("x=05", "5", 1), ("x=5.5", "5", 1),
    ],
    r"[0-9]+": [
        ("5", "5", 1), ("a5b", "5", 1), ("5 6", "6", 1), ("5 6", "5", 0), ("none", "5", 0),
        ("55", "5", 0), ("-5", "5", 1), ("5.0", "0", 1), ("007", "7", 1), ("1,000", "0", 0),
    ],
    r"(?i)answer: *(\w+)": [
        ("Answer: 5", "5", 1), ("ANSWER:5", "5", 1), ("answer 5", "5", 0), ("Answer: 6", "5", 0),
        ("Answer: 5 Answer: 6", "6", 1), ("Answer: six", "6", 0), ("My answer: 7.", "7", 1),
        ("Answer: 5\nNote", "5", 1), ("answer:  5", "5", 1), ("Answer: x", "5", 0),
        ("Answer", "5", 0),
        ("answers: 5", "5", 0),
    ],
}  # fmt: skip
check_size(*TABLES.values())


@pytest.mark.parametrize("pattern", TABLES)
async def test_what_a_pattern_finds_is_compared(pattern: str) -> None:
    scorer = scorer_of(f"regex:{pattern}", "number")
    for text, target, points in TABLES[pattern]:
        score = await score_of(scorer, text, target)
        assert (score.value, text, target) == (points, text, target), score.explanation


async def test_the_first_match_can_count() -> None:
    scorer = scorer_of({"name": "regex", "pattern": "[0-9]+", "match": "first"}, "number")
    assert (await score_of(scorer, "5 6", "5")).value == 1


async def test_a_search_without_end_is_stopped() -> None:
    scorer = scorer_of({"name": "regex", "pattern": "(a+)+$", "seconds": 0.1}, "text")
    started = time.monotonic()
    score = await score_of(scorer, "a" * 100 + "b", "x")
    assert (score.value, "took more than 0.1 s" in score.explanation) == (0, True)
    assert time.monotonic() - started < 30
    assert (await score_of(scorer, "aaa", "aaa")).value == 1  # by a new process
    assert (await score_of(scorer, "b" * 1_000_000 + "aa", "aa")).value == 1


def test_a_wrong_pattern_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"regex: pattern: .*not a regular expression"):
        scorer_of("regex:(", "number")
    with pytest.raises(UsageError, match="regex: pattern"):
        scorer_of("regex", "number")
