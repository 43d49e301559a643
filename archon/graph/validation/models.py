"""Rules about models: which nodes need one, and which capabilities it must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.validation.wiring import Violation, Wiring
from archon.lm.embedding import EMBED
from archon.lm.reward import REWARD
from archon.spec.architecture import ModelNode
from archon.spec.messages import shown, suggestion

THINKING_KEYS: Mapping[str, str] = {
    "thinking": "thinking",
    "template_variables": "thinking",
    "max_thinking_tokens": "thinking_budget",
}
"""Key of a node → the capability that its model must have."""
_OTHER_MODELS = {EMBED: "sentence encoder", REWARD: "reward model"}
"""Capabilities of a model that cannot write text → description of the model in errors."""


def model_given(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        method, path = method_of(node), ("nodes", node_id, "model")
        described = NODE_TYPES[node.type].describe(node)
        if node.role is not None:
            if not method.uses_model:
                yield Violation(f"{described} {method.refusal}", path)
        elif method.uses_model:
            yield Violation(f"{described} needs a model", path)
        elif isinstance(node, ModelNode):
            for key in ("prompt", "sampling", *THINKING_KEYS):
                if getattr(node, key) is not None:
                    yield Violation(f"{key} needs a model", ("nodes", node_id, key))


def model_exists(wiring: Wiring) -> Iterator[Violation]:
    roles = wiring.spec.models
    for node_id, node in wiring.spec.nodes.items():
        if node.role is not None and node.role not in roles:
            reason = f"there is no role {shown(node.role)} in models"
            reason += suggestion(node.role, roles)
            yield Violation(reason, ("nodes", node_id, "model"))


def capabilities(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        role, method = node.role or "", method_of(node)
        needed = method.requires
        has = wiring.capabilities.get(role)
        if has is None:
            continue
        if isinstance(node, ModelNode):
            yield from _sampling(node_id, node, role, has)
        path, model = ("nodes", node_id, "model"), f"the model of role {shown(role)}"
        if needed == EMBED and not needed <= has:
            yield Violation(f"{model} is not a sentence encoder", path)
        elif not needed <= has:
            lacking = ", ".join(sorted(needed - has))
            described = NODE_TYPES[node.type].describe(node)
            yield Violation(f"{model} lacks capabilities that {described} needs: {lacking}", path)
        elif method.uses_model and has != needed and (other := _OTHER_MODELS.get(has)):
            yield Violation(f"{model} is a {other}, which cannot write text", path)


def _sampling(node_id: str, node: ModelNode, role: str, has: frozenset[str]) -> Iterator[Violation]:
    if node.sampling is not None and node.sampling.params().beams and "beams" not in has:
        reason = f"the model of role {shown(role)} does not support beam search"
        yield Violation(reason, ("nodes", node_id, "sampling", "beams"))
    for key, capability in THINKING_KEYS.items():
        if getattr(node, key) in (None, "auto") or capability in has:
            continue
        reason = f"the model of role {shown(role)} does not support {key}"
        if "thinking" in has:
            reason += "; for a server, set a suitable thinking_field in its card"
        yield Violation(reason, ("nodes", node_id, key))
