from __future__ import annotations

import re
from random import Random

import pytest
from graph_doubles import FakeContext, make_candidate, make_prompt
from hypothesis import given
from hypothesis import strategies as st

from archon.graph.judge_output import read_preference
from archon.graph.nodes.pairwise import MAX_ROUND_ROBIN, ShareOfWins, Table, num_rounds
from archon.graph.nodes.ranker import Ranker
from archon.types import Annotation, Candidate

VALUE = re.compile(r"The answer is (\d+)\.")


def make_ranker(keep: int | None = None, use_critiques: bool | None = None) -> Ranker:
    return Ranker("best", ShareOfWins(make_prompt("ranker.pairwise"), use_critiques), keep)


def candidates(*values: int) -> list[Candidate]:
    return [make_candidate(i, str(value)) for i, value in enumerate(values)]


def prefer_greater(prompt: str, choice: str) -> float:
    """A judge that takes the greater answer; of equals, the first."""
    first, second = map(int, VALUE.findall(prompt))
    return -0.1 if (choice == "Better: [1]") == (first >= second) else -3.0


def summary(out: list[Candidate]) -> list[tuple[str | None, float | None]]:
    return [(c.value, c.score) for c in out]


async def test_every_pair_is_compared_in_both_orders_and_scored_by_wins() -> None:
    context = FakeContext(scores=prefer_greater)
    out = await make_ranker().run(context, candidates(3, 9, 5))
    assert summary(out) == [("9", 1.0), ("5", 0.5), ("3", 0.0)]
    assert len(context.asked) == 6
    assert len({messages[-1].content for messages in context.asked}) == 6
    assert all(messages[-1].content.startswith("What is 2 + 3?") for messages in context.asked)


async def test_only_the_best_are_kept_and_the_others_dropped() -> None:
    context = FakeContext(scores=prefer_greater)
    out = await make_ranker(keep=1).run(context, candidates(3, 9, 5))
    assert summary(out) == [("9", 1.0)]
    assert summary(context.dropped) == [("5", 0.5), ("3", 0.0)]


async def test_orders_that_disagree_give_half_a_win_each_and_ties_keep_the_order() -> None:
    context = FakeContext(scores=lambda prompt, choice: -0.1 if "[1]" in choice else -3.0)
    out = await make_ranker().run(context, candidates(3, 9, 5))
    assert summary(out) == [("3", 0.5), ("9", 0.5), ("5", 0.5)]


async def test_choices_of_equal_probability_abstain() -> None:
    out = await make_ranker().run(FakeContext(scores=lambda p, c: -1.0), candidates(3, 9))
    assert summary(out) == [("3", 0.5), ("9", 0.5)]


async def test_equal_texts_tie_without_a_call() -> None:
    context = FakeContext(scores=prefer_greater)
    out = await make_ranker().run(context, candidates(7, 7, 9))
    assert summary(out) == [("9", 1.0), ("7", 0.25), ("7", 0.25)]
    assert len(context.asked) == 4


async def test_a_model_without_choices_writes_its_preference() -> None:
    # Forth and back: [2] is better, then [1] is: the second candidate wins.
    context = FakeContext(["So.\nBetter: [2]", "Better: [1]"])
    assert summary(await make_ranker().run(context, candidates(3, 9))) == [("9", 1.0), ("3", 0.0)]
    assert all(form is not None for form in context.constraints)


@pytest.mark.parametrize("reply", ["", "Both are good.", "Better: [3]"])
async def test_a_preference_that_cannot_be_read_abstains(reply: str) -> None:
    context = FakeContext([reply, "Better: [1]"])
    out = await make_ranker().run(context, candidates(3, 9))
    assert summary(out) == [("3", 0.5), ("9", 0.5)]


@pytest.mark.parametrize(
    ("text", "preferred"),
    [
        ("Better: [1]", 0),
        ("**Better:** [2]", 1),
        ("better: 2", 1),
        ("Better: [1]\n…\nBetter: [2]", 1),
        ("The second.\n[2].", 1),
        ("2", 1),
        ("Better is [1]", None),
        ("Better: [21]", None),
        ("", None),
    ],
)
def test_preferences_are_read_from_the_last_label(text: str, preferred: int | None) -> None:
    assert read_preference(text) == preferred


async def test_one_candidate_is_scored_without_a_call_and_none_pass_through() -> None:
    context = FakeContext()
    assert summary(await make_ranker().run(context, candidates(5))) == [("5", 1.0)]
    assert await make_ranker().run(context, []) == []
    assert context.asked == []


async def test_critiques_are_shown_by_default() -> None:
    pair = [make_candidate(i, str(i), Annotation("n", "critique", f"note {i}")) for i in (0, 1)]
    for use_critiques, shown in [(None, True), (False, False)]:
        context = FakeContext(scores=prefer_greater)
        await make_ranker(use_critiques=use_critiques).run(context, pair)
        assert ("note 1" in context.asked[0][-1].content) is shown


async def test_200_candidates_play_no_more_than_the_stated_rounds_and_the_best_wins() -> None:
    values = [(i * 73) % 200 for i in range(200)]
    context = FakeContext(scores=prefer_greater)
    out = await make_ranker(keep=5).run(context, candidates(*values))
    assert 1700 <= len(context.asked) <= 2 * 100 * num_rounds(200) == 1800
    assert out[0].value == "199"
    assert all(int(c.value or 0) > 150 for c in out)


@given(st.integers(MAX_ROUND_ROBIN + 1, 40), st.randoms(use_true_random=False))
def test_no_pair_meets_twice_and_every_candidate_plays(count: int, rng: Random) -> None:
    table = Table(count)
    for _ in range(num_rounds(count)):
        pairs = table.next_round()
        players = [player for pair in pairs for player in pair]
        assert len(set(players)) == len(players) <= count
        assert not table.met.intersection(pairs)
        for pair in pairs:
            table.enter(pair, rng.choice([0.0, 0.5, 1.0]))
    assert min(table.played) >= 1
    assert sum(table.wins) == sum(table.played) / 2
    assert all(0 <= share <= 1 for share in table.shares)
