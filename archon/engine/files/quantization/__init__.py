"""Quantized model folders: every stored weight → float32.

A method (``METHODS``) knows how one format stores a weight: as several tensors, such as packed
integers, scales and zero points. ``dequantized`` replaces them by the weight that they represent,
under its usual name. Archon then quantizes it for its own kernels, or keeps it as it is, as the
precision of the model's card demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from torch import Tensor

from archon.engine.files.quantization.bitsandbytes import bitsandbytes
from archon.engine.files.quantization.compressed_tensors import compressed_tensors
from archon.engine.files.quantization.fp8 import fp8
from archon.engine.files.quantization.gptq import awq, gptq
from archon.engine.files.quantization.stored import (
    DerivedTensor,
    Method,
    SettingError,
    Settings,
    Stored,
    StoredTensor,
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "fp8": fp8,
        "fbgemm_fp8": fp8,
        "compressed-tensors": compressed_tensors,
        "awq": awq,
        "gptq": gptq,
        "bitsandbytes": bitsandbytes,
    }
)
"""``quant_method`` of ``quantization_config`` → the method."""
_CURE = "Use the model's original folder, a GGUF file of it, or a server that runs it, such as vLLM"


def dequantized(settings: Settings, stored: Stored) -> dict[str, StoredTensor]:
    """Replace the stored tensors of quantized weights by the weights.

    Parameters
    ----------
    settings
        The object ``quantization_config``.
    stored
        Tensors of the folder by name.

    Returns
    -------
    dict
        Tensors by name; those of weights are computed in float32 when they are read.

    Raises
    ------
    SettingError
        The settings are malformed.
    ValueError
        The format is not supported.
    """
    name = settings.name("quant_method").lower().replace("_tensors", "-tensors")
    method = METHODS.get(name)
    if method is None:
        known = ", ".join(METHODS)
        raise ValueError(
            f"the weights are quantized by {name or 'an unnamed method'!r}, which is not "
            f"supported; {known} are. {_CURE}"
        )
    try:
        derived = list(method(settings, stored))
    except SettingError:
        raise
    except ValueError as error:
        raise ValueError(f"weights in the format {name!r}: {error}. {_CURE}") from None
    used = {part for tensor in derived for part in tensor.parts.values()}
    rest = {name: tensor for name, tensor in stored.items() if name not in used}
    return rest | {
        tensor.name: StoredTensor(tensor.shape, "F32", partial(_decoded, tensor, stored))
        for tensor in derived
    }


def _decoded(tensor: DerivedTensor, stored: Stored) -> Tensor:
    parts = {role: stored[name].read() for role, name in tensor.parts.items()}
    found = tensor.decode(parts)
    if found.shape != tensor.shape:
        raise ValueError(
            f"tensor {tensor.name!r} has shape {tuple(found.shape)}, not {tensor.shape}"
        )
    return found
