"""Rules of parameters: keys that a method reads, templates, placeholders of a custom text."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.prompts.templates import PromptKind
from archon.graph.prompts.wording import Wording
from archon.graph.validation.wiring import Violation, Wiring
from archon.spec.architecture import AskingNode
from archon.spec.common import PromptSpec
from archon.spec.messages import shown, suggestion


def _prompts(wiring: Wiring) -> Iterator[tuple[str, AskingNode, PromptSpec, PromptKind]]:
    """The nodes that have a prompt, and ask a model with it."""
    for node_id, node, _ in wiring.spec.asking_nodes():
        kind = method_of(node).prompt
        if node.prompt is not None and kind is not None:
            yield node_id, node, node.prompt, kind


def template_exists(wiring: Wiring) -> Iterator[Violation]:
    for node_id, _, prompt, kind in _prompts(wiring):
        name = prompt.template
        if name is not None and name not in kind.templates:
            hint = suggestion(name, kind.templates)
            reason = f"no template {shown(name)} for a {kind.title}{hint}"
            yield Violation(reason, ("nodes", node_id, "prompt", "template"))


def prompt_fields(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node, prompt, kind in _prompts(wiring):
        if prompt.text is None:
            continue
        usable = kind.placeholders(bool(node.inputs))
        found = Wording(prompt.text).fields
        path = ("nodes", node_id, "prompt", "text")
        for name in kind.required:
            if name not in found:
                yield Violation(f"the text does not contain {{{name}}}", path)
        for name in sorted(found.difference(usable)):
            reason = f"nothing fills {{{shown(name)[1:-1]}}} here{suggestion(name, usable)}"
            yield Violation(f"{reason} ({{{{ and }}}} stand for braces themselves)", path)


def parameters_apply(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node in wiring.spec.nodes.items():
        for reason, key in NODE_TYPES[node.type].check(node):
            yield Violation(reason, ("nodes", node_id, key))
