from __future__ import annotations

import pytest
from graph_doubles import FakeContext, make_candidate, make_prompt

from archon.graph.nodes.ranker import UNREAD, ListwiseRank, Ranker
from archon.types import Annotation


def make_ranker(keep: int | None = None, use_critiques: bool | None = None) -> Ranker:
    return Ranker("best", ListwiseRank(make_prompt("ranker"), use_critiques), keep)


CANDIDATES = [make_candidate(i, str(i)) for i in range(4)]


async def test_candidates_are_ordered_and_scored_by_rank() -> None:
    out = await make_ranker().run(FakeContext(["[3] > [1] > [4] > [2]"]), CANDIDATES)
    assert [c.id.draw for c in out] == [2, 0, 3, 1]
    assert [c.score for c in out] == [1.0, 0.75, 0.5, 0.25]
    assert out[0].annotations == (Annotation("best", "score", 1.0),)


async def test_the_best_keep_their_scores_among_all_candidates() -> None:
    out = await make_ranker(keep=2).run(FakeContext(["[3] > [1] > [4] > [2]"]), CANDIDATES)
    assert [(c.id.draw, c.score) for c in out] == [(2, 1.0), (0, 0.75)]


async def test_unmentioned_candidates_follow() -> None:
    out = await make_ranker().run(FakeContext(["[4] > [2]"]), CANDIDATES)
    assert [c.id.draw for c in out] == [3, 1, 0, 2]


@pytest.mark.parametrize("reply", ["", "All are good.", "[9] > [8]"])
async def test_an_unreadable_reply_keeps_the_order_with_a_reason(reply: str) -> None:
    out = await make_ranker(keep=2).run(FakeContext([reply]), CANDIDATES)
    assert [(c.id.draw, c.score) for c in out] == [(0, 1.0), (1, 0.75)]
    assert {c.annotations[-1].reason for c in out} == {UNREAD}


async def test_a_single_candidate_is_scored_without_a_call() -> None:
    context = FakeContext()
    (out,) = await make_ranker().run(context, CANDIDATES[:1])
    assert (out.score, context.asked) == (1.0, [])


async def test_200_candidates_are_ranked_in_one_call() -> None:
    order = list(range(200, 0, -1))
    context = FakeContext([" > ".join(f"[{i}]" for i in order)])
    out = await make_ranker(keep=3).run(context, [make_candidate(i, "1") for i in range(200)])
    assert [c.id.draw for c in out] == [199, 198, 197]
    assert len(context.asked) == 1


async def test_critiques_are_shown_by_default() -> None:
    candidates = [make_candidate(i, "5", Annotation("n", "critique", f"note {i}")) for i in (0, 1)]
    for use_critiques, shown in [(None, True), (True, True), (False, False)]:
        context = FakeContext(["[1] > [2]"])
        await make_ranker(use_critiques=use_critiques).run(context, candidates)
        assert ("[2]\n```\nnote 1\n```" in context.asked[0][-1].content) is shown


async def test_no_candidates_need_no_call() -> None:
    assert await make_ranker().run(FakeContext(), []) == []
