"""Remove components that would fail in the original, or whose output is never read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archon.convert.conversion_log import ConversionLog
from archon.convert.layers import TEST_READER, TEST_WRITER, Component, Layer, lose_all
from archon.spec.strict_json import JsonPath

Reasons = dict[JsonPath, str]
"""Path of each component to remove → the reason."""


def prune(layers: Sequence[Layer], log: ConversionLog) -> list[Layer]:
    """Return the layers without the components to remove; log their keys as lost."""
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
                lose_all(component.data, component.path, f"omitted: {reason}", log)
        if kept:
            kept_layers.append(Layer(layer.number, layer.path, tuple(kept)))
    return kept_layers


def _without_candidates(layers: Sequence[Layer]) -> Reasons:
    return {
        component.path: f"no generator precedes this {component.type}"
        for layer in _up_to(layers, "generator")
        for component in layer.components
        if component.type not in ("generator", TEST_WRITER)
    }


def _without_tests(layers: Sequence[Layer]) -> Reasons:
    return {
        component.path: f"no {TEST_WRITER} precedes it"
        for layer in _up_to(layers, TEST_WRITER)
        for component in _of_type(layer, TEST_READER)
    }


def _up_to(layers: Sequence[Layer], name: str) -> Iterator[Layer]:
    """Yield the layers up to and including the first one that has a component of this type."""
    for layer in layers:
        yield layer
        if name in layer.types():
            return


def _unread_tests(layers: Sequence[Layer], removed: Reasons) -> Reasons:
    """Find test generators whose tests are never read.

    Either other tests replace them before the next evaluator, or no evaluator follows.
    """
    reasons: Reasons = {}
    is_read = False
    for layer in reversed(layers):
        generators = _of_type(layer, TEST_WRITER)
        if not is_read:
            for component in generators:
                reasons[component.path] = f"no {TEST_READER} reads its tests"
        evaluators = _of_type(layer, TEST_READER)
        evaluates = any(component.path not in removed for component in evaluators)
        is_read = evaluates or (is_read and not generators)
    return reasons


def _of_type(layer: Layer, name: str) -> list[Component]:
    return [component for component in layer.components if component.type == name]
