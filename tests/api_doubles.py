"""Architectures for tests of the Python API."""

from __future__ import annotations

from typing import Any


def single(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "one",
        "models": {"m": "scripted"},
        "nodes": {"a": {"type": "generator", "model": "m"}},
        "output": "a",
        **changes,
    }
