"""Selection methods in graphs: their requirements, calls and results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from graph_doubles import make_architecture

import archon
from archon.errors import GraphError, LMError, NodeError, UnsupportedError
from archon.graph.validation.build import build
from archon.lm.lazy import LazyLM
from archon.lm.reward import RewardLM, ScriptedRewardModel
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.spec.architecture import ArchitectureSpec
from archon.spec.model import ScriptedCard
from archon.types import Message, Request

REMOTE = frozenset({"chat", "stream"})
ABLE = frozenset({"chat", "stream", "choices", "logprobs", "constraint"})
REWARD = frozenset({"reward"})
DRAFT = {"type": "generator", "model": "solver", "samples": 3}
REPLIES = ["The answer is 4.", "The answer is 5.", "So 2 + 3 = 5. The answer is 5."]


def spec(nodes: dict[str, Any], output: str = "best") -> ArchitectureSpec:
    data = {"version": 1, "name": "x", "models": {"solver": "m", "judge": "m"}, "output": output}
    return ArchitectureSpec.model_validate({**data, "nodes": nodes})


def best(node_type: str = "ranker", **more: Any) -> dict[str, Any]:
    return {"type": node_type, "inputs": ["draft"], **more}


def refusal(nodes: dict[str, Any], solver: frozenset[str], judge: frozenset[str]) -> GraphError:
    with pytest.raises(GraphError) as caught:
        build(spec(nodes), {"solver": solver, "judge": judge}, "mine.json")
    return caught.value


# ---------------------------------------------------------------------------------- at load


@pytest.mark.parametrize(
    ("node_type", "method", "lacks"),
    [
        ("ranker", "logit", "choices"),
        ("ranker", "likelihood", "choices"),
        ("ranker", "reward", "reward"),
        ("verifier", "logit", "choices"),
        ("verifier", "reward", "reward"),
    ],
)
def test_a_remote_model_that_lacks_what_a_method_needs_is_refused_at_load(
    node_type: str, method: str, lacks: str
) -> None:
    node = best(node_type, method=method, model="judge")
    error = refusal({"draft": DRAFT, "best": node}, ABLE, REMOTE)
    assert (error.rule, error.path) == ("capabilities", "$.nodes.best.model")
    assert error.reason.endswith(
        f"lacks capabilities that a {node_type} with method '{method}' needs: {lacks}"
    )


def test_a_remote_model_can_compare_pairs() -> None:
    nodes = {"draft": DRAFT, "best": best(method="pairwise", model="judge")}
    build(spec(nodes), {"solver": REMOTE, "judge": REMOTE})


@pytest.mark.parametrize("node", [best(method="likelihood"), best("vote", weight="likelihood")])
def test_likelihoods_come_from_writers_that_return_logprobs(node: dict[str, Any]) -> None:
    nodes = {"draft": DRAFT, "best": node}
    error = refusal(nodes, REMOTE, ABLE)
    assert error.rule == "likelihoods_exist"
    assert "the model of role 'solver' returns no logprobs for 'draft'" in error.reason
    build(spec(nodes), {"solver": ABLE, "judge": REMOTE})


def test_a_fuser_replaces_its_inputs_unless_it_may_be_bypassed() -> None:
    fuser: dict[str, Any] = {"type": "fuser", "model": "judge", "inputs": ["draft"]}
    vote = {"type": "vote", "inputs": ["fused"], "weight": "likelihood"}
    nodes = {"draft": DRAFT, "fused": fuser, "best": vote}
    build(spec(nodes), {"solver": REMOTE, "judge": ABLE})
    nodes["fused"] = {**fuser, "when": {"agreement_below": 0.5}}
    assert refusal(nodes, REMOTE, ABLE).rule == "likelihoods_exist"


@pytest.mark.parametrize(
    ("check", "is_scored"),
    [
        ({"type": "ranker", "model": "judge"}, True),
        ({"type": "verifier", "model": "judge"}, True),
        ({"type": "vote"}, True),
        ({"type": "verifier", "method": "equations"}, True),
        ({"type": "program"}, False),
        ({"type": "critic", "model": "judge"}, False),
        ({"type": "generator", "model": "judge"}, False),
        ({"type": "ranker", "model": "judge", "when": {"agreement_below": 0.5}}, False),
    ],
)
def test_a_vote_by_score_needs_scores_on_everything(check: dict[str, Any], is_scored: bool) -> None:
    vote = {"type": "vote", "inputs": ["check"], "weight": "score"}
    nodes = {"draft": DRAFT, "check": {**check, "inputs": ["draft"]}, "best": vote}
    if is_scored:
        build(spec(nodes), {"solver": ABLE, "judge": ABLE})
        nodes["best"] = {**vote, "inputs": ["check", "draft"]}
    error = refusal(nodes, ABLE, ABLE)
    assert error.rule == "scores_exist"
    assert error.path == f"$.nodes.best.inputs[{int(is_scored)}]"


@pytest.mark.parametrize(
    ("between", "may_be_support"),
    [
        ({"type": "join"}, True),
        ({"type": "program"}, True),
        ({"type": "ranker", "model": "judge"}, False),
        ({"type": "ranker", "model": "judge", "when": {"agreement_below": 0.5}}, True),
        ({"type": "verifier", "method": "equations"}, False),
    ],
)
def test_a_votes_support_has_no_odds(between: dict[str, Any], may_be_support: bool) -> None:
    nodes = {
        "draft": DRAFT,
        "first": {"type": "vote", "inputs": ["draft"]},
        "between": {**between, "inputs": ["first"]},
        "best": {"type": "vote", "inputs": ["between"], "weight": "odds"},
    }
    if not may_be_support:
        build(spec(nodes), {"solver": ABLE, "judge": ABLE})
        return
    error = refusal(nodes, ABLE, ABLE)
    assert (error.rule, error.path) == ("scores_exist", "$.nodes.best.inputs[0]")
    assert "a vote's support" in error.reason


def test_a_vote_by_odds_needs_scores() -> None:
    vote = {"type": "vote", "inputs": ["draft"], "weight": "odds"}
    error = refusal({"draft": DRAFT, "best": vote}, ABLE, ABLE)
    assert error.reason == "candidates from 'draft' may have no score"


@pytest.mark.parametrize(
    ("node", "rule", "path", "reason"),
    [
        (best(), "model_given", "model", "a ranker with method 'listwise' needs a model"),
        (best("verifier"), "model_given", "model", "a verifier with method 'reason' needs"),
        (
            best(
                "generator",
                model="solver",
                stop_when={"confidence": 0.95},
                prompt={"template": "program"},
            ),
            "parameters_apply",
            "stop_when",
            "cannot vote on programs, whose values are unknown until they are run",
        ),
        (
            best("critic", method="equations", model="judge"),
            "model_given",
            "model",
            "a critic with method 'equations' uses no model",
        ),
        (
            best("verifier", method="equations", model="judge"),
            "model_given",
            "model",
            "a verifier with method 'equations' uses no model",
        ),
        (
            best("verifier", method="program", sampling={"temperature": 0}),
            "model_given",
            "sampling",
            "sampling needs a model",
        ),
        (
            best("verifier", method="program", threshold=0.5),
            "parameters_apply",
            "threshold",
            "a verifier with method 'program' computes no score to compare with the threshold",
        ),
        (
            best(method="likelihood", prompt={"template": "cot"}),
            "model_given",
            "prompt",
            "prompt needs a model",
        ),
        (
            best("verifier", model="judge", threshold=0.5),
            "parameters_apply",
            "threshold",
            "a verifier with method 'reason' computes no score to compare with the threshold",
        ),
        (
            best("verifier", model="judge", method="logit", threshold=1.5),
            "parameters_apply",
            "threshold",
            "the threshold of a probability must be between 0 and 1",
        ),
        (
            best(model="judge", method="likelihood", use_critiques=False),
            "parameters_apply",
            "use_critiques",
            "a ranker with method 'likelihood' does not read critiques",
        ),
        (
            best(model="judge", method="logit", prompt={"template": "rank"}),
            "template_exists",
            "prompt.template",
            "there is no template 'rank' for a ranker by logit",
        ),
        (
            best(model="judge", method="likelihood", prompt={"text": "{question} {candidates}"}),
            "prompt_fields",
            "prompt.text",
            "the field {candidates} is not available here",
        ),
        (
            best("verifier", model="judge", method="logit", prompt={"text": "{question}"}),
            "prompt_fields",
            "prompt.text",
            "the text does not contain {candidates}",
        ),
    ],
)
def test_an_unused_parameter_is_refused(
    node: dict[str, Any], rule: str, path: str, reason: str
) -> None:
    error = refusal({"draft": DRAFT, "best": node}, ABLE, ABLE)
    assert (error.rule, error.path) == (rule, f"$.nodes.best.{path}")
    assert error.reason.startswith(reason)


def test_a_reward_model_writes_nothing() -> None:
    error = refusal({"draft": DRAFT, "best": best("vote")}, REWARD, ABLE)
    assert (error.rule, error.path) == ("capabilities", "$.nodes.draft.model")
    assert "is a reward model, which cannot write text" in error.reason


# -------------------------------------------------------------------------------- likelihoods


async def test_only_writers_whose_likelihood_is_used_are_asked_for_logprobs() -> None:
    solver, other = ScriptedLM(in_turn(REPLIES)), ScriptedLM(in_turn(REPLIES))
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "weighed": {"type": "vote", "inputs": ["draft"], "weight": "likelihood"},
        "more": {"type": "generator", "model": "other"},
        "best": {"type": "vote", "inputs": ["weighed", "more"]},
    }
    architecture = make_architecture(nodes, "best", {"solver": solver, "other": other})
    answer = await architecture.arun("What is 2 + 3?")
    assert [r.logprobs for r in solver.requests] == [True]
    assert [r.logprobs for r in other.requests] == [False]
    drafts = answer.trace.nodes["draft"].outputs
    assert all(c.mean_logprob is not None and c.mean_logprob < 0 for c in drafts)
    assert answer.trace.nodes["more"].outputs[0].mean_logprob is None
    weights = [math.exp(c.mean_logprob or 0) for c in drafts]
    (five, four) = answer.trace.nodes["weighed"].outputs
    assert (five.value, four.value) == ("5", "4")
    assert five.score == pytest.approx(weights[1] + weights[2])
    assert four.score == pytest.approx(weights[0])


async def test_requesting_logprobs_changes_no_sample() -> None:
    asked: list[Sequence[int]] = []
    for weight in ("count", "likelihood"):
        lm = ScriptedLM(in_turn(REPLIES))
        nodes = {
            "draft": {"type": "generator", "samples": 2},
            "more": {"type": "generator", "samples": 2},
            "a": {"type": "vote", "inputs": ["draft"], "weight": weight},
            "best": {"type": "vote", "inputs": ["a", "more"]},
        }
        answer = await make_architecture(nodes, "best", lm).arun("What is 2 + 3?")
        asked.append([c.draw for c in answer.trace.completions()])
    assert asked[0] == asked[1] == [0, 1, 2, 3]


async def test_a_ranker_with_a_model_scores_what_another_wrote() -> None:
    def logprob(request: Request, choice: str) -> float:
        return -1.0 if choice == REPLIES[2] else -20.0

    judge = ScriptedLM(in_turn([""]), choice_logprob=logprob)
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "best": {"type": "ranker", "model": "judge", "inputs": ["draft"], "method": "likelihood"},
    }
    solver = ScriptedLM(in_turn(REPLIES))
    answer = await make_architecture(nodes, "best", {"solver": solver, "judge": judge}).arun("Q")
    assert answer.text == REPLIES[2]
    assert [r.choices for r in judge.requests] == [(text,) for text in REPLIES]
    assert solver.requests[0].logprobs is False
    (call, *_) = answer.trace.to_json()["nodes"][1]["calls"]
    assert call["completions"][0]["choice_logprobs"] == {REPLIES[0]: -20.0}
    choice_tokens = sum(len(text.split()) for text in REPLIES)
    assert answer.usage.choice_tokens == choice_tokens
    assert answer.usage.calls == 3 + 3


# ------------------------------------------------------------------------------------- scores


async def test_a_vote_by_score_weighs_the_latest_scores() -> None:
    def logprob(request: Request, choice: str) -> float:
        right = REPLIES[0] in request.messages[-1].content
        return math.log(0.9 if (choice == "Yes") is right else 0.1)

    lm = ScriptedLM(in_turn(REPLIES), choice_logprob=logprob)
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "check": {
            "type": "verifier",
            "inputs": ["draft"],
            "method": "logit",
            "threshold": 0.0,
            "shows": "text",
        },
        "best": {"type": "vote", "inputs": ["check"], "weight": "score"},
    }
    answer = await make_architecture(nodes, "best", lm).arun("What is 2 + 3?")
    scores = [(c.value, round(c.score or 0, 3)) for c in answer.candidates]
    assert scores == [("4", 0.9), ("5", 0.2)]


async def test_dropped_candidates_are_in_the_trace_with_their_judgement() -> None:
    lm = ScriptedLM(in_turn(REPLIES), choice_logprob=lambda request, choice: -1.0)
    nodes = {
        "draft": {"type": "generator", "samples": 3},
        "best": {"type": "ranker", "inputs": ["draft"], "method": "logit", "keep": 1}
        | {"shows": "text"},
    }
    answer = await make_architecture(nodes, "best", lm).arun("What is 2 + 3?")
    node = answer.trace.to_json()["nodes"][1]
    assert [len(node["outputs"]), len(node["dropped"])] == [1, 2]
    assert node["dropped"][0]["annotations"][0]["value"] == 0.5


# ------------------------------------------------------------------------------ reward models


def rewarded(role: object) -> Any:
    reward = {"type": "ranker", "model": "judge", "inputs": ["draft"], "method": "reward"}
    return {
        "version": 1,
        "name": "rewarded",
        "models": {"solver": "scripted", "judge": role},
        "nodes": {"draft": DRAFT, "best": reward},
        "output": "best",
    }


async def test_a_reward_model_comes_from_a_card_or_is_custom() -> None:
    card = {"name": "r", "backend": "scripted", "reward": True, "accuracy": 1}
    architecture = archon.load(rewarded(card))
    answer = await architecture.arun("What is 2 + 3?")
    scores = [c.score or 0 for c in answer.candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(((c.score or 0) > 0.5) == (c.value == "5") for c in answer.candidates)
    assert answer.usage.calls == 3

    mine = ScriptedRewardModel(lambda messages, text: float(len(messages)))
    own = archon.load(rewarded("scripted"), {"judge": mine})
    assert {c.score for c in (await own.arun("What is 2 + 3?")).candidates} == {1.0}
    with pytest.raises(GraphError, match="needs: reward"):
        archon.load(rewarded("scripted"))


def weighted_vote(**changes: Any) -> Any:
    """Candidates that are rewarded and all kept; their rewards are the weights of their votes."""
    spec = rewarded("scripted")
    spec["nodes"]["best"] |= {"prompt": {"template": "conversation"}, **changes}
    vote = {"type": "vote", "inputs": ["best"], "weight": "score"}
    return spec | {"nodes": spec["nodes"] | {"vote": vote}, "output": "vote"}


class Conversations:
    """Rewards 0.1, but the text that ends in 9, which it finds 0.9; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        self.asked.append(messages)
        return [0.9 if text.endswith("9.") else 0.1 for text in texts]


@pytest.mark.parametrize("method", ["ranker", "verifier"])
async def test_rewards_weigh_votes_and_read_what_the_writer_read(method: str) -> None:
    replies = [f"The answer is {n}." for n in (5, 5, 9)]
    writer, judge = ScriptedLM(in_turn(replies)), Conversations()
    spec = weighted_vote(type=method, **({"threshold": 0} if method == "verifier" else {}))
    spec["nodes"]["draft"] |= {"samples": 3, "prompt": {"template": "cot", "shots": 2}}
    answer = await archon.load(spec, {"solver": writer, "judge": judge}).arun("What is 2 + 3?")
    assert answer.value == "9"
    assert [c.score for c in answer.candidates] == [pytest.approx(0.9), pytest.approx(0.2)]
    assert judge.asked == [writer.requests[0].messages]
    assert len(judge.asked[0]) == 5


async def test_candidates_of_several_writers_follow_their_own_conversations() -> None:
    judge, spec = Conversations(), weighted_vote(inputs=["draft", "more"])
    nodes = {"draft": spec["nodes"]["draft"], "more": {
        "type": "generator", "model": "solver", "samples": 2, "prompt": {"template": "direct"},
    }}  # fmt: skip
    spec["nodes"] = nodes | spec["nodes"]
    answer = await archon.load(spec, {"judge": judge}).arun("What is 2 + 3?")
    first, second = (answer.trace.nodes[name].calls[0].messages for name in ("draft", "more"))
    assert judge.asked == [first, second]
    assert first != second
    scored = answer.trace.nodes["best"].outputs
    assert [c.score for c in scored] == [0.9 if c.text.endswith("9.") else 0.1 for c in scored]


async def test_a_vote_refuses_negative_weights() -> None:
    low = ScriptedRewardModel(lambda messages, text: -0.5)
    with pytest.raises(NodeError, match=r"at least 0, but one is -0\.5"):
        await archon.load(weighted_vote(), {"judge": low}).arun("What is 2 + 3?")


@pytest.mark.parametrize("more", [{"shots": 2}, {"system": "Be strict."}])
def test_the_conversation_template_allows_no_shots_or_system_message(
    more: dict[str, Any],
) -> None:
    spec = weighted_vote(prompt={"template": "conversation", **more})
    card = {"name": "r", "backend": "scripted", "reward": True}
    spec["models"]["judge"] = card
    with pytest.raises(GraphError, match="'conversation' template allows neither shots"):
        archon.load(spec)


async def test_a_reward_card_chooses_its_prompt() -> None:
    card = {"name": "r", "backend": "scripted", "reward": True, "accuracy": 1}
    spec = rewarded(card | {"prompt": {"template": "conversation"}})
    assert archon.load(spec).prompt("best").is_conversation
    assert not archon.load(rewarded(card)).prompt("best").is_conversation


async def test_a_reward_model_that_returns_nonsense_is_an_error() -> None:
    class Short:
        async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
            return [math.inf] * (len(texts) - 1)

    architecture = archon.load(rewarded("scripted"), {"judge": Short()})
    with pytest.raises(NodeError, match="2 rewards for 3 texts"):
        await architecture.arun("What is 2 + 3?")
    infinite = RewardLM(ScriptedRewardModel(lambda messages, text: math.inf))
    with pytest.raises(LMError, match="not a finite number"):
        await infinite.score((), ["a"])
    with pytest.raises(UnsupportedError, match="choose a model that generates text"):
        await infinite.generate(Request((Message("user", "a"),)))


async def test_a_lazy_model_passes_texts_on_to_a_reward_model_alone() -> None:
    card = ScriptedCard.model_validate({"name": "s", "backend": "scripted"})
    with pytest.raises(UnsupportedError, match="s is not a reward model"):
        await LazyLM(card, Path()).score((), ["a"])
