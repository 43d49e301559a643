from __future__ import annotations

from functools import partial

from graph_doubles import FakeContext, make_candidate, make_prompt

from archon.graph.nodes.verifier import Verifier, judge_by_argument
from archon.types import Candidate

PASS, FAIL, UNREADABLE = "2 + 3 = 5.\nVerdict: correct", "No.\nVerdict: incorrect", "Hm."


async def verify(*replies: str, keep_first: int | None = None) -> list[Candidate]:
    verifier = Verifier("check", partial(judge_by_argument, make_prompt("verifier")), keep_first)
    candidates = [make_candidate(i, "5") for i in range(len(replies))]
    return await verifier.run(FakeContext(replies), candidates)


async def test_passes_are_kept() -> None:
    out = await verify(FAIL, PASS, UNREADABLE, PASS)
    assert [(c.id.draw, c.score) for c in out] == [(1, 1.0), (3, 1.0)]


async def test_without_passes_the_abstentions_are_kept() -> None:
    out = await verify(FAIL, UNREADABLE, "")
    assert [(c.id.draw, c.score) for c in out] == [(1, 0.5), (2, 0.5)]
    assert all(c.latest("mark") is None for c in out)


async def test_if_all_fail_all_are_kept_and_marked_unverified() -> None:
    out = await verify(FAIL, FAIL)
    assert [(c.id.draw, c.score) for c in out] == [(0, 0.0), (1, 0.0)]
    marks = [c.latest("mark") for c in out]
    assert [(m.node, m.value) for m in marks if m] == [("check", "unverified")] * 2


async def test_keep_first_limits_the_passes() -> None:
    assert [c.id.draw for c in await verify(FAIL, PASS, PASS, PASS, keep_first=2)] == [1, 2]
    assert [c.id.draw for c in await verify(FAIL, FAIL, keep_first=1)] == [0]


async def test_the_verdict_carries_the_argument_and_the_signature() -> None:
    (out,) = await verify(PASS)
    verdict = out.latest("verdict")
    assert verdict is not None
    assert (verdict.node, verdict.value, verdict.reason) == ("check", "pass", PASS)


async def test_every_candidate_is_judged_in_a_separate_call() -> None:
    context = FakeContext([PASS] * 200)
    candidates = [make_candidate(i, str(i)) for i in range(200)]
    out = await Verifier("check", partial(judge_by_argument, make_prompt("verifier")), None).run(
        context, candidates
    )
    assert len(out) == len(context.asked) == 200
    assert all("[2]" not in messages[-1].content for messages in context.asked)


async def test_a_candidate_without_a_number_fails_without_a_call() -> None:
    verifier = Verifier("check", partial(judge_by_argument, make_prompt("verifier")), None)
    context = FakeContext([FAIL])
    (out,) = await verifier.run(context, [make_candidate(0, None, text=" ")])
    assert (out.score, len(context.asked)) == (0.0, 0)


async def test_without_candidates_no_call_is_made() -> None:
    assert await verify() == []
