"""Rules of prompts: their templates, and the words in braces of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from archon.graph.prompts.builder import needed_fields, usable_fields
from archon.graph.prompts.templates import TEMPLATES, kind_name, prompt_kind
from archon.graph.prompts.wording import Wording
from archon.graph.validation.wiring import Violation, Wiring
from archon.spec.messages import shown, suggestion


def template_exists(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node, _ in wiring.model_nodes():
        name = None if node.prompt is None else node.prompt.template
        kind = prompt_kind(node.type, getattr(node, "method", ""))
        templates = TEMPLATES[kind]
        if name is not None and name not in templates:
            hint = suggestion(name, templates)
            reason = f"no template {shown(name)} for a {kind_name(kind)}{hint}"
            yield Violation(reason, ("nodes", node_id, "prompt", "template"))


def prompt_fields(wiring: Wiring) -> Iterator[Violation]:
    for node_id, node, _ in wiring.model_nodes():
        if node.prompt is None or node.prompt.text is None:
            continue
        kind = prompt_kind(node.type, getattr(node, "method", ""))
        usable = usable_fields(kind, bool(node.inputs))
        found = Wording(node.prompt.text).fields
        path = ("nodes", node_id, "prompt", "text")
        for name in needed_fields(kind):
            if name not in found:
                yield Violation(f"the text does not contain {{{name}}}", path)
        for name in sorted(found.difference(usable)):
            reason = f"nothing fills {{{shown(name)[1:-1]}}} here{suggestion(name, usable)}"
            yield Violation(f"{reason} ({{{{ and }}}} stand for braces themselves)", path)
