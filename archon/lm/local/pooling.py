"""How a sentence encoder makes one vector of a text's tokens, as sentence-transformers writes it.

``modules.json`` lists what follows the encoder, and a folder for each; a folder without it holds an
encoder alone, whose vector is the mean over the tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from archon.engine.files.folder import ModelFolder
from archon.errors import ModelFileError
from archon.spec.messages import shown
from archon.weights.model_files import POOLING_FILES

Pooling = Literal["mean", "cls"]
"""The mean over the tokens, or the first token."""

_MODULES, _PROMPTS, _POOLING = POOLING_FILES
_READ = ("Transformer", "Pooling", "Normalize")
# Vectors are scaled to length 1 afterwards, so that a sum or another multiple of the mean is it.
_MODES: dict[str, Pooling] = {
    "mean": "mean", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean", "cls": "cls",
    "cls_token": "cls",
}  # fmt: skip


def pooling_of(folder: ModelFolder) -> Pooling:
    """How the folder's encoder is pooled.

    Raises
    ------
    ModelFileError : a file is damaged, or asks for what is not supported: another pooling, a
        further layer, or a prompt before every text.
    """
    prompts = folder.json(_PROMPTS) or {}
    if prompts.get("default_prompt_name") is not None:
        name = shown(prompts["default_prompt_name"])
        reason = f"default_prompt_name is {name}: a prompt before every text is not supported"
        raise ModelFileError(f"{folder.path / _PROMPTS}: {reason}")
    place = _POOLING
    for kind, path in _modules(folder):
        if kind not in _READ:
            reason = f"a module of type {shown(kind)} is not supported ({', '.join(_READ)} are)"
            raise ModelFileError(f"{folder.path / _MODULES}: {reason}")
        if kind == "Pooling":
            if Path(path).name != path:  # it could lead anywhere on the machine
                raise ModelFileError(f"{folder.path / _MODULES}: a module's path is {shown(path)}")
            place = f"{path}/config.json"
    return _mode(folder, place)


def _modules(folder: ModelFolder) -> list[tuple[str, str]]:
    """The type and folder of each module; none where the folder does not list them."""
    content = folder.text(_MODULES)
    if content is None:
        return []
    try:
        modules = json.loads(content)
        return [(module["type"].rpartition(".")[2], str(module["path"])) for module in modules]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "is not a list of objects with 'type' and 'path'"
        raise ModelFileError(f"{folder.path / _MODULES}: {reason}") from None


def _mode(folder: ModelFolder, place: str) -> Pooling:
    config: dict[str, Any] = folder.json(place) or {}
    stated = config.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or ())
    start = "pooling_mode_"
    modes += [key.removeprefix(start) for key, on in config.items() if on is True and start in key]
    if not modes:
        return "mean"
    if len(modes) == 1 and modes[0] in _MODES:
        return _MODES[modes[0]]
    listed = " and ".join(map(shown, modes))
    raise ModelFileError(f"{folder.path / place}: pooling by {listed} is not supported")
