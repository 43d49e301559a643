"""Rules of models: which nodes ask one, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archon.graph.lineage import reads_likelihoods, writers
from archon.graph.validation.wiring import Violation, Wiring, method_name
from archon.lm.embedding import EMBED
from archon.lm.reward import REWARD
from archon.spec.architecture import AskingNode, ModelNode, VoteNode, role_of
from archon.spec.messages import shown, suggestion

REQUIRED_CAPABILITIES: Mapping[tuple[str, str], frozenset[str]] = {
    ("critic", "reason"): frozenset({"chat"}),
    ("ranker", "listwise"): frozenset({"chat"}),
    ("ranker", "pairwise"): frozenset({"chat"}),
    ("ranker", "logit"): frozenset({"chat", "choices"}),
    ("ranker", "likelihood"): frozenset({"choices"}),
    ("ranker", "reward"): frozenset({"reward"}),
    ("fuser", ""): frozenset({"chat"}),
    ("verifier", "reason"): frozenset({"chat"}),
    ("verifier", "logit"): frozenset({"chat", "choices"}),
    ("verifier", "reward"): frozenset({"reward"}),
    ("unit_test_generator", "reason"): frozenset({"chat"}),
    ("unit_test_generator", "program"): frozenset({"chat"}),
    ("unit_test_evaluator", "reason"): frozenset({"chat"}),
}
"""(Type, method) → capabilities that the node's model must have; what is not listed needs none.

A generator continues its prompt, which a base model can do, too. The others give instructions, but
for those that score texts as they are.
"""

THINKING_KEYS: Mapping[str, str] = {
    "thinking": "thinking",
    "template_variables": "thinking",
    "max_thinking_tokens": "thinking_budget",
}
"""Key of a node → the capability that its model must have."""

MODEL_FREE: Mapping[tuple[str, str], bool] = {
    ("critic", "equations"): False,
    ("ranker", "likelihood"): True,
    ("unit_test_evaluator", "program"): False,
    ("verifier", "equations"): False,
    ("verifier", "program"): False,
}
"""(Type, method) that works without a model → whether it can use one, too."""


def model_given(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        if isinstance(node, VoteNode):
            yield from _vote_model(node_id, node)
        if not isinstance(node, ModelNode):
            continue
        how = (node.type, getattr(node, "method", ""))
        if node.model is not None:
            if not MODEL_FREE.get(how, True):
                reason = f"{method_name(node)} asks no model"
                yield Violation(reason, ("nodes", node_id, "model"))
        elif how not in MODEL_FREE:
            yield Violation(f"{method_name(node)} needs a model", ("nodes", node_id, "model"))
        else:
            for key in ("prompt", "sampling", *THINKING_KEYS):
                if getattr(node, key) is not None:
                    reason = f"without a model, nothing reads the {key}"
                    yield Violation(reason, ("nodes", node_id, key))


def _vote_model(node_id: str, node: VoteNode) -> Iterator[Violation]:
    if node.by == "meaning" and node.model is None:
        yield Violation("a vote by meaning needs a model", ("nodes", node_id, "model"))
    for key in ("model", "similarity"):
        if node.by == "value" and getattr(node, key) is not None:
            reason = f'a vote by value reads no {key}; give "by": "meaning"'
            yield Violation(reason, ("nodes", node_id, key))


def model_exists(wiring: Wiring) -> Iterator[Violation]:
    roles = wiring.spec.models
    for node_id, node in wiring.spec.nodes.items():
        role = role_of(node)
        if role is not None and role not in roles:
            reason = f"no role {shown(role)} in models{suggestion(role, roles)}"
            yield Violation(reason, ("nodes", node_id, "model"))


def capabilities(wiring: Wiring) -> Iterator[Violation]:
    for node_id, vote in wiring.spec.nodes.items():
        if isinstance(vote, VoteNode) and vote.model is not None:
            lacks = EMBED - wiring.capabilities.get(vote.model, EMBED)
            if lacks:
                reason = f"the model of role {shown(vote.model)} is no sentence encoder"
                yield Violation(reason, ("nodes", node_id, "model"))
    for node_id, node, role in wiring.model_nodes():
        has = wiring.capabilities.get(role)
        if has is None:
            continue
        if node.sampling is not None and node.sampling.beams and "beams" not in has:
            reason = f"the model of role {shown(role)} has no beam search"
            yield Violation(reason, ("nodes", node_id, "sampling", "beams"))
        yield from _thinking(node_id, node, role, has)
        needed = REQUIRED_CAPABILITIES.get((node.type, getattr(node, "method", "")), frozenset())
        if needed - has:
            lacking = ", ".join(sorted(needed - has))
            what = f"{method_name(node)} needs: {lacking}"
            reason = f"the model of role {shown(role)} lacks what {what}"
            yield Violation(reason, ("nodes", node_id, "model"))
        elif has == REWARD and needed != REWARD:
            reason = f"the model of role {shown(role)} is a reward model, which writes no text"
            yield Violation(reason, ("nodes", node_id, "model"))
        elif has == EMBED:
            reason = f"the model of role {shown(role)} is a sentence encoder, which writes no text"
            yield Violation(reason, ("nodes", node_id, "model"))


def _thinking(
    node_id: str, node: AskingNode, role: str, has: frozenset[str]
) -> Iterator[Violation]:
    for key, capability in THINKING_KEYS.items():
        if getattr(node, key) in (None, "auto") or capability in has:
            continue
        reason = f"the model of role {shown(role)} cannot be told {key}"
        if "thinking" in has:
            reason += ": a server takes it only where its card's thinking_field can hold it"
        yield Violation(reason, ("nodes", node_id, key))


def likelihoods_exist(wiring: Wiring) -> Iterator[Violation]:
    nodes = wiring.spec.nodes
    for node_id, node in nodes.items():
        if not reads_likelihoods(node):
            continue
        key = "weight" if isinstance(node, VoteNode) else "method"
        for writer in writers(wiring.spec, node_id):
            role = role_of(nodes[writer])
            has = wiring.capabilities.get(role or "")
            if has is not None and "logprobs" not in has:
                reason = f"the model of role {shown(role)}, which writes for {shown(writer)}, lacks"
                yield Violation(f"{reason} logprobs", ("nodes", node_id, key))
