"""Make the relative paths in a spec absolute, so that it can be saved in another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archon.graph.exemplars import with_absolute_pool
from archon.spec import model_strings
from archon.spec.architecture import ArchitectureRef, RoleModel
from archon.spec.catalog import is_path
from archon.spec.model import LocalCard, ModelCard, PathSource


def absolute(ref: str, base_dir: Path) -> str:
    """Return a path, relative to ``base_dir``, as an absolute path; return a name unchanged."""
    return str((base_dir / ref).absolute()) if is_path(ref) else ref


def absolute_card(card: ModelCard, base_dir: Path) -> ModelCard:
    """Return a copy of a model card with absolute paths.

    The card may contain paths of the weights, the adapter, the reward head and the exemplar pool.
    """
    changes: dict[str, Any] = {}
    if card.prompt is not None:
        changes["prompt"] = with_absolute_pool(card.prompt, base_dir)
    if isinstance(card, LocalCard):
        changes["sources"] = [
            source.model_copy(
                update={"path": str((base_dir / Path(source.path).expanduser()).absolute())}
            )
            if isinstance(source, PathSource)
            else source
            for source in card.sources
        ]
        addons = {"adapter": card.adapter, "reward": card.reward}
        changes |= {key: absolute(ref, base_dir) for key, ref in addons.items() if ref is not None}
    return card.model_copy(update=changes)


def absolute_model(model: RoleModel, base_dir: Path) -> RoleModel:
    """Return a value from ``models`` (a name, path, card or architecture) with absolute paths."""
    if isinstance(model, str):
        if not model_strings.is_path(model, base_dir):
            return model
        return str((base_dir / Path(model).expanduser()).absolute())
    if isinstance(model, ArchitectureRef):
        return model.model_copy(update={"architecture": absolute(model.architecture, base_dir)})
    return absolute_card(model, base_dir)
