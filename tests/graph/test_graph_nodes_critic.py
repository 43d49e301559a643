from __future__ import annotations

import pytest
from graph_doubles import FakeContext, make_candidate, make_prompt

from archon.graph.nodes.critic import Critic
from archon.graph.prompts.listing import OF_ALL, list_critiques
from archon.types import Annotation


def make_critic() -> Critic:
    return Critic("notes", make_prompt("critic"))


async def test_each_candidate_gets_the_part_about_it() -> None:
    candidates = [make_candidate(0, "4"), make_candidate(1, "5"), make_candidate(2, "6")]
    context = FakeContext(["[1] too low\n[3] too high"])
    out = await make_critic().run(context, candidates)
    assert [c.critiques for c in out] == [
        (Annotation("notes", "critique", "too low"),),
        (),
        (Annotation("notes", "critique", "too high"),),
    ]
    assert [c.id for c in out] == [c.id for c in candidates]


async def test_one_call_shows_all_candidates_under_their_numbers() -> None:
    context = FakeContext(["[1] fine"])
    await make_critic().run(context, [make_candidate(i, str(i)) for i in range(200)])
    (messages,) = context.asked
    assert messages[-1].content.startswith("What is 2 + 3?")
    assert "[1]\n```\nThe answer is 0.\n```" in messages[-1].content
    assert "[200]\n```\nThe answer is 199.\n```" in messages[-1].content


async def test_an_undivided_reply_is_about_all_and_is_shown_once() -> None:
    context = FakeContext(["Both forget the carry."])
    out = await make_critic().run(context, [make_candidate(0, "4"), make_candidate(1, "5")])
    mark = Annotation("notes", "critique", "Both forget the carry.", OF_ALL)
    assert [c.critiques for c in out] == [(mark,), (mark,)]
    assert list_critiques(out).count("Both forget the carry.") == 1


async def test_a_reply_about_a_single_candidate_is_its_critique() -> None:
    out = await make_critic().run(FakeContext(["It forgets the carry."]), [make_candidate(0, "4")])
    assert out[0].critiques == (Annotation("notes", "critique", "It forgets the carry."),)


@pytest.mark.parametrize("reply", ["", " \n"])
async def test_an_empty_reply_is_not_a_critique(reply: str) -> None:
    candidates = [make_candidate(0, "4"), make_candidate(1, "5")]
    assert await make_critic().run(FakeContext([reply]), candidates) == candidates


async def test_a_candidate_keeps_the_critiques_of_two_critics() -> None:
    first = await make_critic().run(FakeContext(["[1] short"]), [make_candidate(0, "4")])
    second = await Critic("more", make_prompt("critic")).run(FakeContext(["[1] dry"]), first)
    assert [(a.node, a.value) for a in second[0].critiques] == [("notes", "short"), ("more", "dry")]


async def test_without_candidates_no_call_is_made() -> None:
    context = FakeContext()
    assert await make_critic().run(context, []) == []
    assert context.asked == []
