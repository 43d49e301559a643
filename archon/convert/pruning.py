"""Pruning of components that have no candidates or tests to work on.

Where the original would fail, or do work that nothing reads, the component is removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.convert.conversion_log import ConversionLog
from archon.convert.layers import TEST_READER, TEST_WRITER, Component, Layer, lose_all
from archon.spec.strict_json import JsonPath

Reasons = dict[JsonPath, str]
"""Why a component is left out, by its path."""


def prune(layers: Sequence[Layer], log: ConversionLog) -> list[Layer]:
    """The layers without such components, whose keys are logged as lost."""
    reasons = {**_without_candidates(layers), **_without_tests(layers)}
    reasons.update(_unread_tests(layers, reasons))
    kept_layers = []
    for layer in layers:
        kept = []
        for component in layer.components:
            reason = reasons.get(component.path)
            if reason is None:
                kept.append(component)
            else:
                lose_all(component.data, component.path, f"left out: {reason}", log)
        if kept:
            kept_layers.append(Layer(layer.number, layer.path, tuple(kept)))
    return kept_layers


def _without_candidates(layers: Sequence[Layer]) -> Reasons:
    reasons: Reasons = {}
    any_candidates = False
    for layer in layers:
        if not any_candidates:
            for component in layer.components:
                if component.type not in ("generator", TEST_WRITER):
                    why = f"no generator stands before this {component.type}"
                    reasons[component.path] = why
        any_candidates = any_candidates or "generator" in layer.types()
    return reasons


def _without_tests(layers: Sequence[Layer]) -> Reasons:
    reasons: Reasons = {}
    any_tests = False
    for layer in layers:
        if not any_tests:
            for component in _of_type(layer, TEST_READER):
                reasons[component.path] = f"no {TEST_WRITER} stands before it"
        any_tests = any_tests or TEST_WRITER in layer.types()
    return reasons


def _unread_tests(layers: Sequence[Layer], left_out: Reasons) -> Reasons:
    """Test generators whose tests no evaluator reads before others take their place."""
    reasons: Reasons = {}
    wanted = False
    for layer in reversed(layers):
        generators = _of_type(layer, TEST_WRITER)
        if not wanted:
            for component in generators:
                reasons[component.path] = f"no {TEST_READER} reads its tests"
        evaluators = _of_type(layer, TEST_READER)
        evaluates = any(component.path not in left_out for component in evaluators)
        wanted = evaluates or (wanted and not generators)
    return reasons


def _of_type(layer: Layer, name: str) -> list[Component]:
    return [component for component in layer.components if component.type == name]
