from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from graph_doubles import CARD, make_architecture

from archon.errors import BudgetError, GraphError, NodeError, UnsupportedError
from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.graph.trace import Trace
from archon.lm.base import LM
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM
from archon.types import (
    Constraint,
    Event,
    Message,
    NodeFinished,
    NodeStarted,
    Request,
    SamplingParams,
    TokenDelta,
    refused_with_beams,
)

DRAFT = {"type": "generator", "samples": 3}
VOTE = {"draft": DRAFT, "answer": {"type": "vote", "inputs": ["draft"]}}
FUSE = {"draft": DRAFT, "merged": {"type": "fuser", "inputs": ["draft"]}}


def count(request: Request, draw: int) -> str:
    return f"Draw {draw}. The answer is {draw}."


def ask(text: str = "What is 2 + 3?", **request: Any) -> Request:
    return Request((Message("user", text),), **request)


def voting(script: Any = count) -> tuple[ArchitectureLM, ScriptedLM]:
    lm = ScriptedLM(script)
    return ArchitectureLM(make_architecture(VOTE, "answer", lm)), lm


def fusing(script: Any = count) -> tuple[ArchitectureLM, ScriptedLM]:
    lm = ScriptedLM(script)
    return ArchitectureLM(make_architecture(FUSE, "merged", lm)), lm


# -------------------------------------------------------------------------------- as a model


def test_an_architecture_is_an_lm() -> None:
    assert isinstance(voting()[0], LM)


async def test_samples_are_independent_runs_with_fresh_sample_indices() -> None:
    model, lm = voting()
    completions = await model.generate(ask(n=2, first_draw=4))
    assert [c.draw for c in completions] == [4, 5]
    assert [c.text for c in completions] == [count(ask(), 12), count(ask(), 15)]
    assert sorted(r.first_draw for r in lm.requests) == [12, 15]


async def test_samples_do_not_depend_on_their_grouping_into_requests() -> None:
    model, _ = voting()
    together = await model.generate(ask(n=3, seed=5))
    apart = [(await model.generate(ask(first_draw=k, seed=5)))[0] for k in range(3)]
    assert [c.text for c in together] == [c.text for c in apart]


async def test_usage_is_summed_and_prompts_are_united() -> None:
    model, _ = fusing()
    (completion,) = await model.generate(ask())
    assert completion.usage.calls == 4
    assert len(completion.prompts) == 2
    assert isinstance(completion.trace, Trace)
    assert completion.usage == completion.trace.usage


async def test_the_last_user_message_is_the_question_and_the_others_are_history() -> None:
    model, lm = voting()
    before = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello"))
    await model.generate(Request((*before, Message("user", "1 + 1?"))))
    (request,) = lm.requests
    assert request.messages[:3] == before
    assert "1 + 1?" in request.messages[3].content


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("<think>OLD</think>It is 2.", "It is 2."),
        ("<think>\nOLD\n</think>\n\nIt is 2.", "It is 2."),
        ("OLD</think>It is 2.", "It is 2."),
        ("[THINK]OLD[/THINK]It is 2.", "It is 2."),
        ("<think>OLD", ""),
        ("It is 2.", "It is 2."),
        (" It is 2.\n", " It is 2.\n"),
    ],
)
async def test_no_node_reads_the_reasoning_of_earlier_turns(said: str, kept: str) -> None:
    lm = ScriptedLM(count)
    nodes = {
        "draft": DRAFT,
        "notes": {"type": "critic", "inputs": ["draft"]},
        "best": {"type": "ranker", "inputs": ["notes"]},
        "merged": {"type": "fuser", "inputs": ["best"]},
    }
    model = ArchitectureLM(make_architecture(nodes, "merged", lm))
    asked = Message("user", "Is it <think>x</think> or y?")
    history = (asked, Message("assistant", said), asked)
    await model.generate(Request((*history, Message("user", "And 1 + 1?"))))
    assert len(lm.requests) > 3
    for request in lm.requests:
        assert request.messages[:3] == (asked, Message("assistant", kept), asked)
        assert not any("OLD" in message.content for message in request.messages)


async def test_the_kind_of_answer_is_the_requests_else_the_architectures() -> None:
    lm = ScriptedLM(count)
    model = ArchitectureLM(make_architecture(VOTE, "answer", lm, answer="text"))
    await model.generate(ask())
    await model.generate(ask(answer="number"))
    assert [r.answer for r in lm.requests] == ["text", "number"]


# ---------------------------------------------------------------------------------- sampling


# Every place that a node can have: two generators, one of which reads candidates, a judge, a fuser
# that is not the output, and the output.
STAGES: dict[str, Any] = {
    "draft": {**DRAFT, "sampling": {"temperature": 0.1, "top_k": 5, "max_tokens": 40}},
    "more": {"type": "generator", "inputs": ["draft"], "sampling": {"stop": ["END"]}},
    "notes": {"type": "critic", "inputs": ["more"]},
    "mixed": {"type": "fuser", "inputs": ["notes"]},
}
WRITING = {**STAGES, "answer": {"type": "fuser", "inputs": ["mixed"]}}
CHOOSING = {**STAGES, "answer": {"type": "vote", "inputs": ["mixed"]}}


@pytest.mark.parametrize(
    ("serve", "nodes", "sampled"),
    [
        (None, WRITING, {"draft", "more", "answer"}),
        (None, CHOOSING, {"draft", "more"}),
        ({}, WRITING, {"draft", "more", "answer"}),
        ({"request_sampling": "generators"}, WRITING, {"draft", "more"}),
        ({"request_sampling": "output"}, WRITING, {"answer"}),
        ({"request_sampling": "output"}, CHOOSING, set()),
        ({"request_sampling": "ignore"}, WRITING, set()),
        ({"request_sampling": "ignore"}, CHOOSING, set()),
        (None, {"draft": DRAFT}, {"draft"}),
        ({"request_sampling": "output"}, {"answer": DRAFT}, {"answer"}),
    ],
)
async def test_a_request_s_sampling_applies_to_the_nodes_that_the_file_chooses(
    serve: dict[str, Any] | None, nodes: dict[str, Any], sampled: set[str]
) -> None:
    lm = ScriptedLM(count)
    output = list(nodes)[-1]
    model = ArchitectureLM(make_architecture(nodes, output, lm, serve=serve))
    assert model.sampled_nodes == sampled
    await model.generate(ask())
    own = [r.sampling for r in lm.requests]
    lm.requests.clear()
    asked = SamplingParams(
        temperature=1.5, top_p=0.5, max_tokens=9, stop=("!",), presence_penalty=0.5,
        frequency_penalty=0.25, logit_bias=((7, -1.0),), min_p=0.1, repetition_penalty=1.2,
    )  # fmt: skip
    [completion] = await model.generate(ask(sampling=asked))
    asking = [name for name in nodes if nodes[name]["type"] != "vote"]
    for node, before, request in zip(asking, own, lm.requests, strict=True):
        now = request.sampling
        if node not in sampled:
            assert now == before
            continue
        assert (now.temperature, now.top_p, now.max_tokens) == (1.5, 0.5, 9)
        assert (now.presence_penalty, now.frequency_penalty) == (0.5, 0.25)
        assert now.logit_bias == ((7, -1.0),)
        assert now.stop == (*(before.stop or ()), "!"), "a node's own stop strings stay"
        assert (now.min_p, now.repetition_penalty) == (0.1, 1.2)
        assert now.top_k == before.top_k
    assert completion.text


async def test_token_ids_of_a_bias_belong_to_one_model() -> None:
    lms: dict[str, Any] = {"solver": ScriptedLM(count), "judge": ScriptedLM(count)}
    nodes = {
        "draft": {"type": "generator", "model": "solver"},
        "answer": {"type": "fuser", "model": "judge", "inputs": ["draft"]},
    }
    model = ArchitectureLM(make_architecture(nodes, "answer", lms))
    with pytest.raises(UnsupportedError, match="have 2 models"):
        await model.generate(ask(sampling=SamplingParams(logit_bias=((7, -1.0),))))


async def test_the_likeliest_tokens_are_those_of_the_answer() -> None:
    model, lm = fusing()
    [completion] = await model.generate(ask(sampling=SamplingParams(top_logprobs=2)))
    [plain] = await model.generate(ask())
    assert completion.text == plain.text
    assert completion.logprobs is not None
    assert completion.top_logprobs is not None
    assert [len(likely) for likely in completion.top_logprobs] == [2] * len(completion.logprobs)
    assert plain.top_logprobs is None
    assert [r.sampling.top_logprobs or 0 for r in lm.requests] == [0, 2, 0, 0]


async def test_a_file_s_rule_remains_if_a_node_is_bypassed() -> None:
    whole = make_architecture(WRITING, "answer", count, serve={"request_sampling": "generators"})
    assert ArchitectureLM(whole.without("notes")).sampled_nodes == {"draft", "more"}


async def test_a_request_without_sampling_gets_the_samples_of_the_architecture() -> None:
    lm = ScriptedLM(HeuristicScript(0.5))
    architecture = make_architecture(WRITING, "answer", lm)
    answer = await architecture.arun("What is 2 + 3?", seed=4)
    alone = list(lm.requests)
    lm.requests.clear()
    [completion] = await ArchitectureLM(architecture).generate(ask(seed=4))
    assert completion.text == answer.text
    assert lm.requests == alone


@pytest.mark.parametrize("serve", [None, {"request_sampling": "generators"}])
async def test_a_chosen_answer_ends_before_a_stop_string_whichever_node_wrote_it(
    serve: dict[str, Any] | None,
) -> None:
    def script(request: Request, draw: int) -> str:
        return "Mixed! The answer is 5." if request.first_draw == 0 and request.n == 1 else "5"

    nodes = {**FUSE, "answer": {"type": "vote", "inputs": ["merged"]}}
    model = ArchitectureLM(make_architecture(nodes, "answer", script, serve=serve))
    events: list[Event] = []
    stop = SamplingParams(stop=("answer", "!"))
    [completion] = await model.generate(ask(sampling=stop), events.append)
    assert (completion.text, completion.finish_reason) == ("Mixed", "stop")
    assert deltas(events, 0) == ["Mixed"]


async def test_the_cut_answer_of_a_vote_has_the_finish_reason_length() -> None:
    model, _ = voting()
    [completion] = await model.generate(ask(sampling=SamplingParams(max_tokens=3)))
    assert (completion.text, completion.finish_reason) == ("Draw 0. The", "length")


async def test_nodes_made_equal_by_a_request_still_take_different_samples() -> None:
    lm = ScriptedLM(count)
    nodes = {
        "a": {**DRAFT, "sampling": {"temperature": 0.1}},
        "b": {**DRAFT, "sampling": {"temperature": 0.2}},
        "answer": {"type": "vote", "inputs": ["a", "b"]},
    }
    model = ArchitectureLM(make_architecture(nodes, "answer", lm))
    await model.generate(ask())
    await model.generate(ask(sampling=SamplingParams(temperature=1.0)))
    assert [r.first_draw for r in lm.requests] == [0, 0, 0, 3]


async def test_a_constraint_applies_to_the_output_node_that_generates() -> None:
    model, lm = fusing()
    constraint = Constraint(regex="a+")
    (completion,) = await model.generate(ask(constraint=constraint))
    draft, merged = lm.requests
    assert (draft.constraint, merged.constraint) == (None, constraint)
    assert completion.text == "a"


async def test_log_probabilities_are_those_of_the_text_that_is_the_answer() -> None:
    model, lm = fusing()
    assert "logprobs" in model.capabilities
    [completion] = await model.generate(ask(logprobs=True))
    assert b"".join(completion.tokens or ()).decode() == completion.text
    assert len(completion.logprobs or ()) == len(completion.token_ids or ())
    assert [request.logprobs for request in lm.requests] == [False, True]
    [unasked] = await model.generate(ask())
    assert unasked.logprobs is unasked.token_ids is unasked.tokens is None
    assert "logprobs" not in voting()[0].capabilities


async def test_a_cut_text_has_the_finish_reason_length() -> None:
    model, _ = fusing()
    (completion,) = await model.generate(ask(sampling=SamplingParams(max_tokens=2)))
    assert (completion.text, completion.finish_reason) == ("Draw 0.", "length")


@pytest.mark.parametrize(
    "request_",
    [
        ask(constraint=Constraint(regex="a")),
        ask(choices=("yes", "no")),
        ask(logprobs=True),
        ask(n=0),
        Request(()),
        Request((Message("user", "Hi"), Message("assistant", "Hello"))),
    ],
)
async def test_unsupported_requests_to_a_choosing_architecture_are_refused(
    request_: Request,
) -> None:
    model, lm = voting()
    with pytest.raises(UnsupportedError) as caught:
        await model.generate(request_)
    assert not caught.value.retryable
    assert lm.requests == []


async def test_a_beam_search_ignores_what_it_cannot_apply() -> None:
    lm = ScriptedLM(count)
    nodes = {"draft": {"type": "generator", "sampling": {"beams": 4, "max_tokens": 40}}}
    model = ArchitectureLM(make_architecture(nodes, "draft", lm))
    asked = SamplingParams(temperature=0.5, frequency_penalty=0.5, logit_bias=((7, -1.0),))
    await model.generate(ask(sampling=replace(asked, max_tokens=9, stop=("!",))))
    [sampling] = [request.sampling for request in lm.requests]
    assert (sampling.beams, sampling.max_tokens, sampling.stop) == (4, 9, ("!",))
    assert not refused_with_beams(sampling)


@pytest.mark.parametrize(
    ("nodes", "output", "generates"),
    [
        (VOTE, "answer", False),
        (FUSE, "merged", True),
        ({"draft": DRAFT}, "draft", True),
        ({"draft": DRAFT, "more": {**DRAFT, "inputs": ["draft"]}}, "more", False),
    ],
)
def test_an_output_generates_where_it_writes_the_first_candidate(
    nodes: dict[str, Any], output: str, generates: bool
) -> None:
    model = ArchitectureLM(make_architecture(nodes, output, count))
    assert model.generates is generates
    assert ("constraint" in model.capabilities) is generates


def test_capabilities_are_not_those_of_a_model_that_lacks_them() -> None:
    lm = ScriptedLM(count, capabilities=frozenset({"chat"}))
    model = ArchitectureLM(make_architecture(FUSE, "merged", lm))
    assert model.capabilities == {"chat", "stream"}


async def test_failures_are_those_of_the_architecture() -> None:
    def broken(request: Request, draw: int) -> str:
        raise ValueError("no script")

    with pytest.raises(NodeError, match="node 'draft': no script"):
        await voting(broken)[0].generate(ask(n=2))
    arch = make_architecture(VOTE, "answer", count, budget={"max_tokens": 1})
    with pytest.raises(BudgetError):
        await ArchitectureLM(arch).generate(ask())


# --------------------------------------------------------------------------------- streaming


def deltas(events: list[Event], draw: int) -> list[str]:
    return [e.text for e in events if isinstance(e, TokenDelta) and e.draw == draw]


async def test_a_generating_output_streams_its_tokens_and_no_others() -> None:
    events: list[Event] = []
    model, _ = fusing()
    completions = await model.generate(ask(n=2), events.append)
    for completion in completions:
        assert len(deltas(events, completion.draw)) > 1
        assert "".join(deltas(events, completion.draw)) == completion.text
    assert {e.node for e in events if isinstance(e, TokenDelta)} == {""}


async def test_of_several_samples_only_the_answer_is_streamed() -> None:
    events: list[Event] = []
    model = ArchitectureLM(make_architecture({"draft": DRAFT}, "draft", count))
    (completion,) = await model.generate(ask(first_draw=1), events.append)
    assert "".join(deltas(events, 1)) == completion.text == count(ask(), 3)


async def test_a_choosing_output_sends_its_answer_as_one_delta() -> None:
    events: list[Event] = []
    model, _ = voting()
    (completion,) = await model.generate(ask(), events.append)
    assert deltas(events, 0) == [completion.text]
    assert [e.node for e in events if isinstance(e, NodeStarted)] == ["draft", "answer"]
    assert [e.node for e in events if isinstance(e, NodeFinished)] == ["draft", "answer"]


async def test_a_bypassed_generating_output_sends_one_delta() -> None:
    events: list[Event] = []
    nodes = {**FUSE, "merged": {**FUSE["merged"], "when": {"agreement_below": 0.1}}}
    model = ArchitectureLM(make_architecture(nodes, "merged", count))
    (completion,) = await model.generate(ask(), events.append)
    assert deltas(events, 0) == [completion.text]


# ---------------------------------------------------------------------------- as a node's model


def nest(inner: Architecture, **node: Any) -> Architecture:
    nodes = {"team": {"type": "generator", "model": "team", **node}}
    return make_architecture(nodes, "team", {"team": ArchitectureLM(inner)})


async def test_a_node_sends_the_bare_question_to_an_architecture() -> None:
    lm = ScriptedLM(count)
    inner = make_architecture({"draft": {**DRAFT, "prompt": {"template": "bare"}}}, "draft", lm)
    await nest(inner).arun("1 + 1?")
    await nest(inner, prompt={"text": "Please: {question}"}).arun("1 + 1?")
    assert [r.messages[-1].content for r in lm.requests] == ["1 + 1?", "Please: 1 + 1?"]


async def test_usage_events_and_traces_include_nested_ones() -> None:
    events: list[Event] = []
    outer = nest(make_architecture(VOTE, "answer", count), samples=2)
    model = ArchitectureLM(outer)
    (completion,) = await model.generate(ask(), events.append)
    assert completion.usage.calls == 6
    started = {e.node for e in events if isinstance(e, NodeStarted)}
    assert started == {"team", "team/draft", "team/answer"}
    (team,) = completion.trace.to_json()["nodes"]  # type: ignore[attr-defined]
    inner = [c["trace"]["architecture"] for c in team["calls"][0]["completions"]]
    assert inner == ["tested", "tested"]


async def test_nodes_choose_the_sampling_of_a_nested_architectures_generators() -> None:
    lm = ScriptedLM(count)
    inner = make_architecture({"draft": DRAFT}, "draft", lm, {"solver": CARD})
    await nest(inner).arun("?")
    await nest(inner, sampling={"temperature": 0.2}).arun("?")
    assert [r.sampling.temperature for r in lm.requests] == [0.7, 0.2]


async def test_a_request_s_sampling_reaches_the_nodes_of_a_nested_architecture() -> None:
    lm = ScriptedLM(count)
    sampling = SamplingParams(temperature=1.5, max_tokens=5, stop=("!",))
    team = nest(make_architecture(VOTE, "answer", lm), sampling={"temperature": 0.2, "stop": ["?"]})
    await ArchitectureLM(team).generate(ask(sampling=sampling))
    [request] = lm.requests
    assert request.sampling == SamplingParams(temperature=1.5, max_tokens=5, stop=("?", "!"))


async def test_a_nested_architecture_that_ignores_sampling_ignores_that_of_a_request() -> None:
    lm = ScriptedLM(count)
    inner = make_architecture(VOTE, "answer", lm, serve={"request_sampling": "ignore"})
    await ArchitectureLM(nest(inner)).generate(ask(sampling=SamplingParams(max_tokens=2)))
    [request] = lm.requests
    assert request.sampling == SamplingParams()


@pytest.mark.parametrize(
    ("serve", "sampling", "reason"),
    [
        ({"request_sampling": "ignore"}, {"max_tokens": 5}, "serve.request_sampling"),
        ({"request_sampling": "output"}, {"temperature": 0}, "serve.request_sampling"),
    ],
)
def test_sampling_that_a_nested_architecture_cannot_use_is_refused_at_load(
    serve: dict[str, Any] | None, sampling: dict[str, Any], reason: str
) -> None:
    inner = make_architecture(VOTE, "answer", count, serve=serve)
    with pytest.raises(GraphError, match=reason) as caught:
        nest(inner, sampling=sampling)
    assert caught.value.path == "$.nodes.team.sampling"


async def test_a_nested_failure_names_both_nodes() -> None:
    def broken(request: Request, draw: int) -> str:
        raise ValueError("no script")

    inner = make_architecture(VOTE, "answer", broken)
    with pytest.raises(NodeError, match="node 'team': node 'draft': no script"):
        await nest(inner).arun("?")


async def test_a_nested_output_streams_through() -> None:
    events: list[Event] = []
    model = ArchitectureLM(nest(make_architecture(FUSE, "merged", count)))
    (completion,) = await model.generate(ask(first_draw=2), events.append)
    assert "".join(deltas(events, 2)) == completion.text
    assert len(deltas(events, 2)) > 1
