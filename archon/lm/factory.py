"""Open the model that a card describes.

Each backend is imported only when a card needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from archon.lm.base import LM, LM_CAPABILITIES
from archon.lm.embedding import EMBED
from archon.lm.plugin_model import plugin_capabilities
from archon.lm.reward import REWARD
from archon.lm.scripted.lm import SCRIPTED_CAPABILITIES
from archon.spec.model import (
    TRANSLATOR_CAPABILITIES,
    LocalCard,
    ModelCard,
    OpenAICard,
    PluginCard,
    ScriptedCard,
)

OPENERS: dict[str, str] = {
    "local": "archon.lm.local:open_local",
    "openai": "archon.lm.remote:open_remote",
    "scripted": "archon.lm.scripted.lm:open_scripted",
    "plugin": "archon.lm.plugin_model:open_plugin",
}
"""Backend → ``module:function`` that opens its cards; called with (card, base_dir).
"""
LOCAL_CAPABILITIES = LM_CAPABILITIES - {"schema", "regex", "closing"}
"""Capabilities of a decoder in the local engine.

``schema``, ``regex`` and ``closing`` are not listed because ``constraint`` includes them."""


def capabilities(card: ModelCard) -> frozenset[str]:
    """Return the capabilities of a card's model without opening the model."""
    match card:
        case LocalCard(transformer="encoder-decoder"):
            return TRANSLATOR_CAPABILITIES
        case LocalCard(transformer="cross-encoder") | LocalCard(reward=str()):
            return REWARD
        case LocalCard(transformer="sentence-encoder"):
            return EMBED
        case LocalCard():
            return LOCAL_CAPABILITIES
        case OpenAICard():
            return _server_capabilities(card)
        case ScriptedCard():
            return REWARD if card.reward else SCRIPTED_CAPABILITIES
        case PluginCard():
            return plugin_capabilities(card)


def _server_capabilities(card: OpenAICard) -> frozenset[str]:
    promised = {
        "chat": True,
        "stream": True,
        "tools": card.endpoint == "chat",
        "thinking": card.endpoint == "chat",
        "thinking_budget": card.endpoint == "chat" and card.limits_thinking,
        "logprobs": card.logprobs,
        "schema": card.constraint is not None,
        "closing": card.constraint is not None,
        "regex": card.constraint == "structured_outputs",
    }
    return frozenset(name for name, is_promised in promised.items() if is_promised)


def open_lm(card: ModelCard, base_dir: Path | None = None) -> LM:
    """Open the model of a card.

    Parameters
    ----------
    base_dir
        Folder on which the card's relative paths are based.

    Raises
    ------
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        Something that the card requires, such as an environment variable with an API key, is
        missing.
    MissingExtraError
        The backend needs a package that is not installed.
    """
    module_name, _, function_name = OPENERS[card.backend].partition(":")
    module = importlib.import_module(module_name)
    opener = cast(Callable[[ModelCard, Path | None], LM], getattr(module, function_name))
    return opener(card, base_dir)
