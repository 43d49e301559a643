"""Layered files in the format of the original project, written for these tests."""

from __future__ import annotations

from typing import Any

import pytest

from archon.convert.component_keys import NODE_CLASSES


def component(node_type: str, model: str = "small", **keys: Any) -> dict[str, Any]:
    """A component with the keys that the original demands, and more."""
    needed = {"type": node_type, "model": model, "model_type": "OpenAI_API"}
    return {**needed, "temperature": 0.7, "max_tokens": 512, **keys}


def layered(*layers: Any, name: str = "example") -> dict[str, Any]:
    return {"name": name, "layers": list(layers)}


needs_unit_tests = pytest.mark.skipif(
    "unit_test_evaluator" not in NODE_CLASSES, reason="the format has no nodes for unit tests"
)
