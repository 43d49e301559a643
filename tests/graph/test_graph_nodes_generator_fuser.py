from __future__ import annotations

from graph_doubles import FakeContext, make_candidate, make_prompt

from archon.graph.nodes.fuser import Fuser
from archon.graph.nodes.generator import Generator
from archon.types import Annotation, CandidateId


async def test_a_generator_makes_one_candidate_per_sample() -> None:
    context = FakeContext(["The answer is 5.", "I do not know.", ""])
    out = await Generator("draft", make_prompt("generator"), 3).run(context, [])
    assert [c.id for c in out] == [CandidateId("draft", i) for i in range(3)]
    assert [c.value for c in out] == ["5", None, None]


async def test_generator_with_inputs_appends_its_own() -> None:
    before = make_candidate(0, "4", Annotation("judge", "score", 1.0), node="other")
    out = await Generator("draft", make_prompt("generator"), 1).run(
        FakeContext(["It is 5."]), [before]
    )
    assert out[0] is before
    assert [c.id.node for c in out] == ["other", "draft"]
    assert out[1].parents == ()


async def test_fused_candidates_have_parents_but_not_their_annotations() -> None:
    parents = [
        make_candidate(0, "4", Annotation("notes", "critique", "too low")),
        make_candidate(1, "5", Annotation("judge", "score", 1.0)),
    ]
    context = FakeContext(["The answer is 5.", "The answer is 6."])
    out = await Fuser("merged", make_prompt("fuser"), 2, None).run(context, parents)
    assert [(c.id.node, c.value) for c in out] == [("merged", "5"), ("merged", "6")]
    assert all(c.parents == (parents[0].id, parents[1].id) for c in out)
    assert all(c.annotations == () for c in out)


async def test_the_fuser_reads_critiques_by_default() -> None:
    parents = [make_candidate(0, "4", Annotation("notes", "critique", "the sum is too low"))]
    for use_critiques, shown in [(None, True), (True, True), (False, False)]:
        context = FakeContext(["5"])
        await Fuser("merged", make_prompt("fuser"), 1, use_critiques).run(context, parents)
        assert ("the sum is too low" in context.asked[0][-1].content) is shown


async def test_a_fuser_without_critiques_does_not_mention_them() -> None:
    context = FakeContext(["5"])
    await Fuser("merged", make_prompt("fuser"), 1, None).run(context, [make_candidate(0, "4")])
    assert "Critiques" not in context.asked[0][-1].content
    assert "\n\n\n" not in context.asked[0][-1].content


async def test_a_fuser_without_candidates_makes_no_call() -> None:
    context = FakeContext()
    assert await Fuser("merged", make_prompt("fuser"), 2, None).run(context, []) == []
    assert context.asked == []
