"""Shape of a decoder, read from a GGUF file or a folder's ``config.json``."""

from __future__ import annotations

from archon.engine.files.folder import ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config_folder import config_of_folder, shape_keys
from archon.engine.model.config_gguf import config_of_gguf
from archon.engine.model.decoder_config import DecoderConfig, ExpertConfig, LayerConfig

__all__ = [
    "DecoderConfig", "ExpertConfig", "LayerConfig", "ModelFile", "config_of", "shape_keys",
]  # fmt: skip

ModelFile = GGUFFile | ModelFolder


def config_of(file: ModelFile) -> DecoderConfig:
    """Read the shape of the decoder in a file or folder.

    Raises
    ------
    ModelFileError
        A key is missing, or the model has a feature that is not supported.
    """
    return config_of_gguf(file) if isinstance(file, GGUFFile) else config_of_folder(file)
