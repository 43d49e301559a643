"""From a file of weights to an engine that runs it."""

from __future__ import annotations

from pathlib import Path

import torch

from archon.engine.config import config_of
from archon.engine.decoder import Decoder
from archon.engine.engine import Engine, EngineOptions
from archon.engine.gguf import GGUFFile
from archon.engine.linear import Precision
from archon.engine.rotation import RotatedWeights
from archon.engine.weights import GGUFWeights, WeightSource
from archon.errors import EngineError


def load_engine(
    file: GGUFFile | Path,
    precision: Precision,
    *,
    model_id: str = "",
    device: str | None = None,
    options: EngineOptions | None = None,
    context_length: int | None = None,
) -> Engine:
    """Load a GGUF file into an engine.

    Parameters
    ----------
    file : the file, or its path.
    precision : what the linear layers compute in.
    model_id : digest of the weights; draws depend on it.
    device : ``cpu`` or ``cuda``; by default CUDA where there is any.
    context_length : tokens of prompt and completion together; by default what the file says.

    Raises
    ------
    ModelFileError : the file is damaged or holds something that is not supported.
    EngineError : the device is not there.
    """
    if isinstance(file, Path):
        file = GGUFFile(file)
    decoder = load_decoder(GGUFWeights(file, config_of(file)), precision, choose_device(device))
    return Engine(decoder, model_id, options, context_length)


def load_decoder(source: WeightSource, precision: Precision, device: torch.device) -> Decoder:
    """A decoder that computes in the given precision; for int8, in a basis without outliers."""
    return Decoder(RotatedWeights(source) if precision == "int8" else source, precision, device)


def choose_device(name: str | None = None) -> torch.device:
    """The named device, else CUDA where there is any, else the CPU.

    Raises
    ------
    EngineError : there is no such device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"{name!r} is not a device; cpu and cuda are") from None
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r} is not supported; cpu and cuda are")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError("no CUDA device is available")
    return device
