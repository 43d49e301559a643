"""Stored tensors of quantized models, and the tensors that are computed from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archon.engine.files.key_rules import shown


class SettingError(ValueError):
    """A setting of the quantization is malformed."""


class Settings:
    """The object ``quantization_config`` of ``config.json``, or an object in it.

    Parameters
    ----------
    values
        The object.
    place
        Its keys in the file, for error messages.

    Raises
    ------
    SettingError
        It is not an object; in the methods, a value has another type than expected.
    """

    def __init__(self, values: object, place: str = "quantization_config") -> None:
        self._values, self._place = _checked(values, Mapping, place, "an object"), place

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of any type; ``default`` if the key does not exist."""
        return self._values.get(key, default)

    def name(self, key: str) -> str:
        """Return the text at a key; "" if there is none."""
        text: str = _checked(self.get(key) or "", str, f"{self._place}.{key}", "a name")
        return text

    def inner(self, key: str) -> Settings:
        """Return the object at a key; an empty one if there is none."""
        return Settings(self.get(key) or {}, f"{self._place}.{key}")

    def each(self, key: str) -> list[Settings]:
        """Return the objects in the object at a key."""
        inner = self.inner(key)
        return [Settings(value, f"{inner._place}.{name}") for name, value in inner._values.items()]

    def sizes(self, key: str) -> tuple[int, ...]:
        """Return the list of whole numbers above 0 at a key; () if there is none."""
        values, place = self.get(key) or [], f"{self._place}.{key}"
        for value in _checked(values, list | tuple, place, "a list"):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SettingError(f"{place} is {shown(values)}, not a list of numbers above 0")
        return tuple(values)

    def number(self, *keys: str) -> int:
        """Return the whole number at the first of these keys that exists."""
        key = next((key for key in keys if key in self._values), keys[0])
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise SettingError(f"{self._place}.{key} is {shown(value)}, not a number")
        return value


def _checked(value: Any, kind: Any, place: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise SettingError(f"{place} is {shown(value)}, not {wanted}")
    return value


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    shape: tuple[int, ...]
    dtype: str
    """In the spelling of safetensors, such as "F8_E4M3"."""
    read: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class DerivedTensor:
    """A tensor that is computed from stored ones."""

    name: str
    shape: tuple[int, ...]
    parts: Mapping[str, str]
    """Role → name of a stored tensor. Those that do not affect the result, such as the scales of
    activations, are listed too."""
    decode: Callable[[Mapping[str, Tensor]], Tensor]
    """Role → stored tensor → the result in float32."""


Stored = Mapping[str, StoredTensor]
Method = Callable[[Settings, Stored], Iterator[DerivedTensor]]
"""Yields the tensors of a model in one format. Raises ``ValueError`` with the reason if a tensor
or a setting is not supported."""

ACTIVATION_SCALES = (
    "input_scale", "input_zero_point", "input_global_scale", "output_scale", "output_zero_point",
    "activation_scale", "k_scale", "v_scale", "q_scale", "k_zero_point", "v_zero_point",
)  # fmt: skip
"""Tensors for the quantization of activations, which the weights do not need."""


def modules_with(suffix: str, stored: Stored) -> Iterator[str]:
    """Yield the prefixes, such as "model.layers.0.mlp.up_proj.", of tensors with a suffix."""
    return (name.removesuffix(suffix) for name in stored if name.endswith(f".{suffix}"))


def parts_of(prefix: str, roles: Collection[str], stored: Stored) -> dict[str, str]:
    """Return those tensors of a module that exist, by role; the scales of activations included."""
    return {role: prefix + role for role in (*roles, *ACTIVATION_SCALES) if prefix + role in stored}


def unpacked(words: Tensor, bits: int) -> Tensor:
    """Split words into numbers without sign, the lowest bits first.

    Parameters
    ----------
    words
        int32 of shape (…, W).
    bits
        Bits of a number. A number is in one word, so that some bits of a word may be unused.

    Returns
    -------
    Tensor
        int32 of shape (…, W · ⌊32 / bits⌋).
    """
    shifts = torch.arange(32 // bits, dtype=torch.int32) * bits
    return ((words.unsqueeze(-1) >> shifts) & ((1 << bits) - 1)).flatten(-2)


def expanded(scale: Tensor, shape: tuple[int, ...], block: Collection[int] = ()) -> Tensor:
    """Repeat scales of blocks for each element of the last two dimensions.

    Parameters
    ----------
    scale
        One number; one per row, (…, O) or (…, O, 1); or one per block, (…, O', I').
    shape
        (…, O, I).
    block
        Rows and columns of a block, of which the last may be cut off. By default the blocks divide
        the shape evenly.

    Raises
    ------
    ValueError
        The scales do not match the shape.
    """
    scale = scale.float()
    if scale.numel() == 1:
        return scale.reshape(1)
    mismatch = ValueError(f"scales of shape {tuple(scale.shape)} do not match shape {shape}")
    if scale.dim() == len(shape) - 1:
        scale = scale.unsqueeze(-1)
    if scale.dim() != len(shape) or scale.shape[:-2] != shape[:-2]:
        raise mismatch
    for dim, size in zip((-2, -1), block or (0, 0), strict=True):
        count, length = scale.shape[dim], shape[dim]
        if not size and count in (1, length):
            continue
        repeats = size or length // count
        if -(-length // max(repeats, 1)) != count or (not size and length % count):
            raise mismatch
        scale = scale.repeat_interleave(repeats, dim).narrow(dim, 0, length)
    return scale
