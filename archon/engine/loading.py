"""Load an engine from a GGUF file or a model folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from archon.engine.cuda.graphs import GraphedDecoder
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.engine import Engine, EngineOptions
from archon.engine.files.folder import ModelFolder
from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.build import load_kernels
from archon.engine.kernels.native import NativeDecoder
from archon.engine.kernels.packing import can_pack, load_packed
from archon.engine.model.config import DecoderConfig, ModelFile
from archon.engine.model.decoder import Decoder
from archon.engine.model.lora import Adapter, check_adapter, split_fused
from archon.engine.model.lora_config import read_adapter
from archon.engine.model.lora_gguf import read_gguf_adapter
from archon.engine.model.merging import MergedWeights
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.reward_head import RewardHead, check_reward_head
from archon.engine.model.weights import WeightSource, weights_of
from archon.engine.process import claim_process
from archon.errors import EngineError

logger = logging.getLogger("archon.engine")

ROTATED_PRECISIONS = ("int8", "int4")
"""Precisions whose decoders run outlier-rotated weights."""


def open_model(path: Path) -> ModelFile:
    """Open a GGUF file, or a folder of safetensors.

    Raises
    ------
    ModelFileError
        The model cannot be read, or is damaged.
    """
    return ModelFolder(path) if path.is_dir() else GGUFFile(path)


def load_engine(
    file: ModelFile | Path,
    precision: Precision,
    *,
    model_id: str = "",
    device: str | None = None,
    options: EngineOptions | None = None,
    context_length: int | None = None,
    keep_in: Path | None = None,
    merged: Adapter | None = None,
) -> Engine:
    """Load a model into an engine.

    Parameters
    ----------
    file
        GGUF file or model folder, or its path.
    precision
        Precision of the linear layers (``archon.engine.model.linear``).
    model_id
        Digest of the weights, which is part of every sample's key.
    device
        ``cpu`` or ``cuda``; by default CUDA if it is available.
    context_length
        Maximum number of tokens of prompt and completion together; by default the model's.
    keep_in
        Folder that caches compiled kernels and packed weights (see ``load_decoder``).
    merged
        Adapter to merge into the weights. ``model_id`` must then identify both.

    Raises
    ------
    ModelFileError
        The model is damaged or has features that are not supported.
    EngineError
        The device is not available, or this process was forked from one that runs an engine.
    """
    claim_process()
    if isinstance(file, Path):
        file = open_model(file)
    source = weights_of(file)
    if merged is not None:
        source = MergedWeights(source, merged)
    config = source.config
    if config.dynamic_rope and (context_length or 0) > config.context_length:
        raise EngineError(
            f"{file.path}: a context of {context_length} tokens is longer than the model's "
            f"{config.context_length}, and its dynamic rotary scaling is not supported beyond them"
        )
    decoder = load_decoder(
        source, precision, choose_device(device), model_id=model_id, keep_in=keep_in
    )
    if isinstance(decoder, Decoder) and decoder.device.type == "cuda":
        decoder = GraphedDecoder(decoder)
    return Engine(decoder, model_id, options, context_length)


def open_adapter(path: Path, config: DecoderConfig) -> Adapter:
    """Read an adapter for a model: a folder in peft's format, or a GGUF file.

    Raises
    ------
    ModelFileError
        The adapter is damaged or has features that are not supported.
    """
    return read_gguf_adapter(path, config) if path.is_file() else read_adapter(path)


def add_adapter(engine: Engine, source: WeightSource, adapter: Adapter) -> None:
    """Add an adapter to an engine; requests select it by its digest.

    Parameters
    ----------
    source
        Parameters of the engine's model. To add several adapters faster, pass the same
        ``OutlierRotatedWeights`` of these parameters each time: it caches the norms that it reads.

    Raises
    ------
    ModelFileError
        The adapter is for another model.
    EngineError
        The adapter must be merged into the weights.
    """
    if adapter.must_be_merged:
        raise EngineError(f"{adapter.path}: this adapter must be merged when the model is loaded")
    if adapter.digest in engine.decoder.adapters:
        return
    check_adapter(adapter, source.config)
    adapter = split_fused(adapter, source.config)
    if has_outlier_rotation(engine.decoder):
        if not isinstance(source, OutlierRotatedWeights):
            source = OutlierRotatedWeights(source)
        adapter = source.adapter(adapter)
    engine.decoder.add_adapter(adapter)


def has_outlier_rotation(decoder: SpanDecoder) -> bool:
    """Return True if a decoder loaded by this module runs outlier-rotated weights."""
    return decoder.precision in ROTATED_PRECISIONS


def head_in_engine_basis(
    engine: Engine, file: ModelFile, head: RewardHead, adapter: str = ""
) -> RewardHead:
    """Return a reward head in the basis of an engine's hidden states.

    Parameters
    ----------
    file
        The engine's model.
    adapter
        Digest of the adapter with which the hidden states are computed; "" for none.

    Raises
    ------
    ModelFileError
        The head was trained with another model or another adapter.
    """
    model_digest = engine.model_id.split(":")[0]
    check_reward_head(head, engine.decoder.config.width, model_digest, adapter)
    if not has_outlier_rotation(engine.decoder):
        return head
    return replace(head, weight_E=OutlierRotatedWeights(weights_of(file)).readout(head.weight_E))


def hidden_in_file_basis(engine: Engine, file: ModelFile, hidden_NE: Tensor) -> Tensor:
    """Convert an engine's hidden states, (N, E), to the basis of its model file.

    Reward heads are stored in this basis.
    """
    if not has_outlier_rotation(engine.decoder):
        return hidden_NE
    return OutlierRotatedWeights(weights_of(file)).hidden(hidden_NE)


def load_decoder(
    source: WeightSource,
    precision: Precision,
    device: torch.device,
    *,
    model_id: str = "",
    keep_in: Path | None = None,
    native: bool = True,
) -> SpanDecoder:
    """Load a decoder with this precision; int8 and int4 use outlier-rotated weights.

    In ``native``, weights are those of the file, which are not rotated.

    Parameters
    ----------
    model_id
        Digest of the weights, which is part of the name of the file of packed weights.
    keep_in
        Folder that caches compiled kernels and packed weights; None caches nothing.
    native
        Whether to use the compiled kernels if the machine and the model's shape allow it.
    """
    if precision in ("float32", "bf16"):
        return Decoder(source, precision, device)
    kernels = None
    if native and device.type == "cpu" and can_pack(source.config):
        kernels = load_kernels(keep_in and keep_in / "kernels")
    rotation = None
    if precision in ROTATED_PRECISIONS:
        source = rotated = OutlierRotatedWeights(source)
        rotation = rotated.input_rotation
    if kernels is None:
        if precision == "native":
            logger.warning("precision native needs the compiled kernels: computing in bf16 instead")
        return Decoder(source, precision, device, rotation)
    cache_file = None
    if keep_in is not None and model_id:
        cache_file = keep_in / "packed" / f"{model_id[:32]}-{precision}.safetensors"
    packed = load_packed(source, precision, cache_file)
    return NativeDecoder(source.config, packed, kernels, precision)


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device; by default CUDA if it is available, else the CPU.

    Raises
    ------
    EngineError
        The device is unknown or not available.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"{name!r} is not a device; use cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r} is not supported; use cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"device {name!r} is not available: torch finds no CUDA device; use cpu")
    return device
