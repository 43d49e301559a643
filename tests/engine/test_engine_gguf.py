from __future__ import annotations

import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from engine_doubles import CPU
from gguf import GGMLQuantizationType as TensorType
from gguf import GGUFWriter
from tiny_models import TinyModel, tiny_weights, write_gguf

from archon.engine.files.gguf import GGUFFile
from archon.engine.loading import choose_device, load_decoder, load_engine
from archon.engine.model.config import config_of
from archon.engine.model.weights import GGUFWeights
from archon.errors import EngineError, ModelError

SMALL = TinyModel("llama", width=8, ffn_width=8, num_layers=1, num_heads=2, num_kv_heads=1)
F32, U32, BOOL, ARRAY, U64, STRING = 0, 4, 7, 9, 10, 8


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(path, SMALL)
    return path.read_bytes()


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = F32, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(name) + sizes + struct.pack("<IQ", kind, offset)


def header(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    *,
    version: int = 3,
    num_tensors: int | None = None,
    num_pairs: int | None = None,
) -> bytes:
    num_tensors = len(tensors) if num_tensors is None else num_tensors
    num_pairs = len(pairs) if num_pairs is None else num_pairs
    head = b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_pairs)
    return head + b"".join((*pairs, *tensors))


def read(folder: Path, content: bytes) -> GGUFFile:
    path = folder / "file.gguf"
    path.write_bytes(content)
    return GGUFFile(path)


# ------------------------------------------------------------------------------ sound files


def test_metadata_and_tensors_are_read_as_written(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "file.gguf", "llama")
    writer.add_uint8("a.uint8", 200)
    writer.add_int8("a.int8", -100)
    writer.add_uint16("a.uint16", 60_000)
    writer.add_int16("a.int16", -30_000)
    writer.add_uint32("a.uint32", 4_000_000_000)
    writer.add_int32("a.int32", -2_000_000_000)
    writer.add_uint64("a.uint64", 1 << 60)
    writer.add_int64("a.int64", -(1 << 60))
    writer.add_float32("a.float32", 0.5)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.string", "é€🧮")
    writer.add_array("a.strings", ["x", "", "ÿ"])
    writer.add_array("a.ints", [1, -2, 3])
    writer.add_array("a.floats", [0.5, -1.5])
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    writer.add_tensor("one", weight)
    writer.add_tensor("two", weight.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    file = GGUFFile(tmp_path / "file.gguf")
    values = {k.removeprefix("a."): v for k, v in file.metadata.items() if k.startswith("a.")}
    assert values == {
        "uint8": 200, "int8": -100, "uint16": 60_000, "int16": -30_000, "uint32": 4_000_000_000,
        "int32": -2_000_000_000, "uint64": 1 << 60, "int64": -(1 << 60), "float32": 0.5,
        "float64": 0.1, "bool": True, "string": "é€🧮", "strings": ["x", "", "ÿ"],
        "ints": [1, -2, 3], "floats": [0.5, -1.5],
    }  # fmt: skip
    for name in ("one", "two"):
        assert torch.equal(file.tensor(name), torch.from_numpy(weight))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_tensor_do_not_stay_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    weights = [np.full((1024, 1024), i, dtype=np.float32) for i in range(3)]
    writer = GGUFWriter(path, "llama")
    for i, weight in enumerate(weights):
        writer.add_tensor(f"weight.{i}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    file = GGUFFile(path)
    for _ in range(2):
        for i, weight in enumerate(weights):
            assert torch.equal(file.tensor(f"weight.{i}"), torch.from_numpy(weight))
            assert resident_kib(path) < 1024


def resident_kib(path: Path) -> int:
    """Return how many KiB of a mapped file are in the memory of this process."""
    mappings = Path("/proc/self/smaps").read_text().split("\nVmFlags:")
    return sum(
        int(text.partition("\nRss:")[2].split()[0]) for text in mappings if f"{path}\n" in text
    )


@pytest.mark.parametrize("alignment", [32, 64, 4096])
def test_tensors_are_found_with_any_alignment(alignment: int, tmp_path: Path) -> None:
    weights = [np.full((3, 5), i, dtype=np.float32) for i in range(3)]
    writer = GGUFWriter(tmp_path / "file.gguf", "llama")
    writer.add_custom_alignment(alignment)
    for i, weight in enumerate(weights):
        writer.add_tensor(f"t{i}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GGUFFile(tmp_path / "file.gguf")
    for i, weight in enumerate(weights):
        assert torch.equal(file.tensor(f"t{i}"), torch.from_numpy(weight))


def test_writing_to_a_tensor_does_not_change_the_file(whole: bytes, tmp_path: Path) -> None:
    file = read(tmp_path, whole)
    file.tensor("output_norm.weight").zero_()
    expected = tiny_weights(SMALL)["output_norm.weight"]
    assert np.array_equal(file.tensor("output_norm.weight").numpy(), expected)


# ---------------------------------------------------------------------------- damaged files


def test_a_truncated_file_is_rejected(whole: bytes, tmp_path: Path) -> None:
    ends = {*range(0, 200), *range(0, len(whole), 97), len(whole) - 33}
    for end in ends:
        with pytest.raises(ModelError, match=r"file\.gguf: "):
            read(tmp_path, whole[:end])


def test_mutated_files_raise_only_model_errors(whole: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    header_bytes = whole.index(b"blk.0.attn_q") + 1000
    begin = time.process_time()
    num_refused = 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(header_bytes)
            content[at] = rng.choice([0, 1, 4, 6, 9, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        try:
            file = read(tmp_path, bytes(content))
            load_decoder(GGUFWeights(file, config_of(file)), "float32", CPU)
        except ModelError:
            num_refused += 1
    assert num_refused > 100
    assert time.process_time() - begin < 60


HUGE = 1 << 62
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "not a GGUF file": (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
    "another byte order": (
        b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        "big-endian, .*gguf-convert-endian",
    ),
    "an old version": (header(version=1), "version 1 is not supported"),
    "more tensors than bytes": (header(num_tensors=1 << 19) + bytes(64), "damaged"),
    "absurdly many tensors": (header(num_tensors=HUGE), "tensors"),
    "absurdly many keys": (header(num_pairs=HUGE), "keys"),
    "an endless key": (header((struct.pack("<Q", HUGE) + b"key",)), "bytes are declared"),
    "an endless string": (header((pair("k", STRING, struct.pack("<Q", HUGE)),)), "declared"),
    "an endless array": (header((pair("k", ARRAY, struct.pack("<IQ", U32, HUGE)),)), "declared"),
    "an endless array of strings": (
        header((pair("k", ARRAY, struct.pack("<IQ", STRING, HUGE)),)),
        "is longer than the file",
    ),
    "arrays of arrays": (
        header((pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(64)),)),
        "arrays of type 9",
    ),
    "an unknown type of value": (header((pair("k", 99, bytes(8)),)), "unknown value type 99"),
    "a key twice": (header((pair("k", BOOL, b"\1"),) * 2), "'k' occurs twice"),
    "a key that is no text": (header((string(b"\xff\xfe") + bytes(8),)), "not UTF-8"),
    "a tensor twice": (header((), (tensor("t", (8,)),) * 2) + bytes(128), "'t' occurs twice"),
    "a tensor of no dimensions": (header((), (tensor("t", ()),)) + bytes(128), "0 dimensions"),
    "a tensor of many dimensions": (
        header((), (tensor("t", (1,) * 5),)) + bytes(128),
        "5 dimensions",
    ),
    "an empty tensor": (header((), (tensor("t", (0, 4)),)) + bytes(128), "has shape"),
    "a tensor beyond the end": (header((), (tensor("t", (64,)),)) + bytes(64), "past the end"),
    "a tensor at an absurd place": (
        header((), (tensor("t", (1,), offset=HUGE),)) + bytes(64),
        "past the end",
    ),
    "sizes whose product overflows": (
        header((), (tensor("t", (1 << 32, 1 << 32, 4)),)) + bytes(64),
        "past the end",
    ),
    "an unsupported type of tensor": (
        header((), (tensor("t", (32,), 99),)) + bytes(64),
        "tensor 't' has type 99, which is unknown. Use a file in one of F32",
    ),
    "a type that was removed": (
        header((), (tensor("t", (32,), 31),)) + bytes(64),
        "tensor 't' has the format Q4_0_4_4, which llama.cpp has removed. Use a file in Q4_0",
    ),
    "rows that are not whole blocks": (
        header((), (tensor("t", (33, 32), TensorType.Q8_0),)) + bytes(2048),
        "has shape",
    ),
    "an alignment of zero": (
        header((pair("general.alignment", U32, struct.pack("<I", 0)),)),
        "alignment is 0",
    ),
    "an alignment that is no number": (
        header((pair("general.alignment", STRING, string("32")),)),
        "alignment is '32'",
    ),
    "an absurd alignment": (
        header((pair("general.alignment", U64, struct.pack("<Q", HUGE)),)),
        "alignment",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_damaged_file_is_rejected_with_a_reason(name: str, tmp_path: Path) -> None:
    content, reason = BAD_FILES[name]
    with pytest.raises(ModelError, match=reason):
        read(tmp_path, content)


def test_a_file_that_cannot_be_read_is_a_model_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.gguf", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            GGUFFile(path)


# ------------------------------------------------------------------- files of the wrong model


def loaded(path: Path, **changes: Any) -> None:
    write_gguf(path / "model.gguf", TinyModel("llama", metadata=changes))
    load_engine(path / "model.gguf", "float32", device="cpu")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("general.architecture", "mamba", "family 'mamba' is not supported"),
        ("llama.block_count", None, "block_count is None"),
        ("llama.block_count", "two", "block_count is 'two'"),
        ("llama.block_count", 2.5, "not a whole number"),
        ("llama.embedding_length", float("nan"), "not a finite number"),
        ("llama.rope.freq_base", float("inf"), "not a finite number"),
        ("llama.rope.freq_base", -1.0, "invalid decoder: all sizes"),
        ("llama.attention.head_count", 0, "invalid decoder: all sizes"),
        ("llama.attention.head_count", 1 << 31, "invalid decoder: all sizes"),
        ("llama.attention.head_count_kv", 3, "cannot share"),
        ("llama.attention.head_count_kv", [2, 2], "not a number"),
        ("llama.feed_forward_length", 96, "expected"),
        ("llama.block_count", 3, "has no tensor 'blk.2."),
        ("llama.block_count", 1 << 31, "has no tensor 'blk.2."),
        ("llama.rope.dimension_count", 4, "part of each head"),
        ("llama.rope.scaling.type", "su", "rotary scaling"),
    ],
)
def test_an_unsupported_model_is_rejected(
    key: str, value: Any, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        loaded(tmp_path, **{key: value})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("token_embd.weight", "the token embedding"),
        ("output_norm.weight", "has no tensor 'output_norm.weight'"),
        ("blk.1.ffn_up.weight", "has no tensor 'blk.1.ffn_up.weight'"),
    ],
)
def test_a_missing_tensor_is_named(name: str, reason: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "file.gguf", TinyModel("llama", without=(name,)))
    with pytest.raises(ModelError, match=reason):
        load_engine(tmp_path / "file.gguf", "float32", device="cpu")


@pytest.mark.parametrize("name", ["blk.0.attn_v.bias", "blk.1.attn_q.bias"])
def test_a_bias_that_only_some_layers_have_is_missing(name: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "file.gguf", TinyModel("qwen2", without=(name,)))
    with pytest.raises(ModelError, match=f"has no tensor '{name}'"):
        load_engine(tmp_path / "file.gguf", "float32", device="cpu")


def test_an_unused_tensor_is_rejected(tmp_path: Path) -> None:
    write_gguf(tmp_path / "file.gguf", TinyModel("llama"))
    content = (tmp_path / "file.gguf").read_bytes()
    odd = content.replace(string("blk.0.ffn_up.weight"), string("blk.0.ffn_up.biases"))
    file = read(tmp_path, odd)
    with pytest.raises(ModelError, match=r"blk\.0\.ffn_up\.biases"):
        GGUFWeights(file, config_of(file))


def test_an_unavailable_device_is_an_engine_error() -> None:
    for name in ("tpu", "mps", "no device"):
        with pytest.raises(EngineError):
            choose_device(name)


@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.Q8_0, TensorType.Q4_0])
def test_rows_of_a_fused_tensor_are_read_alone(kind: TensorType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fused = {"one": (64,), "two": (6, 64), "three": (4, 6, 64)}
    stored = {
        name: rng.standard_normal(shape).astype(np.float32)
        if len(shape) == 1
        else gguf.quants.quantize(rng.standard_normal(shape).astype(np.float32), kind)
        for name, shape in fused.items()
    }
    extra = {name: value for name, value in stored.items() if value.dtype == np.float32}
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    for name, value in stored.items():
        writer.add_tensor(name, value, raw_dtype=TensorType.F32 if name in extra else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = GGUFFile(path)
    for name in fused:
        assert torch.equal(file.rows(name, 1, 3), file.tensor(name)[1:3])
    with pytest.raises(ModelError, match=r"tensor 'two' of shape \(6, 64\) has no rows 5 to 7"):
        file.rows("two", 5, 7)
    with pytest.raises(ModelError, match="has no tensor 'four'"):
        file.rows("four", 0, 1)
