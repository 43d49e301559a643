"""Models that the function of a plug-in's provider makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archon.errors import ModelError
from archon.plugins import lookup
from archon.plugins.declarations import ProviderPlugin
from archon.plugins.registry import Registration
from archon.plugins.user_code import user_errors
from archon.spec.messages import shown
from archon.spec.model import PluginCard

if TYPE_CHECKING:
    from archon.lm.base import LM


def plugin_capabilities(card: PluginCard) -> frozenset[str]:
    """Return the capabilities that a provider declares for its models.

    Raises
    ------
    ModelError
        No plug-in registers the provider.
    """
    declaration: ProviderPlugin = _registration(card).declaration
    if declaration.capabilities is None:
        raise ModelError(
            f"model {card.name!r}: the provider {card.provider!r} describes servers and makes no "
            f"models; name the model {card.provider}:{card.model}"
        )
    return declaration.capabilities


def open_plugin(card: PluginCard, base_dir: Path | None = None) -> LM:
    """Make the model of a card with its provider's function.

    Raises
    ------
    ModelError
        No plug-in registers the provider, or it does not make a model.
    SpecError
        Its code fails.
    """
    from archon.lm.base import LM

    registration = _registration(card)
    with user_errors(registration.place):
        made = registration.code(card.model)
    if not isinstance(made, LM):
        raise ModelError(
            f"{registration.place}: the provider {card.provider!r} must return an object "
            f"with 'capabilities' and 'generate' (archon.LM), not {shown(made)}"
        )
    if lacking := plugin_capabilities(card) - made.capabilities:
        raise ModelError(
            f"{registration.place}: the provider {card.provider!r} declares capabilities that its "
            f"model {card.model!r} lacks: {', '.join(sorted(lacking))}"
        )
    return made


def _registration(card: PluginCard) -> Registration:
    found = lookup.find("provider", card.provider)
    if found is None:
        raise ModelError(
            f"model {card.name!r}: no plug-in has the provider {card.provider!r}; install it, or "
            "name its file with --plugin"
        )
    return found
