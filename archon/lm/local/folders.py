"""A card's weights where they have to be a folder of safetensors, as the families' are."""

from __future__ import annotations

from pathlib import Path

from archon.engine.files.folder import ModelFolder
from archon.engine.loading import open_model
from archon.engine.process import claim_process
from archon.errors import ModelFileError
from archon.spec.model import LocalCard
from archon.weights import pull


def pulled_folder(card: LocalCard, base_dir: Path, kind: str) -> tuple[Path, ModelFolder]:
    """The folder's path and the folder, fetched where it is not here yet; ``kind`` is for errors.

    Raises
    ------
    ModelError : the weights cannot be had.
    ModelFileError : they are no folder.
    EngineError : this process was forked from one that computes.
    """
    claim_process()
    path = pull(card, base_dir)
    file = open_model(path)
    if not isinstance(file, ModelFolder):
        raise ModelFileError(f"{path}: {kind} is a folder of safetensors")
    return path, file
