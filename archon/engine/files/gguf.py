"""GGUF files: a header of typed key-value pairs, a table of tensors, then the tensors' bytes.

The file is mapped into memory; a tensor is read when it is needed. The file is not trusted: every
declared size is checked against the file's length before it is used.

A large model may be split into several files, ``NAME-00001-of-00003.gguf`` and so on. Opening any
of these parts opens the whole model. Each part stores its number, and the first one has the model's
keys.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archon.engine.files.dequantize import BlockFormat, dequantize, format_of_type
from archon.errors import ModelFileError

MAGIC = b"GGUF"
MAX_ENTRIES = 1 << 20
MAX_DIMENSIONS = 4
_VERSIONS = (2, 3)
_INCOMPLETE = "if the download is incomplete, download the file again"
_MAX_PARTS = 99_999
"""Largest number of parts: names have five digits."""
_MAX_NAMED = 20
"""Maximum number of missing parts that an error names."""
_SPLIT_DEFAULTS = (("no", 0), ("count", 1))
"""Keys ``split.no`` and ``split.count``, with their defaults for a file that is not split."""

_SCALARS: dict[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, shape, number format and offset of a tensor."""

    name: str
    shape: tuple[int, ...]
    """Sizes in torch's order: the last dimension is contiguous."""
    format: BlockFormat
    start: int
    """Offset in the file, in bytes."""

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_elements // self.format.elements * self.format.bytes

    def rows(self, start: int, stop: int) -> TensorInfo:
        """Return the part that has these indices of the first dimension, which must be whole
        blocks."""
        at = self.start + start * (self.num_bytes // self.shape[0])
        return replace(self, shape=(stop - start, *self.shape[1:]), start=at)


class GGUFFile:
    """An open GGUF model: its keys (``metadata``) and tensors (``tensors``).

    Parameters
    ----------
    path
        The file, or any part of a split model.

    Raises
    ------
    ModelFileError
        A file cannot be read, is not a GGUF file, is damaged or has unsupported types; or parts of
        the model are missing or do not belong together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        opened = GGUFPart(path)
        parts = opened.siblings()
        self.metadata: dict[str, Any] = parts[0].metadata
        self.tensors: dict[str, TensorInfo] = {}
        self._parts: dict[str, GGUFPart] = {}
        for part in parts:
            if twice := part.tensors.keys() & self.tensors.keys():
                raise ModelFileError(f"{part.path}: tensor {min(twice)!r} is in two parts")
            self.tensors |= part.tensors
            self._parts |= dict.fromkeys(part.tensors, part)
        expected = self.metadata.get("split.tensors.count", len(self.tensors))
        if len(parts) > 1 and len(self.tensors) != expected:
            raise ModelFileError(
                f"{path}: its {len(parts)} parts have {len(self.tensors)} tensors, not {expected}"
            )

    def tensor(self, name: str) -> Tensor:
        """Read a tensor as float32, dequantized.

        Raises
        ------
        ModelFileError
            The file has no tensor of that name.
        """
        info = self.tensors.get(name)
        if info is None:
            raise ModelFileError(f"{self.path}: has no tensor {name!r}")
        part = self._parts[name]
        tensor = part.tensor(info)
        part.release(info)
        return tensor

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Read ``tensor(name)[start:stop]`` without reading the rest.

        Files fuse tensors along the first dimension: queries, keys and values (``attn_qkv``), gate
        and up (``ffn_up`` of Phi-3), or all experts of a layer (``ffn_gate_exps`` and others).

        Raises
        ------
        ModelFileError
            The file has no tensor of that name, or the tensor has fewer rows.
        """
        info = self.tensors.get(name)
        if info is None:
            raise ModelFileError(f"{self.path}: has no tensor {name!r}")
        if not 0 <= start < stop <= info.shape[0]:
            raise ModelFileError(
                f"{self.path}: tensor {name!r} of shape {info.shape} has no rows {start} to {stop}"
            )
        if len(info.shape) == 1 and info.format.elements > 1:
            return self.tensor(name)[start:stop]  # rows are parts of blocks
        part, rows = self._parts[name], info.rows(start, stop)
        tensor = part.tensor(rows)
        part.release(rows)
        return tensor

    def blocks(self, name: str, row: int | None = None) -> Tensor:
        """Read the blocks of a tensor as they are stored: uint8, (…, bytes of a row).

        With ``row``, read only those of ``tensor(name)[row]``.
        """
        info, part = self.tensors[name], self._parts[name]
        wanted = info if row is None else info.rows(row, row + 1)
        blocks = part.blocks(wanted)
        part.release(wanted)
        return blocks if row is None else blocks[0]


class GGUFPart:
    """One open file of a GGUF model: its keys (``metadata``) and tensors (``tensors``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{path}: cannot be read: {error}") from None
        self._at = 0
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        self._read_header()

    def tensor(self, info: TensorInfo) -> Tensor:
        """Read a tensor of this file as float32, dequantized."""
        return dequantize(self.blocks(info).flatten(), info.format).view(info.shape)

    def blocks(self, info: TensorInfo) -> Tensor:
        """Read a tensor of this file as it is stored (``GGUFFile.blocks``)."""
        raw = np.frombuffer(self._bytes, np.uint8, info.num_bytes, info.start)
        # A copy, since torch does not accept read-only memory.
        return torch.from_numpy(raw.copy()).view(*info.shape[:-1], -1)

    def release(self, info: TensorInfo) -> None:
        """Drop the pages of a tensor from memory; they are read again if needed."""
        if hasattr(self._bytes, "madvise"):  # not on Windows
            start = info.start // mmap.PAGESIZE * mmap.PAGESIZE
            length = info.start - start + info.num_bytes
            self._bytes.madvise(mmap.MADV_DONTNEED, start, length)

    def siblings(self) -> list[GGUFPart]:
        """Open all parts of the model; return them in order, including this one.

        Raises
        ------
        ModelFileError
            Parts are missing, or a part's number differs from the one in its name.
        """
        index, count = self._split()
        if count == 1:
            return [self]
        number = f"{index + 1:05d}-of-{count:05d}"
        start, found, end = self.path.name.rpartition(f"-{number}")
        if not found or end not in ("", ".gguf"):
            raise ModelFileError(
                f"{self.path}: the file is part {index + 1} of {count} of a split model. Its name "
                f"must end in -{number}.gguf, and the other parts must be in the same folder"
            )
        paths = [
            self.path.with_name(f"{start}-{i + 1:05d}-of-{count:05d}{end}") for i in range(count)
        ]
        if missing := [path.name for path in paths if not path.is_file()]:
            named = ", ".join(missing[:_MAX_NAMED]) + (", …" if len(missing) > _MAX_NAMED else "")
            raise ModelFileError(
                f"{self.path}: the model is split into {count} files, and {self.path.parent} lacks "
                f"{len(missing)} of them: {named}"
            )
        parts = [self if path == self.path else GGUFPart(path) for path in paths]
        for expected, part in enumerate(parts):
            if part._split() != (expected, count):
                index, count = part._split()
                raise ModelFileError(
                    f"{part.path}: its name does not match its keys, which say that it is part "
                    f"{index + 1} of {count}"
                )
        return parts

    def _split(self) -> tuple[int, int]:
        """Return the index of this part, from 0, and the number of parts."""
        index, count = (self.metadata.get(f"split.{key}", value) for key, value in _SPLIT_DEFAULTS)
        if not isinstance(count, int) or not isinstance(index, int):
            raise self._fail(
                f"split.no is {index!r} and split.count is {count!r}; both must be integers"
            )
        if not 0 <= index < max(count, 1) <= _MAX_PARTS:
            raise self._fail(f"split.no is {index}, but split.count is {count}")
        return index, max(count, 1)

    # ------------------------------------------------------------------ the header, bottom up

    def _fail(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: damaged GGUF file: {reason} (at byte {self._at})")

    def _take(self, count: int) -> bytes:
        if count > len(self._bytes) - self._at:
            left = len(self._bytes) - self._at
            raise self._fail(f"{count} bytes are declared, but only {left} are left; {_INCOMPLETE}")
        self._at += count
        return self._bytes[self._at - count : self._at]

    def _scalar(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _string(self) -> str:
        try:
            return self._take(self._scalar("<Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise self._fail("a string is not UTF-8") from None

    def _strings(self, count: int) -> list[str]:
        """Read ``count`` strings in a tight loop, because vocabularies are large."""
        data, at, end = self._bytes, self._at, len(self._bytes)
        read_length = struct.Struct("<Q").unpack_from
        strings: list[bytes] = []
        for _ in range(count):
            if at + 8 > end or (length := read_length(data, at)[0]) > end - at - 8:
                self._at = at
                raise self._fail(f"a string reaches past the end of the file; {_INCOMPLETE}")
            strings.append(data[at + 8 : at + 8 + length])
            at += 8 + length
        self._at = at
        try:
            return [string.decode("utf-8") for string in strings]
        except UnicodeDecodeError:
            raise self._fail("a string is not UTF-8") from None

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        raise self._fail(f"unknown value type {kind}")

    def _array(self) -> list[Any]:
        kind, length = self._scalar("<I"), self._scalar("<Q")
        if kind == _STRING:
            if length > (len(self._bytes) - self._at) // 8:
                raise self._fail(f"an array of {length} strings is longer than the file")
            return self._strings(length)
        if kind not in _SCALARS:
            raise self._fail(f"arrays of type {kind} are not supported")
        code = _SCALARS[kind]
        dtype = np.dtype(code)
        return np.frombuffer(self._take(length * dtype.itemsize), dtype).tolist()

    def _read_header(self) -> None:
        if self._take(4) != MAGIC:
            self._at = 0
            raise ModelFileError(
                f"{self.path}: not a GGUF file. A model is a GGUF file, or a folder of safetensors "
                "with config.json"
            )
        version = self._scalar("<I")
        if version not in _VERSIONS:
            if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
                raise ModelFileError(
                    f"{self.path}: the numbers of this GGUF file are big-endian, for another kind "
                    "of processor. Download the little-endian file, or convert this one with "
                    "gguf-convert-endian from the package gguf"
                )
            raise ModelFileError(
                f"{self.path}: GGUF version {version} is not supported; only 2 and 3 are. Convert "
                "the model again with a newer llama.cpp"
            )
        num_tensors, num_pairs = self._scalar("<Q"), self._scalar("<Q")
        if max(num_tensors, num_pairs) > MAX_ENTRIES:
            raise self._fail(
                f"{num_tensors} tensors and {num_pairs} keys are declared; at most {MAX_ENTRIES} "
                "of each are supported"
            )
        for _ in range(num_pairs):
            key = self._string()
            if key in self.metadata:
                raise self._fail(f"key {key!r} occurs twice")
            self.metadata[key] = self._value(self._scalar("<I"))
        infos = [self._tensor_info() for _ in range(num_tensors)]
        self._set_offsets(infos)

    def _tensor_info(self) -> TensorInfo:
        name = self._string()
        num_dimensions = self._scalar("<I")
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise self._fail(
                f"tensor {name!r} has {num_dimensions} dimensions, not 1 to {MAX_DIMENSIONS}"
            )
        shape = tuple(self._scalar("<Q") for _ in range(num_dimensions))[::-1]
        type_id, offset = self._scalar("<I"), self._scalar("<Q")
        try:
            return TensorInfo(name, shape, format_of_type(type_id), offset)
        except ValueError as error:
            raise ModelFileError(f"{self.path}: tensor {name!r} {error}") from None

    def _set_offsets(self, infos: list[TensorInfo]) -> None:
        """Turn offsets in the data section into offsets in the file, and check them."""
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise self._fail(f"general.alignment is {alignment!r}, not an integer from 1 to 2^20")
        data_start = -(-self._at // alignment) * alignment
        for info in infos:
            if info.name in self.tensors:
                raise self._fail(f"tensor {info.name!r} occurs twice")
            if info.num_elements < 1 or info.shape[-1] % info.format.elements:
                raise self._fail(
                    f"tensor {info.name!r} has shape {info.shape}, which is invalid for type "
                    f"{info.format.name}"
                )
            start = data_start + info.start
            if start + info.num_bytes > len(self._bytes):
                raise self._fail(
                    f"tensor {info.name!r} reaches past the end of the file; {_INCOMPLETE}"
                )
            self.tensors[info.name] = replace(info, start=start)
