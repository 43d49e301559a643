"""Load and save encoders in the format of Hugging Face's libraries.

For each family, a table translates the names of a module's parameters into those of the files.
There must be a tensor of the same shape for each parameter, and a parameter for each tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from archon.engine.encoders.config import (
    encoder_config,
    encoder_decoder_config,
    encoder_decoder_json,
)
from archon.engine.encoders.encoder import Encoder
from archon.engine.encoders.encoder_decoder import EncoderDecoder
from archon.engine.encoders.heads import TextClassifier
from archon.engine.files.folder import CONFIG, WEIGHTS, ModelFolder
from archon.errors import ModelFileError

Renames = tuple[tuple[str, str], ...]
"""Pairs (pattern, replacement) that translate the name of a parameter into that of its tensor; all
of them are applied, in order."""

ENCODER_DECODER_NAMES: Renames = (
    (r"^embedding\.", "shared."),
    (r"^head\.", "lm_head."),
    (r"^(encoder|decoder)_norm\.", r"\1.final_layer_norm."),
    (
        r"^(encoder|decoder)_positions\.bias\.",
        r"\1.block.0.layer.0.SelfAttention.relative_attention_bias.",
    ),
    (r"^encoder\.(\d+)\.ffn", r"encoder.block.\1.layer.1.ffn"),
    (r"^decoder\.(\d+)\.ffn", r"decoder.block.\1.layer.2.ffn"),
    (r"^decoder\.(\d+)\.cross_", r"decoder.block.\1.layer.1.cross_"),
    (r"^(encoder|decoder)\.(\d+)\.attention", r"\1.block.\2.layer.0.attention"),
    (r"\.(attention|cross|ffn)_norm\.", ".layer_norm."),
    (r"\.cross_attention\.", ".EncDecAttention."),
    (r"\.attention\.", ".SelfAttention."),
    (r"Attention\.output\.", "Attention.o."),
    (r"\.ffn\.down\.", ".DenseReluDense.wo."),
)
_UP = ((r"\.ffn\.up\.", ".DenseReluDense.wi."),)
_GATED_UP = (
    (r"\.ffn\.gate\.", ".DenseReluDense.wi_0."),
    (r"\.ffn\.up\.", ".DenseReluDense.wi_1."),
)


def encoder_decoder_names(gated: bool) -> Renames:
    """Return the table of the T5 family; a gated feed-forward network has one more matrix."""
    return ENCODER_DECODER_NAMES + (_GATED_UP if gated else _UP)


def stored_name(name: str, renames: Renames) -> str:
    """Translate the name of a parameter into the name of its tensor in files."""
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def load_into(
    module: nn.Module,
    folder: ModelFolder,
    renames: Renames,
    *,
    prefixes: Iterable[str] = ("",),
    unused: str = r"$^",
) -> None:
    """Copy a folder's tensors to a module's parameters.

    Parameters
    ----------
    prefixes
        Possible prefixes of all names in the folder; the first one that occurs is used.
    unused
        Pattern of the names of tensors to ignore.

    Raises
    ------
    ModelFileError
        A tensor is missing, is unknown, or has the wrong shape.
    """
    parameters = module.state_dict()
    names = {stored_name(name, renames): name for name in parameters}
    first = next(iter(names))
    prefix = next((p for p in prefixes if p + first in folder.tensors), "")
    own = {name.removeprefix(prefix) for name in folder.tensors if name.startswith(prefix)}
    unknown = sorted(name for name in own - names.keys() if not re.search(unused, name))
    if unknown:
        raise ModelFileError(f"{folder.path}: tensor {unknown[0]!r} is not supported")
    for theirs, ours in names.items():
        tensor, parameter = folder.tensor(prefix + theirs), parameters[ours]
        if tensor.shape != parameter.shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(parameter.shape)}"
            raise ModelFileError(f"{folder.path}: tensor {prefix + theirs!r} has shape {shapes}")
        with torch.no_grad():
            parameter.copy_(tensor)


def _save(
    module: nn.Module, renames: Renames, config: Mapping[str, Any], path: Path, dtype: torch.dtype
) -> None:
    path.mkdir(parents=True, exist_ok=True)
    tensors = {
        stored_name(name, renames): tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (path / CONFIG).write_text(text + "\n", encoding="utf-8")


def load_encoder_decoder(folder: ModelFolder) -> EncoderDecoder:
    """Load the encoder–decoder in a folder, in evaluation mode.

    Raises
    ------
    ModelFileError
        The model is damaged or not supported.
    """
    model = EncoderDecoder(encoder_decoder_config(folder))
    # Older files have a copy of the shared embedding for each stack.
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        if name in folder.tensors and not torch.equal(
            folder.tensor(name), folder.tensor("shared.weight")
        ):
            raise ModelFileError(
                f"{folder.path}: tensor {name!r} differs from 'shared.weight', which is not "
                "supported"
            )
    unused = r"^(encoder|decoder)\.embed_tokens\.weight$" + (
        r"|^lm_head\.weight$" if model.config.tied else ""
    )
    load_into(model, folder, encoder_decoder_names(model.config.gated), unused=unused)
    return model.eval()


def save_encoder_decoder(
    model: EncoderDecoder, path: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write an encoder–decoder to a folder, which transformers can also read."""
    renames = encoder_decoder_names(model.config.gated)
    _save(model, renames, encoder_decoder_json(model.config), path, dtype)


ENCODER_NAMES: Renames = (
    (r"^tokens\.", "embeddings.word_embeddings."),
    (r"^positions\.", "embeddings.position_embeddings."),
    (r"^segments\.", "embeddings.token_type_embeddings."),
    (r"^norm\.", "embeddings.LayerNorm."),
    (r"^layers\.", "encoder.layer."),
    (r"\.attention\.q\.", ".attention.self.query."),
    (r"\.attention\.k\.", ".attention.self.key."),
    (r"\.attention\.v\.", ".attention.self.value."),
    (r"\.attention\.output\.", ".attention.output.dense."),
    (r"\.attention_norm\.", ".attention.output.LayerNorm."),
    (r"\.up\.", ".intermediate.dense."),
    (r"\.down\.", ".output.dense."),
    (r"\.ffn_norm\.", ".output.LayerNorm."),
)
TEXT_CLASSIFIER_NAMES: Renames = (
    *((rf"^encoder\.{pattern.lstrip('^')}", f"bert.{new}") for pattern, new in ENCODER_NAMES[:4]),
    (r"^encoder\.layers\.", "bert.encoder.layer."),
    *ENCODER_NAMES[5:],
    (r"^pooler\.", "bert.pooler.dense."),
    (r"^classes\.", "classifier."),
)


def load_encoder(folder: ModelFolder) -> Encoder:
    """Load the encoder in a folder, without its head, in evaluation mode.

    Raises
    ------
    ModelFileError
        The model is damaged or not supported.
    """
    encoder = Encoder(encoder_config(folder))
    load_into(encoder, folder, ENCODER_NAMES, prefixes=("bert.", ""), unused=r"^pooler\.")
    return encoder.eval()


def save_text_classifier(
    model: TextClassifier, config: Mapping[str, Any], path: Path, labels: Sequence[str]
) -> None:
    """Write a text classifier to a folder, which transformers can also read.

    Parameters
    ----------
    config
        The ``config.json`` of the encoder.
    labels
        Names of the classes.
    """
    classifier_config = dict(config) | {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "torch_dtype": "float32",
    }
    _save(model, TEXT_CLASSIFIER_NAMES, classifier_config, path, torch.float32)


def load_text_classifier(folder: ModelFolder) -> TextClassifier:
    """Load the text classifier in a folder, in evaluation mode.

    Raises
    ------
    ModelFileError
        The model is damaged, not supported, or has no head for text classification.
    """
    if "classifier.weight" not in folder.tensors:
        raise ModelFileError(f"{folder.path}: the encoder has no head for text classification")
    num_classes = folder.tensors["classifier.weight"].shape[0]
    model = TextClassifier(Encoder(encoder_config(folder)), num_classes)
    load_into(model, folder, TEXT_CLASSIFIER_NAMES)
    return model.eval()
