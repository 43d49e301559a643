"""The kernels for ARM, compiled by a cross compiler and run by an emulator, compared with torch.

Debian has both: ``apt-get install g++-aarch64-linux-gnu qemu-user``.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from block_reference import packed_linear, reference_product, some_blocks, some_rows
from engine_doubles import CPU, tiny_config
from kernel_doubles import (
    NUM_BLOCKS,
    Keys,
    expected_attention,
    normal,
    random_grouped_weight,
)

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.kernels import build, native
from archon.engine.kernels.block_packing import STRIP_FORMATS
from archon.engine.kernels.native import NativeLinear
from archon.engine.kernels.packing import Packed, pack_int4_linear, pack_linear
from archon.engine.model.linear import Int4Linear, Int8Linear
from archon.engine.sampling.sampler import SamplingRule, sample

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FEATURES = (build._ARM, (*build._ARM, "asimddp"), (*build._ARM, "asimddp", "i8mm"))
ROWS = (1, 2, 3, 4, 5, 11, 12, 13)
PRODUCT, ATTENTION, SAMPLE = range(3)


class Driver:
    """The kernels for one set of features, compiled into a program."""

    def __init__(self, features: tuple[str, ...], folder: Path) -> None:
        self.folder, self.program = folder, folder / "driver"
        source = Path(__file__).with_name("kernel_driver.cpp")
        options = [*build._flags_of(features), "-O1", "-std=c++17", "-ffp-contract=off", "-static"]
        include = ["-I", str(Path(build.__file__).parent)]
        command = [COMPILER, *options, "-fopenmp", *include, "-o", str(self.program), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def run(self, cases: Sequence[Sequence[Any]]) -> bytes:
        """Run cases, each a list of sizes and arrays; return the results one after another."""
        with (self.folder / "input").open("wb") as file:
            for sizes, *arrays in cases:
                for part in (np.array(sizes, np.int64), *arrays):
                    data = b"" if part is None else np.ascontiguousarray(part).tobytes()
                    file.write(len(data).to_bytes(8, "little") + data)
        paths = [str(self.folder / name) for name in ("input", "output")]
        command = [EMULATOR, "-cpu", "max", str(self.program), *paths]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        return Path(paths[1]).read_bytes()


@pytest.fixture(scope="module", params=FEATURES, ids=lambda features: features[-1])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    if missing := [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    return Driver(request.param, tmp_path_factory.mktemp("arm"))


def by_driver(driver: Driver, packed: Packed, x: torch.Tensor, outputs: int) -> list[torch.Tensor]:
    """Return the products of the first rows of x, for several numbers of rows."""
    linear = NativeLinear.of(packed, "linear")
    parts = [packed.get(f"linear.{part}") for part in native._LINEAR_PARTS]
    arrays = [None if part is None else part.contiguous().view(torch.uint8) for part in parts]
    cases = [([PRODUCT, linear.outputs, linear.inputs, n], *arrays, x[:n]) for n in ROWS]
    found = torch.frombuffer(bytearray(driver.run(cases)), dtype=torch.float32)
    split = found.split([n * linear.outputs for n in ROWS])
    return [y.view(-1, linear.outputs)[:, :outputs] for y in split]


@cache
def weights() -> dict[str, tuple[Packed, torch.Tensor, torch.Tensor]]:
    """A packed layer of each kind, inputs, and the expected products of 13 rows."""
    x, bias = some_rows(max(ROWS)), normal(40, seed=1)
    x[7] = 0
    weight, grouped = normal(40, x.shape[1]), random_grouped_weight(40, x.shape[1])
    int8, int4 = Int8Linear(weight, bias, CPU), Int4Linear(grouped, bias, CPU)
    made = {
        "int8": (pack_linear("linear", weight, bias), x, int8(x)),
        "int4": (pack_int4_linear("linear", grouped, bias), x, int4(x)),
    }
    for name in STRIP_FORMATS:
        blocks = some_blocks(name, 40)
        made[name] = packed_linear((name, blocks)), x, reference_product(name, blocks, x)
    return made


@pytest.mark.parametrize("name", ["int8", "int4", *STRIP_FORMATS])
def test_products_equal_those_of_torch_to_the_bit(name: str, driver: Driver) -> None:
    packed, x, expected = weights()[name]
    for rows, found in zip(ROWS, by_driver(driver, packed, x, 40), strict=True):
        assert torch.equal(found, expected[:rows])


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_attention_matches_the_reference(size: float, driver: Driver) -> None:
    config = tiny_config(num_layers=1, num_heads=12, num_kv_heads=2, head_width=48)
    keys, rng = Keys(config, size), random.Random(0)
    tables = [array("i", rng.sample(range(NUM_BLOCKS), 5)) for _ in range(6)]
    positions = [rng.randrange(5 * BLOCK_SIZE) for _ in tables]
    q = normal(6, config.num_heads, config.head_width)
    sizes = [ATTENTION, config.num_heads, config.num_kv_heads, config.head_width, 6, NUM_BLOCKS, 5]
    arrays = np.array(positions, np.int32), np.array(tables, np.int32)
    cache_bytes = keys.cache.blocks.contiguous().view(torch.uint8)
    found = driver.run([(sizes, *arrays, cache_bytes, q)])
    out = torch.frombuffer(bytearray(found), dtype=torch.float32).view_as(q)
    for row, table, position, mine in zip(q, tables, positions, out, strict=True):
        plain = expected_attention(row, keys, table, position, config)
        assert (mine - plain).abs().max() < 0.01 * plain.abs().max()


def test_tokens_are_sampled_as_in_torch(driver: Driver) -> None:
    rules = [
        SamplingRule(),
        SamplingRule(temperature=1.0),
        SamplingRule(temperature=0.7, top_k=11),
        SamplingRule(temperature=1.3, top_p=0.8),
        SamplingRule(temperature=1.0, min_p=0.1),
    ] * 8
    noise = np.random.default_rng(0).random(len(rules))
    logits = 3 * normal(len(rules), 1001)
    rule_array = np.array([native._values_of(rule) for rule in rules], native._RULE)
    sizes = [SAMPLE, len(rules), logits.shape[1]]
    tokens = np.frombuffer(driver.run([(sizes, logits, rule_array, noise)]), np.int64)
    assert tokens.tolist() == sample(list(logits), rules, noise.tolist())
