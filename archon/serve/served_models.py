"""The models that a server offers, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from archon.errors import UsageError
from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.graph.loading import Loader, ModelChoice
from archon.lm.base import LM
from archon.lm.custom.choice import custom_lm
from archon.serve.routes import SERVED
from archon.spec.reader import Reference, is_model

Servable = Reference | Architecture
"""An architecture or a model that a server offers under its own name."""


def served_models(
    loader: Loader, refs: Iterable[Servable], models: Mapping[str, ModelChoice]
) -> dict[str, LM]:
    """Return a map from names to models and architectures, in order.

    Parameters
    ----------
    refs
        Names, paths or dicts of architectures and models, or loaded architectures.
    models
        Role → the model that replaces it, in every architecture that ``loader`` loads.

    Raises
    ------
    SpecError
        A file is missing or invalid.
    UsageError
        A name appears twice, a role of ``models`` is missing from every architecture, or no route
        has a use for a model.
    """
    refs = list(refs)
    files = [each for each in refs if not isinstance(each, Architecture) and not is_model(each)]
    architectures = iter(loader.architectures(files, models))
    lms: dict[str, LM] = {}
    for ref in refs:
        lm: LM
        if isinstance(ref, Architecture):
            name, lm = ref.name, ArchitectureLM(ref)
        elif is_model(ref):
            lm = model = loader.model(ref)
            name = model.card.name
            if lm.capabilities.isdisjoint(SERVED):
                raise UsageError(
                    f"the model {name!r} cannot be served, because no route has a use for it; "
                    f"choose a model that generates, embeds or scores texts"
                )
        else:
            architecture = next(architectures)
            name, lm = architecture.name, ArchitectureLM(architecture)
        if name in lms:
            raise UsageError(f"two served models have the name {name!r}; rename one of them")
        lms[name] = lm
    return lms


def named_models(loader: Loader, choices: Mapping[str, Any]) -> dict[str, LM]:
    """Return the models that a program serves under names that it chooses.

    Parameters
    ----------
    choices
        Name → an architecture, or its name, path or dict; or a model of any kind that
        ``archon.lm`` takes.

    Raises
    ------
    SpecError, UsageError
        See ``served_models``.
    """
    lms: dict[str, LM] = {}
    for name, choice in choices.items():
        if isinstance(choice, str | dict) or hasattr(choice, "__fspath__"):
            (lms[name],) = served_models(loader, [choice], {}).values()
        elif isinstance(choice, Architecture):
            lms[name] = ArchitectureLM(choice)
        else:
            lms[name] = custom_lm(choice)
    return lms
