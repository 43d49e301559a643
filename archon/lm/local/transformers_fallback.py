"""Models that Archon's engine does not compute, and that the transformers library may load.

The library is the reference for folders, whatever key or family the engine rejects. A GGUF file is
different: the library skips keys and tensors that it does not know. So it gets only files of
architectures that the engine does not have.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from archon.engine.files.folder import CONFIG, ModelFolder, read_json
from archon.engine.files.gguf import GGUFFile
from archon.engine.files.quantization.stored import SettingError, Settings
from archon.engine.loading import open_model
from archon.engine.model.config import ModelFile
from archon.engine.model.config_gguf import LONG_ROPE_FACTORS, ROPE_FACTORS
from archon.engine.model.families import GGUF_FAMILIES
from archon.engine.model.lora_config import FILES
from archon.engine.transformers.engine import TransformersEngine
from archon.engine.transformers.loading import load_transformers_engine
from archon.errors import MissingExtraError, ModelFileError
from archon.spec import catalog
from archon.spec.model import LocalCard
from archon.warn_once import warn_once

_TOKENIZER = "tokenizer.json"
_IGNORED_TENSORS = (ROPE_FACTORS, *LONG_ROPE_FACTORS.values())


class FolderFiles(ModelFolder):
    """The JSON and text files of a model folder, whose weights are not opened.

    If the folder has no tokenizer.json, the transformers library converts the tokenizer that it
    has.

    Raises
    ------
    ModelFileError
        A file is missing or damaged.
    """

    def __init__(self, path: Path, *, trust_remote_code: bool = False) -> None:
        config = read_json(path / CONFIG)
        if config is None:
            raise ModelFileError(f"{path}: the folder has no {CONFIG}")
        if (settings := config.get("quantization_config")) is not None:
            try:
                Settings(settings)
            except SettingError as error:
                raise ModelFileError(f"{path / CONFIG}: {error}") from None
        text = config.get("text_config")
        self.combined = str(config.get("model_type")) if isinstance(text, dict) else ""
        if isinstance(text, dict) and config.get("eos_token_id") is None:
            config = config | {"eos_token_id": text.get("eos_token_id")}
        self.path, self.config, self.tensors = path, config, {}
        self._trust_remote_code = trust_remote_code

    def json(self, name: str) -> dict[str, Any] | None:
        """Read the JSON object in a file of the folder; return None if it does not exist."""
        found = super().json(name)
        if found is None and name == _TOKENIZER:
            return self._converted_tokenizer()
        return found

    def _converted_tokenizer(self) -> dict[str, Any] | None:
        import transformers

        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=self._trust_remote_code
            )
            converted: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        except Exception as error:  # the library raises errors of many types
            reason = " ".join(str(error).split())
            raise ModelFileError(
                f"{self.path}: the folder has no {_TOKENIZER}, and transformers cannot make one "
                f"from its other files: {reason}"
            ) from error
        return converted


def fallback_file(card: LocalCard, path: Path, reason: ModelFileError | None) -> ModelFile:
    """Open the file or folder of a model that the transformers library may load.

    Parameters
    ----------
    reason
        Why Archon's engine does not run the model; None if the card demands the library.

    Raises
    ------
    ModelFileError
        The library cannot load it, or would load it wrongly. The error is ``reason`` if given.
    """
    if card.reward is not None:
        raise ModelFileError(
            f"{reason or path}: 'reward' needs a family that Archon's engine computes, since the "
            "transformers library returns no hidden states to the head. Use the model as a judge "
            "with method 'logit', or a reward model of a supported family"
        )
    try:
        if path.is_dir():
            return FolderFiles(path, trust_remote_code=card.trust_remote_code)
        file = open_model(path)
    except ModelFileError as error:
        raise reason or error from None
    if isinstance(file, GGUFFile):
        if reason is not None and file.metadata.get("general.architecture") in GGUF_FAMILIES:
            raise reason
        ignored = next((name for name in _IGNORED_TENSORS if name in file.tensors), None)
        if ignored is not None:
            raise ModelFileError(
                f"{path}: has the tensor {ignored!r}, which the transformers library would ignore"
            )
    return file


def adapter_folder(card: LocalCard, base_dir: Path) -> Path | None:
    """Return the folder of a card's adapter, if it has one.

    Raises
    ------
    ModelFileError
        It is not a folder in peft's format.
    """
    if card.adapter is None:
        return None
    path = catalog.find_adapter(card.adapter, base_dir)
    if path.is_file():
        raise ModelFileError(f"{path}: the transformers library needs an adapter in peft's format")
    FILES.read_config(path)
    return path


def fallback_identity(card: LocalCard, path: Path, weights: str, adapter: Path | None) -> str:
    """Return the digest of what the library computes: weights, adapter and trusted code.

    Parameters
    ----------
    weights
        Digest of the weights.
    adapter
        Folder of the adapter, which is merged into them.
    """
    parts = [weights]
    if adapter is not None:
        parts.append(FILES.digest(adapter))
    if card.trust_remote_code:
        code = sorted(path.rglob("*.py")) if path.is_dir() else []
        parts += [hashlib.sha256(file.read_bytes()).hexdigest() for file in code]
    return weights if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()


def text_part_line(name: str, combined: str) -> str:
    """Return the line for a model of which only texts are supported."""
    return (
        f"{name}: images, video and sound are not supported; this {combined} model gets text only"
    )


def load_fallback(
    card: LocalCard, path: Path, digest: str, adapter: Path | None, reason: ModelFileError | None
) -> TransformersEngine:
    """Load a model with the transformers library, and log once what is lost by that.

    Parameters
    ----------
    digest
        ``fallback_identity``.
    adapter
        Folder of the adapter, if any.
    reason
        Why Archon's engine does not run the model; None if the card demands the library.

    Raises
    ------
    ModelFileError
        The library cannot load the model, or is not installed. The error also has ``reason``.
    MissingExtraError
        The card demands the library, which is not installed.
    """
    try:
        engine = load_transformers_engine(
            path,
            card.precision,
            model_id=digest,
            context_length=card.context,
            adapter=adapter,
            trust_remote_code=card.trust_remote_code,
        )
    except MissingExtraError as error:
        if reason is None:
            raise
        raise ModelFileError(f"{reason}. The transformers library may run it: {error}") from None
    except ModelFileError as error:
        if reason is None:
            raise
        raise ModelFileError(f"{reason}; and {error}") from error
    warn_once(_report(card, engine, reason))
    return engine


def _report(card: LocalCard, engine: TransformersEngine, reason: ModelFileError | None) -> str:
    used = engine.decoder.precision
    precision = used if used == card.precision else f"{used} instead of {card.precision}"
    cause = "" if reason is None else f" because Archon's engine cannot ({reason})"
    cause += ", with the Python code of its folder" if card.trust_remote_code else ""
    return (
        f"{card.name}: computed by {engine.library} in {precision}{cause}: requests do not share a "
        "batch, and a sample may change with the number of samples that are computed together"
    )
