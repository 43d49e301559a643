"""Keys added to the format do not change the digests of stored runs and studies."""

from __future__ import annotations

import pytest

from archon.spec.architecture import ArchitectureSpec
from archon.spec.common import LaterKeys
from archon.spec.model import LocalCard, OpenAICard

LOCAL = {"name": "m", "backend": "local", "sources": [{"path": "m.gguf"}]}
OPENAI = {"name": "m", "backend": "openai", "base_urls": ["http://x/v1"], "model": "m"}
ARCHITECTURE = {
    "version": 1, "name": "a", "models": {"solver": "scripted"}, "output": "n",
    "nodes": {"n": {"type": "generator", "model": "solver"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data"),
    [(LocalCard, LOCAL), (OpenAICard, OPENAI), (ArchitectureSpec, ARCHITECTURE)],
)
def test_unused_later_keys_are_not_dumped(kind: type[LaterKeys], data: dict[str, object]) -> None:
    assert kind.later_keys <= kind.model_fields.keys()
    dumped = kind.model_validate(data).model_dump(mode="json")
    assert not kind.later_keys & dumped.keys()
    assert kind.model_validate(dumped) == kind.model_validate(data)


def test_a_later_key_that_is_used_is_dumped() -> None:
    card = LocalCard.model_validate(LOCAL | {"thinking": False, "max_thinking_tokens": 9})
    dumped = card.model_dump(mode="json")
    assert (dumped["thinking"], dumped["max_thinking_tokens"]) == (False, 9)
    assert "template_variables" not in dumped
    assert LocalCard.model_validate(dumped) == card


def test_nodes_omit_unused_later_keys() -> None:
    [node] = ArchitectureSpec.model_validate(ARCHITECTURE).model_dump()["nodes"].values()
    assert "thinking" not in node
