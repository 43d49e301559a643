"""Compute of a model that only its card or its name describes, such as one on a server."""

from __future__ import annotations

import re

from archon.lm.compute import AttentionLayers, DecoderCompute
from archon.spec.model import ModelCard, OpenAICard

_ACTIVE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(b|m)-a(\d+(?:\.\d+)?)(b|m)(?![a-z0-9])")
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(b|m)(?![a-z0-9])")
_SPARSE = re.compile(
    r"\d+x\d|\d+e(?![a-z0-9])|moe|mixtral|gpt-oss|deepseek-(?:v|r1$|r1-0|coder-v2)|kimi-k|glm-4\.5"
    r"|jamba|dbrx|grok|minimax|llama-4|qwen3-next"
)
"""Names of mixtures of experts: the size in the name is not that of the active weights."""
_UNITS = {"b": 10**9, "m": 10**6}


def card_compute(card: ModelCard) -> DecoderCompute | None:
    """Return the compute of a card's model: from its ``parameters``, else from its name.

    Returns None if neither states the number of weights.
    """
    sizes = card.parameters
    if sizes is not None:
        attention: tuple[AttentionLayers, ...] = ()
        if sizes.layers is not None and sizes.attention_width is not None:
            attention = (AttentionLayers(sizes.layers, sizes.attention_width),)
        is_estimate = not attention or sizes.active is None
        return DecoderCompute(sizes.active or sizes.total, 0, attention, is_estimate)
    names = [card.name]
    if isinstance(card, OpenAICard) and card.model is not None:
        names.insert(0, card.model)
    active = next((found for name in names if (found := active_parameters(name))), None)
    return None if active is None else DecoderCompute(active, is_estimate=True)


def active_parameters(name: str) -> int | None:
    """Return the active weights that a model's name plainly states; None if it does not.

    >>> active_parameters("Qwen/Qwen2.5-7B-Instruct"), active_parameters("qwen3-30b-a3b")
    (7000000000, 3000000000)
    >>> active_parameters("mixtral-8x7b"), active_parameters("gpt-4o"), active_parameters("4bit")
    (None, None, None)
    """
    name = re.sub(r"[\s_:/@]+", "-", name.lower())
    if sparse := _ACTIVE.search(name):
        return round(float(sparse[3]) * _UNITS[sparse[4]]) or None
    sizes = {(number, unit) for number, unit in _SIZE.findall(name)}
    if len(sizes) != 1 or _SPARSE.search(name):
        return None
    ((number, unit),) = sizes
    return round(float(number) * _UNITS[unit]) or None
