"""Patterns of layers: which of them have a sliding window, according to ``config.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archon.engine.files.key_rules import CheckedKeys

SlidingLayers = Callable[[CheckedKeys, int], Sequence[bool]]
"""Maps the keys of a file and the number of layers to a flag for each layer."""

_DEFAULT_FULL_LAYERS = 28
"""Default of ``max_window_layers`` in transformers."""


def every_layer(keys: CheckedKeys, num_layers: int) -> Sequence[bool]:
    """Return True for every layer."""
    return (True,) * num_layers


def upper_layers(keys: CheckedKeys, num_layers: int) -> Sequence[bool]:
    """Return True from layer ``max_window_layers`` on."""
    first = keys.count("max_window_layers", _DEFAULT_FULL_LAYERS)
    return [index >= first for index in range(num_layers)]


def alternating_lower_layers(keys: CheckedKeys, num_layers: int) -> Sequence[bool]:
    """Return True for each other layer, from the first, before ``max_window_layers``."""
    stop = keys.count("max_window_layers", _DEFAULT_FULL_LAYERS)
    return [index % 2 == 0 and index < stop for index in range(num_layers)]


def all_but_each(period: int, key: str = "") -> SlidingLayers:
    """Return a pattern: every layer but each ``period``-th, whose number the file may change."""

    def pattern(keys: CheckedKeys, num_layers: int) -> Sequence[bool]:
        n = keys.count(key, period) if key else period
        return [n == 0 or (index + 1) % n != 0 for index in range(num_layers)]

    return pattern


def rope_layers(keys: CheckedKeys, num_layers: int, interval: int) -> Sequence[bool]:
    """Return True for each layer with RoPE.

    ``no_rope_layers`` has a 1 for each of these layers and a 0 for the others. Without it, each
    ``interval``-th layer has no RoPE; 0 means that all have.
    """
    flags = keys.values.get("no_rope_layers") if interval else None
    if flags is not None:
        is_list = isinstance(flags, list) and len(flags) >= num_layers
        if not is_list or any(flag not in (0, 1) for flag in flags):
            raise keys.error("no_rope_layers", flags, f"a list of 0 or 1 for {num_layers} layers")
        return [bool(flag) for flag in flags[:num_layers]]
    n = keys.count("no_rope_layer_interval", interval) if interval else 0
    return [n == 0 or (index + 1) % n != 0 for index in range(num_layers)]


def layers_without_rope(interval: int) -> SlidingLayers:
    """Return a pattern: the layers without RoPE."""

    def pattern(keys: CheckedKeys, num_layers: int) -> Sequence[bool]:
        return [not flag for flag in rope_layers(keys, num_layers, interval)]

    return pattern
